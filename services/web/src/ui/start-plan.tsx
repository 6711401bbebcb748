/** What a run will be, in figures and in sentences, for what the form says at this moment. */
import type { JSX } from "preact";
import type { Plan } from "../contract";
import { whole } from "../format";
import { stepsWithin } from "../time";
import { texts } from "../texts";
import { Icon } from "./bits";
import { useNow } from "./context";

interface Props {
  plan: Plan | null;
  /** It isn't (yet) for what the form says. */
  stale: boolean;
  /** There is nothing to plan yet. */
  empty: boolean;
  steps: number;
  maxMinutes: number;
}

export function PlanPanel({ plan, stale, empty, steps, maxMinutes }: Props): JSX.Element {
  return (
    <div class={stale ? "plan is-stale" : "plan"} aria-busy={stale}>
      <h2>{texts.start.planTitle}</h2>
      {plan === null || empty ? (
        <p class="muted plan-none">{empty ? texts.start.planEmpty : texts.start.planPending}</p>
      ) : (
        <Figures plan={plan} steps={steps} maxMinutes={maxMinutes} />
      )}
    </div>
  );
}

function Figures({ plan, steps, maxMinutes }: { plan: Plan; steps: number; maxMinutes: number }): JSX.Element {
  const now = useNow();
  const { figures } = texts.start;
  const time = plan.place === null ? null : texts.start.span(plan.place, now);
  const fit = stepsWithin(maxMinutes * 60, plan.seconds_per_step);
  return (
    <>
      <dl class="plan-figures">
        <Figure name={figures.pictures} value={whole(plan.train_frames)} note={figures.evaluation(plan.eval_frames)} />
        <Figure name={figures.batch} value={whole(plan.batch_size)} note={figures.batchNote} />
        <Figure name={figures.stepsPerEpoch} value={whole(plan.steps_per_epoch)} note={figures.stepsPerEpochNote} />
        <Figure name={figures.epochs} value={whole(plan.epochs)} note={figures.epochsNote(plan.steps)} />
        <Figure
          name={figures.time}
          value={texts.roughly(plan.estimated_seconds)}
          note={figures.timeNote(plan.accelerator)}
        />
        <Figure
          name={figures.place}
          value={plan.place === null ? texts.none : texts.start.place(plan.place.position)}
          note={time?.starts || "\u00a0"}
        />
      </dl>
      {time !== null && time.ends !== "" && <p class="plan-end">{time.ends}</p>}
      <ul class="plan-sentences" data-testid="plan-sentences" aria-live="polite">
        {texts.start.sentences(plan).map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
      {fit < steps && maxMinutes > 0 && (
        <p class="note tone-warn">
          <Icon name="clock" />
          <span>{texts.start.tooShort(maxMinutes, fit, steps)}</span>
        </p>
      )}
      {plan.refusal !== null && (
        <p class="note tone-warn" data-testid="plan-refusal">
          <Icon name="again" />
          <span>
            {texts.start.wouldWait(plan.refusal.message)} {plan.refusal.remedy}
          </span>
        </p>
      )}
    </>
  );
}

function Figure({ name, value, note }: { name: string; value: string; note: string }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <span class="number">{value}</span>
        <span class="muted small-text">{note}</span>
      </dd>
    </div>
  );
}
