/** Arithmetic of a job's time and steps as a page shows them. Pure: the present is always an argument, in milliseconds. */
import type { JobView, Progress } from "./contract";

/** More than this and the local clock was set, or the machine slept. */
const CLOCK_JUMP_MS = 2_000;

/**
 * What to add to the local clock to get the server's, given the time in a frame. A frame is never early, only late: the
 * largest difference seen is the best.
 */
export function clockOffset(known: number | null, serverTime: string, localNow: number): number {
  const seen = Date.parse(serverTime) - localNow;
  if (known === null || Math.abs(seen - known) > CLOCK_JUMP_MS) return seen;
  return Math.max(known, seen);
}

/** A trainer that makes steps says so at least this often, slow steps apart. */
const LONGEST_SILENCE_SECONDS = 2;

/**
 * Seconds of stepping over all attempts. While steps are being made the trainer itself tells them, about once a second: between
 * two such words the clock goes on, but no further, as it stands still during an evaluation. Without progress it is what durable
 * steps took plus the time since. Once the job has ended it is what was used.
 */
export function trainingSeconds(job: JobView, serverNow: number, progress?: Progress): number {
  if (job.running_since === null) return job.used_seconds ?? job.stepping_seconds_before;
  if (progress !== undefined && progress.attempt === job.attempt) {
    const since = (serverNow - Date.parse(progress.at)) / 1000;
    return progress.stepping_seconds + Math.min(Math.max(0, since), LONGEST_SILENCE_SECONDS);
  }
  return job.stepping_seconds_before + Math.max(0, (serverNow - Date.parse(job.running_since)) / 1000);
}

export interface Steps {
  /** Made as far as is known; may be lost when the trainer dies. */
  made: number;
  /** In the last durable checkpoint. */
  saved: number;
  requested: number;
}

/** Steps of a job, given the newest progress of the attempt that holds it, if there is one. */
export function steps(job: JobView, progress: Progress | undefined): Steps {
  return {
    made: Math.max(progress?.step ?? 0, job.steps_completed),
    saved: job.steps_completed,
    requested: job.steps_requested,
  };
}

/** Seconds that the steps still to make will take at the present speed, or null where that isn't known. */
export function remainingSeconds(job: JobView, progress: Progress | undefined): number | null {
  if (job.state !== "RUNNING" || progress === undefined || !(progress.steps_per_second > 0)) return null;
  return Math.max(0, job.steps_requested - progress.step) / progress.steps_per_second;
}

/** Whole steps that fit into so many seconds of stepping. */
export function stepsWithin(seconds: number, secondsPerStep: number): number {
  return secondsPerStep > 0 ? Math.floor(seconds / secondsPerStep) : 0;
}
