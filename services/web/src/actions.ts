/** What may be done with a model, and why not. The server decides; this only says it early. Pure. */
import { type JobView, STOPPABLE, TERMINAL } from "./contract";
import { texts } from "./texts";

/** Null where the action is possible, else the reason in a sentence. */
export type Refusal = string | null;

/** A role that may only look. */
export function roleRefusal(role: string | undefined): Refusal {
  return role === "viewer" ? texts.errors.viewer : null;
}

export function stopRefusal(job: JobView): Refusal {
  if (STOPPABLE.has(job.state)) return null;
  if (TERMINAL.has(job.state)) return texts.models.stopEnded;
  return job.state === "STATE_UNSPECIFIED" ? texts.models.stopUnclear : texts.models.stopAlready;
}

/** What stopping it now would mean. */
export function stopConsequence(job: JobView): string {
  if (job.state !== "QUEUED") return texts.models.stopRunning;
  return job.checkpoint === null ? texts.models.stopWaiting : texts.models.stopWaitingSaved;
}

export function downloadRefusal(job: JobView): Refusal {
  if (job.export !== null && job.export.files.length > 0) return null;
  if (!TERMINAL.has(job.state)) return texts.models.downloadLater;
  return job.checkpoint === null ? texts.models.downloadNothing : texts.models.downloadMaking;
}

export function deleteRefusal(job: JobView): Refusal {
  return TERMINAL.has(job.state) ? null : texts.models.deleteRunning;
}
