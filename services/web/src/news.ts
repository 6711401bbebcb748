/** What changed between two states that a person who isn't looking at the row should hear. Pure. */
import type { State } from "./store";
import { texts } from "./texts";

/** One sentence for each job whose state changed; none for the first snapshot. */
export function news(before: State, after: State): string[] {
  if (before.position === null || before.models === after.models) return [];
  const sentences: string[] = [];
  for (const [id, model] of after.models) {
    const known = before.models.get(id);
    if (known !== undefined && known.state !== model.state) sentences.push(texts.news(model));
  }
  return sentences;
}
