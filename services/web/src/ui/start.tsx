/** Start Training and More Training: what to train, what it will mean, and starting it without ever blocking the page. */
import type { JSX } from "preact";
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { moreRefusal, roleRefusal } from "../actions";
import { type ApiError, asApiError } from "../api";
import type { DatasetView, JobView, PlanRequest } from "../contract";
import { startingModelName } from "../format";
import { hashOf } from "../route";
import { texts } from "../texts";
import { Problem, Waiting } from "./bits";
import { usePage, useView } from "./context";
import { Field } from "./field";
import { usePlan, useReadiness, useStartingModels } from "./start-data";
import { DatasetChoice } from "./start-datasets";
import { PlanPanel } from "./start-plan";
import { useWishKey } from "./wish-key";

interface Form {
  startingModel: string;
  steps: string;
  maxMinutes: string;
  description: string;
  whenRoom: boolean;
  /** Until someone chooses, steps and minutes follow the server's proposals. */
  stepsTouched: boolean;
  minutesTouched: boolean;
}

const BEGINNING: Form = {
  startingModel: "",
  steps: "",
  maxMinutes: "",
  description: "",
  whenRoom: false,
  stepsTouched: false,
  minutesTouched: false,
};

const FIELDS = new Set(["starting_model", "steps", "max_minutes", "description", "dataset_ids", "when_room"]);

interface Props {
  datasets: readonly string[];
  /** The id of the model to train more, or null. */
  more: string | null;
}

export function StartPage({ datasets, more }: Props): JSX.Element {
  const known = useView((view) => view.state.position !== null);
  const parent = useView((view) => (more === null ? undefined : view.state.models.get(more)));
  const refusal = more === null ? null : parent === undefined ? texts.start.parentGone : moreRefusal(parent);
  return (
    <>
      <div class="page-head">
        <h1>{more === null ? texts.start.title : texts.start.moreTitle}</h1>
        <p class="muted">{parent === undefined ? texts.start.intro : texts.start.moreIntro(parent)}</p>
      </div>
      {!known ? (
        <section class="card">
          <Waiting rows={5} />
        </section>
      ) : refusal !== null ? (
        <section class="card empty">
          <p>{refusal}</p>
          <a class="button primary" href={hashOf({ page: "models" })}>
            {texts.model.back}
          </a>
        </section>
      ) : (
        <StartForm datasets={datasets} parent={parent} />
      )}
    </>
  );
}

