/** The word of explanation beside a job's state: its place in the queue, its reason, what is left. */
import type { JSX } from "preact";
import { type JobView, MEANINGS, type Progress, type QueuePlace } from "../contract";
import { texts } from "../texts";
import { remainingSeconds } from "../time";

interface Props {
  job: JobView;
  place: QueuePlace | undefined;
  progress: Progress | undefined;
  now: number;
  /** On the model's own page: the state's whole meaning, but not the reason, which has its own place there. */
  onPage?: boolean;
}

export function Explanation({ job, place, progress, now, onPage = false }: Props): JSX.Element {
  const parts: string[] = [];
  if (job.state === "QUEUED" && place !== undefined) {
    const when = [texts.models.starts(place, now), texts.models.ends(place, now)].filter(Boolean);
    parts.push([texts.models.place(place.position), ...when].join(" · "));
  }
  const left = remainingSeconds(job, progress);
  if (left !== null) parts.push(texts.models.left(left));
  if (job.reason !== null && !onPage) parts.push(job.reason.message);
  if (job.retry_after !== null && job.state === "TRY_AGAIN_LATER")
    parts.push(texts.models.retryAfter(job.retry_after, now));
  if (parts.length === 0 || onPage) parts.unshift(MEANINGS[job.state]);
  return <span class="explanation">{parts.join(" ")}</span>;
}
