/** The word of explanation beside a job's state: its place in the queue, its reason, what is left, when to try again. */
import type { JSX } from "preact";
import type { JobView } from "../contract";
import { texts } from "../texts";
import { remainingSeconds } from "../time";
import { useNow, useProgress, useView } from "./context";

interface Props {
  job: JobView;
  /** On the model's own page: the state's whole meaning, but not the reason, which has its own place there. */
  onPage?: boolean;
}

export function Explanation({ job, onPage = false }: Props): JSX.Element {
  const place = useView((view) => view.state.queue.get(job.id));
  const progress = useProgress(job.id);
  const waits = job.state === "QUEUED" && place !== undefined;
  const later = job.state === "TRY_AGAIN_LATER";
  const now = useNow(waits || (later && job.retry_after !== null));
  const parts: string[] = [];
  if (waits) {
    const when = [texts.models.starts(place, now), texts.models.ends(place, now)].filter(Boolean);
    parts.push([texts.models.place(place.position), ...when].join(" · "));
  }
  const left = remainingSeconds(job, progress);
  if (left !== null) parts.push(texts.models.left(left));
  if (job.reason !== null && !onPage) parts.push(job.reason.message);
  if (later && job.when_room) parts.push(texts.models.startsByItself);
  else if (later && job.retry_after !== null) parts.push(texts.models.retryAfter(job.retry_after, now));
  if (parts.length === 0 || onPage) parts.unshift(texts.meanings[job.state]);
  return (
    <span class="explanation" data-testid="explanation">
      {parts.join(" ")}
    </span>
  );
}
