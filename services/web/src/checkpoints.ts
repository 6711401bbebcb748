/** Which checkpoints of a model can be looked at in pictures, and when the first of them is due. Pure. */
import { type JobView, type MetricPoint, type PredictionsView, type Progress, TERMINAL } from "./contract";

/** A checkpoint whose predictions are kept. */
export type Predicted = MetricPoint & { predictions: PredictionsView };

/**
 * Why a model has no metrics to show: the first checkpoint is due; it ended without any; they are being asked for; that
 * failed; its checkpoints have none.
 */
export type Missing = "due" | "never" | "asked" | "failed" | "lost";

/** Why there are none, where there are none; `asked` is how asking for them fares. */
export function missing(job: JobView, asked: { known: boolean; problem: string | null }): Missing {
  const ended = TERMINAL.has(job.state);
  if (job.checkpoint === null) return ended ? "never" : "due";
  if (asked.problem !== null) return "failed";
  if (!asked.known) return "asked";
  return ended ? "lost" : "due"; // the scheduler's word of a checkpoint may come before the trainer's metrics
}

/** Those of ascending points that have predictions. */
export function predicted(points: readonly MetricPoint[]): Predicted[] {
  return points.filter((point): point is Predicted => point.predictions !== null);
}

/** The one of that step, the last where there is none or `step` is null; undefined of none at all. */
export function chosenOf(kept: readonly Predicted[], step: number | null): Predicted | undefined {
  return kept.find((point) => point.step === step) ?? kept.at(-1);
}

/** The one whose step is nearest. */
export function nearest(kept: readonly Predicted[], step: number): Predicted | undefined {
  const distance = (point: Predicted) => Math.abs(point.step - step);
  return kept.reduce<Predicted | undefined>(
    (best, point) => (best === undefined || distance(point) < distance(best) ? point : best),
    undefined,
  );
}

/** The next checkpoint; `seconds` until it is made, null while no steps are made. */
export interface Due {
  step: number;
  seconds: number | null;
}

/** `every` is the number of steps between checkpoints; the last step has one too. */
export function nextCheckpoint(job: JobView, progress: Progress | undefined, every: number): Due {
  const made = Math.max(progress?.step ?? 0, job.checkpoint?.step ?? 0);
  const step = Math.min((Math.floor(made / every) + 1) * every, job.steps_requested);
  const pace = job.state === "RUNNING" ? (progress?.steps_per_second ?? 0) : 0;
  return { step, seconds: pace > 0 ? Math.max(0, step - made) / pace : null };
}
