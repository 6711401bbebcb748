/** Which steps the graphs show, and which of them a key goes to. Pure. */

/** From a step to another, both included. */
export type Span = readonly [number, number];

/** What lies between two steps, given in either order, of 0 to `last`; null where that is all. It is never empty. */
export function spanOf(one: number, other: number, last: number): Span | null {
  const [a, b] = [one, other].map((step) => Math.min(Math.max(0, Math.round(step)), last)) as [number, number];
  const from = Math.min(a, b, Math.max(0, last - 1));
  const to = Math.max(a, b, from + 1);
  return from === 0 && to >= last ? null : [from, to];
}

/**
 * The place in `steps` to which a key leads from the place `at` (null: from the end), among those that are shown; null for a
 * key that leads nowhere.
 */
export function placeAfter(
  key: string,
  steps: readonly number[],
  at: number | null,
  [from, to]: Span = [0, Infinity],
): number | null {
  const first = steps.findIndex((step) => step >= from);
  const last = steps.findLastIndex((step) => step <= to);
  if (first < 0 || last < first) return null;
  const within = (place: number) => Math.min(Math.max(first, place), last);
  switch (key) {
    case "ArrowLeft":
      return within((at ?? last) - 1);
    case "ArrowRight":
      return within((at ?? last) + 1);
    case "Home":
      return first;
    case "End":
      return last;
    default:
      return null;
  }
}
