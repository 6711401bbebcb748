/** What may be done with a model, and why not. The server decides; this only says it early. Pure. */
import { type JobView, STOPPABLE, TERMINAL } from "./contract";
import { texts } from "./texts";

/** Null where the action is possible, else the reason in a sentence. */
export type Refusal = string | null;

/** A role that may only look. */
export function roleRefusal(role: string | undefined): Refusal {
  return role === "viewer" ? texts.errors.viewer : null;
}

export function isMentor(role: string | undefined): boolean {
  return role === "mentor" || role === "admin";
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

/** Training goes on from a checkpoint, once whoever makes them has ended. */
export function moreRefusal(job: JobView): Refusal {
  if (!TERMINAL.has(job.state)) return texts.models.moreRunning;
  return job.checkpoint === null ? texts.models.moreNothing : null;
}

export function retryRefusal(job: JobView): Refusal {
  return job.state === "TRY_AGAIN_LATER" ? null : texts.models.retryOnly;
}

/** A mentor lets a member's job pass the cap of its member. */
export function approveRefusal(job: JobView, role: string | undefined): Refusal {
  if (job.state !== "TRY_AGAIN_LATER" || job.reason?.code !== "needs_approval") return texts.models.approveOnly;
  return isMentor(role) ? null : texts.models.approveMentor;
}

/** `children` are the models that were trained on from this one. */
export function deleteRefusal(job: JobView, children: readonly JobView[] = []): Refusal {
  if (!TERMINAL.has(job.state)) return texts.models.deleteRunning;
  return children.length > 0 ? texts.models.deleteParent(children.map((child) => child.description)) : null;
}

/** The reason why an action isn't possible for these models together; `one` where it takes exactly one. */
export function jointRefusal(
  jobs: readonly JobView[],
  refuse: (job: JobView) => Refusal,
  { one = false }: { one?: boolean } = {},
): Refusal {
  const [first] = jobs;
  if (first === undefined) return one ? texts.models.selectOne : texts.models.selectSome;
  if (one && jobs.length > 1) return texts.models.onlyOne;
  for (const job of jobs) {
    const reason = refuse(job);
    if (reason !== null) return jobs.length === 1 ? reason : texts.models.reasonOf(job.description, reason);
  }
  return null;
}

/** Why a dataset can't be deleted, or null; `users` are the names of the models that use it, null while nobody knows. */
export function usersRefusal(users: readonly string[] | null): string | null {
  if (users === null) return texts.dataset.usersUnknown;
  return users.length > 0 ? texts.dataset.inUse(users.slice(0, 3)) : null;
}
