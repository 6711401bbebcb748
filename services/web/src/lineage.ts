/** Which model was trained on from which. Pure. */
import type { JobView } from "./contract";

type Models = ReadonlyMap<string, JobView>;

/** The models trained on from this one, oldest first. */
export function childrenOf(models: Models, id: string): JobView[] {
  return [...models.values()]
    .filter((model) => model.parent_id === id)
    .sort((a, b) => Date.parse(a.created_at) - Date.parse(b.created_at));
}

/** The model's parent, its parent's and so on, as far as they are known, the first of the line first. */
export function ancestorsOf(models: Models, job: JobView): JobView[] {
  const line: JobView[] = [];
  let parent = job.parent_id === null ? undefined : models.get(job.parent_id);
  while (parent !== undefined && !line.includes(parent)) {
    line.unshift(parent);
    parent = parent.parent_id === null ? undefined : models.get(parent.parent_id);
  }
  return line;
}