function StartForm({ datasets, parent }: { datasets: readonly string[]; parent: JobView | undefined }): JSX.Element {
  const page = usePage();
  const known = useView((view) => view.state.datasets);
  const [form, setForm] = useState<Form>(BEGINNING);
  const chosen = datasets.map((id) => known.get(id)).filter((each): each is DatasetView => each !== undefined);
  const ids = chosen.map((dataset) => dataset.id);
  const frames = chosen.reduce((sum, dataset) => sum + dataset.train_frames, parent?.train_frames ?? 0);
  const readiness = useReadiness(chosen);
  const models = useStartingModels(frames);
  const offer = models.data;
  const left = useView((view) => view.state.minutes?.balance_seconds);
  const model = parent?.starting_model ?? (form.startingModel || offer?.default);
  const wish = useMemo<PlanRequest | null>(() => {
    if (parent === undefined && ids.length === 0) return null;
    return {
      dataset_ids: ids,
      ...(parent === undefined ? {} : { parent_id: parent.id }),
      ...(model === undefined ? {} : { starting_model: model }),
      ...(form.stepsTouched && form.steps !== "" ? { steps: Number(form.steps) } : {}),
      ...(form.minutesTouched && form.maxMinutes !== "" ? { max_minutes: Number(form.maxMinutes) } : {}),
    };
  }, [parent?.id, ids.join(), model, form.steps, form.maxMinutes, form.stepsTouched, form.minutesTouched]);
  const { plan, proposal, error: planError, stale } = usePlan(wish);
  const { refused, sending, submit } = useSubmit(form, ids.join(), parent);
  const id = useId();

  // An emptied field means what stands in it in grey.
  const usual = { steps: String(proposal?.steps ?? ""), maxMinutes: String(proposal?.default_max_minutes ?? "") };
  const shown = {
    steps: form.stepsTouched ? form.steps : usual.steps,
    maxMinutes: form.minutesTouched ? form.maxMinutes : usual.maxMinutes,
  };
  const steps = shown.steps || usual.steps;
  const maxMinutes = shown.maxMinutes || usual.maxMinutes;
  const problem = refused ?? planError;
  const at = (field: string) => (problem?.field === field ? problem.message : null);
  const elsewhere = problem !== null && !FIELDS.has(problem.field ?? "") ? problem.message : null;
  const change = (changed: Partial<Form>) => setForm((before) => ({ ...before, ...changed }));
  const choose = (wanted: readonly string[]) =>
    location.replace(hashOf({ page: "start", datasets: wanted, more: parent?.id ?? null }));
  const limits = offer?.limits;
  const role = roleRefusal(page.session?.role);
  const notReady = parent === undefined && readiness.kind === "refused" ? readiness.reason : null;

  return (
    <form
      class="start"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit({ datasetIds: ids, steps, maxMinutes, startingModel: form.startingModel });
      }}
    >
      <section class="card start-fields">
        <DatasetChoice chosen={ids} parent={parent} readiness={readiness} error={at("dataset_ids")} onChoose={choose} />
        <Field
          id={`${id}d`}
          label={texts.start.description}
          hint={limits && texts.start.descriptionHint(form.description.trim().length, limits.max_description)}
          error={at("description")}
          input={
            <input
              data-testid="description"
              value={form.description}
              autocomplete="off"
              placeholder={parent === undefined ? texts.start.descriptionExample : undefined}
              {...(limits === undefined ? {} : { maxLength: limits.max_description })}
              onInput={(event) => change({ description: event.currentTarget.value })}
            />
          }
        />
        <fieldset class="field">
          <legend>{texts.start.startingModel}</legend>
          {parent !== undefined ? (
            <p>{texts.start.fromParent(parent.description, startingModelName(parent.starting_model))}</p>
          ) : (
            <div class="choices starting-models" data-testid="starting-model">
              <Problem
                problem={models.problem === null ? null : texts.start.modelsFailed(models.problem)}
                onRetry={models.again}
              />
              {(offer?.starting_models ?? []).map((each) => (
                <label key={each.key} class="choice">
                  <input
                    type="radio"
                    name={`${id}m`}
                    value={each.key}
                    checked={model === each.key}
                    onChange={() => change({ startingModel: each.key })}
                  />
                  <span>
                    <strong>{each.name}</strong>
                    <span class="muted small-text">{each.summary}</span>
                  </span>
                </label>
              ))}
            </div>
          )}
          {at("starting_model") !== null && (
            <p class="field-error" role="alert">
              {at("starting_model")}
            </p>
          )}
        </fieldset>
        <div class="steps-field">
          <Field
            id={`${id}s`}
            label={texts.start.steps}
            hint={
              shown.steps === "" && steps !== ""
                ? texts.start.stepsEmpty(Number(steps))
                : limits && texts.start.stepsHint(limits.min_steps, limits.max_steps)
            }
            error={at("steps")}
            input={
              <input
                data-testid="steps"
                type="number"
                inputMode="numeric"
                step={limits?.checkpoint_every ?? 1}
                value={shown.steps}
                placeholder={usual.steps}
                onInput={(event) => change({ steps: event.currentTarget.value, stepsTouched: true })}
              />
            }
          />
          <input
            class="slider"
            type="range"
            aria-label={texts.start.stepsSlider}
            min={limits?.min_steps ?? 0}
            max={limits?.max_steps ?? 1}
            step={limits?.checkpoint_every ?? 1}
            value={steps === "" ? (limits?.min_steps ?? 0) : steps}
            onInput={(event) => change({ steps: event.currentTarget.value, stepsTouched: true })}
          />
          <button
            type="button"
            class="button"
            data-testid="use-recommended"
            disabled={plan === null || Number(shown.steps) === plan.recommended_steps}
            title={texts.start.recommendedTitle}
            onClick={() => change({ steps: String(plan?.recommended_steps ?? steps), stepsTouched: true })}
          >
            {plan === null ? texts.start.recommendedNone : texts.start.recommended(plan.recommended_steps)}
          </button>
        </div>
        <Field
          id={`${id}t`}
          class="short"
          label={texts.start.maxMinutes}
          hint={
            plan === null
              ? undefined
              : texts.start.maxMinutesHint(
                  (left ?? 60 * plan.minutes_left) / 60,
                  Number(maxMinutes),
                  shown.maxMinutes === "",
                )
          }
          error={at("max_minutes")}
          after={texts.start.minutes}
          input={
            <input
              data-testid="max-minutes"
              type="number"
              inputMode="numeric"
              value={shown.maxMinutes}
              placeholder={usual.maxMinutes}
              onInput={(event) => change({ maxMinutes: event.currentTarget.value, minutesTouched: true })}
            />
          }
        />
        <label class="check-line">
          <input
            type="checkbox"
            data-testid="when-room"
            checked={form.whenRoom}
            onChange={(event) => change({ whenRoom: event.currentTarget.checked })}
          />
          <span>
            {texts.start.whenRoom}
            <span class="muted small-text">{at("when_room") ?? texts.start.whenRoomHint}</span>
          </span>
        </label>
      </section>
      <aside class="card start-plan">
        <PlanPanel
          plan={plan}
          stale={stale}
          empty={wish === null}
          steps={Number(steps)}
          maxMinutes={Number(maxMinutes)}
        />
        <p class="field-error" role="alert" data-testid="start-error">
          {elsewhere}
        </p>
        <button
          type="submit"
          class="button primary wide"
          data-testid="start-submit"
          disabled={sending || role !== null || notReady !== null || readiness.kind === "different"}
          aria-describedby={`${id}why`}
        >
          {sending ? texts.start.submitting : parent === undefined ? texts.start.submit : texts.start.moreSubmit}
        </button>
        <p class="muted small-text" id={`${id}why`}>
          {role ?? notReady ?? texts.start.submitHint}
        </p>
      </aside>
    </form>
  );
}

