/** Small parts that several pages share: icons, a job's state, its steps, buttons that say why they can't be pressed. */
import type { ButtonHTMLAttributes, ComponentChildren, JSX } from "preact";
import { useContext, useEffect, useId, useRef } from "preact/hooks";
import type { JobState, JobView } from "../contract";
import { date, duration, stateName, whole } from "../format";
import { texts } from "../texts";
import { steps, trainingSeconds } from "../time";
import { InSight, useNow, useProgress } from "./context";
import { Hint } from "./hint";

const PATHS = {
  clock: "M8 4.5V8l2.5 1.5M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z",
  gear: "M8 2v2m0 8v2M2 8h2m8 0h2M3.8 3.8l1.4 1.4m5.6 5.6 1.4 1.4m0-8.4-1.4 1.4m-5.6 5.6-1.4 1.4M10 8a2 2 0 1 1-4 0 2 2 0 0 1 4 0Z",
  play: "M5 3.5v9l7.5-4.5Z",
  square: "M4 4h8v8H4Z",
  check: "m3 8.5 3.5 3.5L13 4.5",
  cross: "m4 4 8 8m0-8-8 8",
  alert: "M8 6v3.2M8 11.5v.1M8 2 14.5 13.5h-13Z",
  info: "M8 7.4v4M8 4.7v.1M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z",
  again: "M13 8a5 5 0 1 1-1.5-3.5L13 6M13 2.5V6H9.5",
  question: "M6 6a2 2 0 1 1 2.8 1.9c-.6.2-.8.6-.8 1.3M8 11.6v.1M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z",
  download: "M8 2.5v7m-3-3 3 3 3-3M3 13h10",
  trash: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.5 8.5h6l.5-8.5M7 7v3.5M9 7v3.5",
  upload: "M8 10V3m-3 3 3-3 3 3M3 13h10",
  left: "M9.5 3.5 5 8l4.5 4.5",
  more: "M8 3v10M3 8h10",
  sun: "M11 8a3 3 0 1 1-6 0 3 3 0 0 1 6 0ZM8 1.2v1.3m0 11v1.3M1.2 8h1.3m11 0h1.3M3.2 3.2l.9.9m7.8 7.8.9.9m0-9.6-.9.9m-7.8 7.8-.9.9",
  moon: "M13.5 9.6A5.8 5.8 0 0 1 6.4 2.5 5.8 5.8 0 1 0 13.5 9.6Z",
  copy: "M6 5.5h7V14H6ZM3 10.5V2h7",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

// Tone and icon both tell the state: no meaning hangs on a colour alone.
const LOOKS: Record<JobState, { tone: string; icon: IconName }> = {
  QUEUED: { tone: "wait", icon: "clock" },
  PREPARING: { tone: "active", icon: "gear" },
  RUNNING: { tone: "active", icon: "play" },
  STOP_REQUESTED: { tone: "warn", icon: "square" },
  STOPPING: { tone: "warn", icon: "square" },
  SUCCEEDED: { tone: "good", icon: "check" },
  STOPPED: { tone: "plain", icon: "square" },
  CANCELED: { tone: "plain", icon: "cross" },
  FAILED: { tone: "bad", icon: "alert" },
  TRY_AGAIN_LATER: { tone: "warn", icon: "again" },
  STATE_UNSPECIFIED: { tone: "bad", icon: "question" },
};

export function StateBadge({ state }: { state: JobState }): JSX.Element {
  const { tone, icon } = LOOKS[state];
  return (
    <span class={`badge tone-${tone}`} data-testid="job-state" data-state={state} title={texts.meanings[state]}>
      <Icon name={icon} />
      {stateName(state)}
    </span>
  );
}

/** Steps made of steps requested, with a bar whose darker part is what a checkpoint holds. */
export function StepCount({ job }: { job: JobView }): JSX.Element {
  const progress = useProgress(job.id);
  const { made, saved, requested } = steps(job, progress);
  return (
    <div class="steps" title={texts.models.stepsTitle(saved)}>
      <div class="steps-text">
        <strong data-testid="steps-completed">{whole(made)}</strong> <span>{texts.models.stepsOf(requested)}</span>
      </div>
      <StepBar made={made} saved={saved} requested={requested} />
    </div>
  );
}

interface BarProps {
  made: number;
  saved: number;
  requested: number;
}

export function StepBar({ made, saved, requested }: BarProps): JSX.Element {
  const inSight = useContext(InSight);
  const part = (count: number) => `scaleX(${requested > 0 ? Math.min(1, count / requested) : 0})`;
  return (
    <div
      class={inSight ? "bar" : "bar is-still"}
      role="progressbar"
      aria-label={texts.models.stepsBar(made, requested)}
      aria-valuemin={0}
      aria-valuemax={requested}
      aria-valuenow={made}
    >
      <div class="bar-made" style={{ transform: part(made) }} />
      <div class="bar-saved" style={{ transform: part(saved) }} />
    </div>
  );
}

/** A date that breaks, if it must, only before its hour. */
export function When({ at }: { at: string }): JSX.Element {
  const [day = "", hour = ""] = date(at).split(", ");
  return (
    <time dateTime={at}>
      <span class="nowrap">{day},</span> <span class="nowrap">{hour}</span>
    </time>
  );
}

/** Ticks by the server's clock while steps are being made. */
export function TrainingTime({ job }: { job: JobView }): JSX.Element {
  const progress = useProgress(job.id);
  const now = useNow(job.running_since !== null);
  const seconds = trainingSeconds(job, now, progress);
  const begun = seconds > 0 || job.running_since !== null;
  return (
    <span class="number" data-testid="training-time">
      {begun ? duration(seconds) : texts.none}
    </span>
  );
}

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & {
  /** Why it can't be pressed, or null. The button stays reachable by keyboard, so that the reason is too. */
  refusal?: string | null;
  icon?: IconName;
  "data-testid"?: string;
};

export function Button({ refusal = null, icon, children, onClick, class: kind, ...rest }: ButtonProps): JSX.Element {
  const hint = useId();
  return (
    <span class="button-wrap">
      <button
        type="button"
        {...rest}
        class={`button ${typeof kind === "string" ? kind : ""}`}
        aria-disabled={refusal !== null}
        {...(refusal !== null ? { "aria-describedby": hint } : {})}
        onClick={(event) => {
          if (refusal === null) onClick?.(event);
        }}
      >
        {icon !== undefined && <Icon name={icon} />}
        {children}
      </button>
      {refusal !== null && <Hint id={hint} text={refusal} />}
    </span>
  );
}

interface DialogProps {
  title: string;
  onClose: () => void;
  class?: string;
  children: ComponentChildren;
}

/** A modal dialog: the browser traps the focus and closes on Escape; the focus goes back to where it was. */
export function Dialog({ title, onClose, class: kind = "", children }: DialogProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const before = useRef(document.activeElement);
  const heading = useId();
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => {
      element?.close();
      // The dialog may have left the document before it was closed: then the browser doesn't do this.
      if (before.current instanceof HTMLElement) before.current.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={`dialog ${kind}`}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <header class="dialog-head">
        <h2 id={heading}>{title}</h2>
        <button type="button" class="button ghost square" aria-label={texts.close} onClick={onClose}>
          <Icon name="cross" />
        </button>
      </header>
      {children}
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  text: string;
  action: string;
  keep?: string;
  danger?: boolean;
  onConfirm: () => void;
  onClose: () => void;
}

export function Confirm({
  title,
  text,
  action,
  keep = texts.cancel,
  danger,
  onConfirm,
  onClose,
}: ConfirmProps): JSX.Element {
  return (
    <Dialog title={title} onClose={onClose} class="small">
      <p class="dialog-text">{text}</p>
      <DialogFoot
        keep={keep}
        action={action}
        danger={danger}
        onConfirm={() => {
          onClose();
          onConfirm();
        }}
        onClose={onClose}
      />
    </Dialog>
  );
}

interface DialogFootProps {
  action: string;
  keep?: string;
  danger?: boolean | undefined;
  testId?: string;
  /** Without it the button sends the form that it stands in. */
  onConfirm?: () => void;
  onClose: () => void;
}

/** The two ways out of a question. */
export function DialogFoot({
  action,
  keep = texts.cancel,
  danger,
  testId = "confirm-button",
  onConfirm,
  onClose,
}: DialogFootProps): JSX.Element {
  return (
    <footer class="dialog-foot">
      <button type="button" class="button" onClick={onClose}>
        {keep}
      </button>
      <button
        type={onConfirm === undefined ? "submit" : "button"}
        class={danger === true ? "button danger" : "button primary"}
        data-testid={testId}
        onClick={onConfirm}
      >
        {action}
      </button>
    </footer>
  );
}

export function Empty({ title, children }: { title: string; children: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <svg class="empty-rails" viewBox="0 0 120 40" aria-hidden="true">
        <path d="M2 12h116M2 28h116" />
        <path class="ties" d="M12 6v28M32 6v28M52 6v28M72 6v28M92 6v28M112 6v28" />
      </svg>
      <h3>{title}</h3>
      {children}
    </div>
  );
}

/** Rows of grey bars that take the room which the data will take. */
export function Waiting({ rows = 4 }: { rows?: number }): JSX.Element {
  return (
    <div class="waiting" role="status">
      <span class="sr">{texts.loading}</span>
      {Array.from({ length: rows }, (_, row) => (
        <div class="waiting-row" key={row} />
      ))}
    </div>
  );
}

interface ProblemProps {
  problem: string | null;
  /** Since when what stands beside it wasn't brought up to date, in milliseconds. */
  since?: number | null;
  onRetry?: () => void;
}

/** Why something couldn't be fetched, while it can't; what was fetched before may stand beside it. */
export function Problem({ problem, since = null, onRetry }: ProblemProps): JSX.Element | null {
  if (problem === null) return null;
  return (
    <div class="note tone-bad" data-testid="problem">
      <Icon name="alert" />
      <span class="grow" role="alert">
        {problem} {since !== null && texts.asOf(since)}
      </span>
      {onRetry !== undefined && (
        <Button class="small" icon="again" onClick={onRetry}>
          {texts.retry}
        </Button>
      )}
    </div>
  );
}

interface CheckAllProps {
  label: string;
  all: boolean;
  some: boolean;
  onAll: (on: boolean) => void;
}

/** The box in a table's head: checked for all rows, half for some. */
export function CheckAll({ label, all, some, onAll }: CheckAllProps): JSX.Element {
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (box.current !== null) box.current.indeterminate = some && !all;
  });
  return (
    <input
      ref={box}
      type="checkbox"
      aria-label={label}
      checked={all}
      onChange={(event) => onAll(event.currentTarget.checked)}
    />
  );
}
