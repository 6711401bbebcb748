/** The Start Training dialog: what to train, what it will mean, and starting it without ever blocking the page. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { type ApiError, asApiError, isAbort, newKey } from "../api";
import type { JobRequest, Plan, StartingModels } from "../contract";
import { hashOf } from "../route";
import { texts } from "../texts";
import { Dialog } from "./bits";
import { type Page, type Preset, usePage } from "./context";

const TYPING_PAUSE_MS = 250;

interface Form {
  startingModel: string;
  steps: string;
  maxMinutes: string;
  description: string;
  /** Until someone chooses, steps and minutes follow the server's proposals. */
  stepsTouched: boolean;
  minutesTouched: boolean;
}

export function StartTraining({ preset, onClose }: { preset: Preset; onClose: () => void }): JSX.Element {
  const page = usePage();
  const [form, setForm] = useState<Form>(() => begin(preset));
  const [offer, offerError] = useStartingModels(page, preset);
  const [plan, planError, pending] = usePlan(page, preset, form, offer);
  const [refused, setRefused] = useState<ApiError | null>(null);
  const [sending, setSending] = useState(false);
  const open = useRef(true);
  useEffect(
    () => () => {
      open.current = false;
    },
    [],
  );
  // One key per wish: pressing again after a broken connection can't start a second job, changing the form can.
  const key = useMemo(() => newKey(), [form, preset]);
  const id = useId();

  const change = (changed: Partial<Form>) => {
    setRefused(null);
    setForm((known) => ({ ...known, ...changed }));
  };
  const steps = form.stepsTouched ? form.steps : String(plan?.steps ?? form.steps);
  const maxMinutes = form.minutesTouched ? form.maxMinutes : String(plan?.default_max_minutes ?? "");
  const problem = refused ?? planError ?? offerError;
  const at = (field: string) => (problem?.field === field ? problem.message : null);
  const known = ["starting_model", "steps", "max_minutes", "description"];
  const elsewhere =
    problem !== null && !(problem.field !== null && known.includes(problem.field)) ? problem.message : null;

  const submit = async (event: Event) => {
    event.preventDefault();
    if (sending) return;
    const request: JobRequest = { dataset_ids: preset.datasetIds, description: form.description.trim() };
    if (form.startingModel !== "") request.starting_model = form.startingModel;
    if (steps !== "") request.steps = Number(steps);
    if (maxMinutes !== "") request.max_minutes = Number(maxMinutes);
    setSending(true);
    try {
      const job = await page.api.startJob(request, key);
      page.live.addModel(job);
      const late = job.state === "TRY_AGAIN_LATER";
      if (late) page.tell("bad", texts.start.tryLater(job.description, job.reason?.message ?? ""));
      else page.tell("good", texts.start.started(job.description));
      if (open.current) {
        onClose();
        location.hash = hashOf({ page: "models" });
      }
    } catch (error) {
      const failure = asApiError(error);
      // Closed meanwhile: the page is in use, so the failure is told beside it.
      if (open.current) setRefused(failure);
      else page.tell("bad", texts.start.failedInBackground(request.description, failure.message));
    } finally {
      if (open.current) setSending(false);
    }
  };

  const names = preset.datasetIds.map((dataset) => page.view.state.datasets.get(dataset)?.name ?? dataset);
  const limits = offer?.limits;
  const chosen = offer?.starting_models.find((model) => model.key === (form.startingModel || offer.default));
  return (
    <Dialog title={texts.start.title} onClose={onClose} class="start">
      <form onSubmit={(event) => void submit(event)} noValidate>
        <div class="start-body">
          <div class="start-fields">
            <p class="muted start-from">{texts.start.from(names)}</p>
            <Field
              id={`${id}d`}
              label={texts.start.description}
              hint={limits && texts.start.descriptionHint(limits.max_description)}
              error={at("description")}
            >
              <input
                id={`${id}d`}
                data-testid="description"
                value={form.description}
                autocomplete="off"
                autofocus
                {...(limits === undefined ? {} : { maxLength: limits.max_description })}
                onInput={(event) => change({ description: event.currentTarget.value })}
              />
            </Field>
            <Field id={`${id}m`} label={texts.start.startingModel} hint={chosen?.summary} error={at("starting_model")}>
              <select
                id={`${id}m`}
                data-testid="starting-model"
                value={form.startingModel || offer?.default}
                onChange={(event) => change({ startingModel: event.currentTarget.value })}
              >
                {(offer?.starting_models ?? []).map((model) => (
                  <option key={model.key} value={model.key}>
                    {model.name}
                  </option>
                ))}
              </select>
            </Field>
            <div class="start-pair">
              <Field
                id={`${id}s`}
                label={texts.start.steps}
                hint={limits && texts.start.stepsHint(limits.min_steps, limits.max_steps)}
                error={at("steps")}
              >
                <input
                  id={`${id}s`}
                  data-testid="steps"
                  type="number"
                  inputMode="numeric"
                  step={limits?.checkpoint_every ?? 1}
                  value={steps}
                  onInput={(event) => change({ steps: event.currentTarget.value, stepsTouched: true })}
                />
              </Field>
              <Field
                id={`${id}t`}
                label={texts.start.maxMinutes}
                hint={plan === null ? undefined : texts.start.minutesLeft(Math.floor(plan.minutes_left))}
                error={at("max_minutes")}
              >
                <span class="with-unit">
                  <input
                    id={`${id}t`}
                    data-testid="max-minutes"
                    type="number"
                    inputMode="numeric"
                    value={maxMinutes}
                    onInput={(event) => change({ maxMinutes: event.currentTarget.value, minutesTouched: true })}
                  />
                  <span>{texts.start.minutes}</span>
                </span>
              </Field>
            </div>
          </div>
          <PlanPanel
            plan={plan}
            stale={pending || planError !== null}
            steps={steps}
            onRecommended={(recommended) => change({ steps: String(recommended), stepsTouched: true })}
          />
        </div>
        <footer class="dialog-foot">
          <p class="field-error grow" role="alert" data-testid="start-error">
            {elsewhere}
          </p>
          <button type="button" class="button" onClick={onClose}>
            {texts.cancel}
          </button>
          <button type="submit" class="button primary" data-testid="start-submit" disabled={sending}>
            {sending ? texts.start.submitting : texts.start.submit}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function begin({ from }: Preset): Form {
  return {
    startingModel: from?.starting_model ?? "",
    steps: from === undefined ? "" : String(from.steps_requested),
    maxMinutes: from === undefined ? "" : String(Math.ceil(from.max_seconds / 60)),
    description: from?.description ?? "",
    stepsTouched: from !== undefined,
    minutesTouched: from !== undefined,
  };
}

/** The starting models with the limits, once per opening of the dialog. */
function useStartingModels({ api, view }: Page, preset: Preset): [StartingModels | null, ApiError | null] {
  const [offer, setOffer] = useState<StartingModels | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const frames = preset.datasetIds.reduce((sum, id) => sum + (view.state.datasets.get(id)?.train_frames ?? 0), 0);
  useEffect(() => {
    const request = new AbortController();
    api.startingModels(Math.max(1, frames), request.signal).then(setOffer, (problem: unknown) => {
      if (!isAbort(problem)) setError(asApiError(problem));
    });
    return () => request.abort();
  }, [api, frames]);
  return [offer, error];
}

/** The plan for what the form says, asked anew shortly after the last keystroke. The last good one stays meanwhile. */
function usePlan(
  { api }: Page,
  preset: Preset,
  form: Form,
  offer: StartingModels | null,
): [Plan | null, ApiError | null, boolean] {
  const [plan, setPlan] = useState<Plan | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [pending, setPending] = useState(true);
  const steps = form.stepsTouched && form.steps !== "" ? Number(form.steps) : undefined;
  const model = form.startingModel || offer?.default;
  useEffect(() => {
    const request = new AbortController();
    setPending(true);
    const ask = async () => {
      try {
        const wanted = {
          dataset_ids: preset.datasetIds,
          ...(model === undefined ? {} : { starting_model: model }),
          ...(steps === undefined ? {} : { steps }),
        };
        setPlan(await api.plan(wanted, request.signal));
        setError(null);
      } catch (problem) {
        if (isAbort(problem)) return;
        setError(asApiError(problem));
      }
      setPending(false);
    };
    const timer = window.setTimeout(() => void ask(), TYPING_PAUSE_MS);
    return () => {
      window.clearTimeout(timer);
      request.abort();
    };
  }, [api, preset, model, steps]);
  return [plan, error, pending];
}

interface FieldProps {
  id: string;
  label: string;
  hint: string | undefined;
  error: string | null;
  children: ComponentChildren;
}

/** One input with its hint, which an error takes the place of: the form never jumps. */
function Field({ id, label, hint, error, children }: FieldProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const input = box.current?.querySelector("input, select");
    input?.setAttribute("aria-invalid", String(error !== null));
    input?.setAttribute("aria-describedby", `${id}-note`);
  }, [id, error]);
  return (
    <div class="field" ref={box}>
      <label for={id}>{label}</label>
      {children}
      <p
        id={`${id}-note`}
        class={error === null ? "field-hint" : "field-error"}
        role={error === null ? undefined : "alert"}
      >
        {error ?? hint ?? "\u00a0"}
      </p>
    </div>
  );
}

interface PlanProps {
  plan: Plan | null;
  /** It isn't (yet) for what the form says. */
  stale: boolean;
  steps: string;
  onRecommended: (steps: number) => void;
}

function PlanPanel({ plan, stale, steps, onRecommended }: PlanProps): JSX.Element {
  return (
    <aside class={stale ? "plan is-stale" : "plan"} aria-busy={stale}>
      <h3>{texts.start.planTitle}</h3>
      <ul data-testid="plan-sentences" aria-live="polite">
        {plan === null ? (
          <li class="muted">{texts.start.planPending}</li>
        ) : (
          plan.sentences.map((sentence) => <li key={sentence}>{sentence}</li>)
        )}
      </ul>
      {plan !== null &&
        (Number(steps) === plan.recommended_steps ? (
          <p class="muted plan-foot">{texts.start.isRecommended}</p>
        ) : (
          <button
            type="button"
            class="button plan-foot"
            data-testid="use-recommended"
            onClick={() => onRecommended(plan.recommended_steps)}
          >
            {texts.start.recommended(plan.recommended_steps)}
          </button>
        ))}
    </aside>
  );
}
