/** Which checkpoints of a model can be looked at in pictures, and when the first of them is due. Pure. */
import type { JobView, MetricPoint, PredictionsView, Progress } from "./contract";

/** A checkpoint whose predictions are kept. */
export type Predicted = MetricPoint & { predictions: PredictionsView };

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
