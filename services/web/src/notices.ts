/** What a trainer remarked about a job, and where it is told. Pure. */
import { type JobView, type Reason, TERMINAL } from "./contract";

/** Notices that nobody has to act on; all others are warnings. */
const NEWS: ReadonlySet<string> = new Set(["pretrained_backbone"]);

export const isNews = (notice: Reason): boolean => NEWS.has(notice.code);

/** Those at the top of a model's page: warnings always, news while the job hasn't ended. */
export function prominent(job: JobView): Reason[] {
  return job.notices.filter((notice) => !isNews(notice) || !TERMINAL.has(job.state));
}

/** Those among the details of a job that has ended: all others. */
export function remarked(job: JobView): Reason[] {
  const told = prominent(job);
  return job.notices.filter((notice) => !told.includes(notice));
}