interface Wanted {
  datasetIds: string[];
  startingModel: string;
  steps: string;
  maxMinutes: string;
}

/** Sends the wish. The page stays in use meanwhile; where it was left, the outcome is told beside what is shown then. */
function useSubmit(form: Form, datasets: string, parent: JobView | undefined) {
  const page = usePage();
  const [refused, setRefused] = useState<ApiError | null>(null);
  const [sending, setSending] = useState(false);
  const open = useRef(true);
  // With the page itself, not after the next paint: what fails in between would be told to nobody.
  useLayoutEffect(
    () => () => {
      open.current = false;
    },
    [],
  );
  useEffect(() => setRefused(null), [form, datasets]);
  const wishKey = useWishKey();

  const submit = async ({ datasetIds, startingModel, steps, maxMinutes }: Wanted) => {
    if (sending) return;
    const common = {
      dataset_ids: datasetIds,
      description: form.description.trim(),
      ...(steps === "" ? {} : { steps: Number(steps) }),
      ...(maxMinutes === "" ? {} : { max_minutes: Number(maxMinutes) }),
      ...(form.whenRoom ? { when_room: true } : {}),
    };
    const key = wishKey.of(JSON.stringify([parent?.id, startingModel, common]));
    setSending(true);
    setRefused(null);
    try {
      const model = startingModel === "" ? {} : { starting_model: startingModel };
      const job =
        parent === undefined
          ? await page.api.startJob({ ...common, ...model }, key)
          : await page.api.trainMore(parent.id, common, key);
      page.live.addModel(job);
      if (job.state !== "TRY_AGAIN_LATER") page.tell("good", texts.start.started(job.description));
      else if (job.when_room) page.tell("good", texts.models.waitsForRoom(job.description));
      else page.tell("bad", texts.start.tryLater(job.description, job.reason?.message ?? ""));
      if (open.current) location.hash = hashOf({ page: "models" });
    } catch (error) {
      const failure = asApiError(error);
      if (open.current) setRefused(failure);
      else page.tell("bad", texts.start.failedInBackground(common.description, failure.message));
    } finally {
      if (open.current) setSending(false);
    }
  };
  return { refused, sending, submit };
}
