/** A colour for each label, the same one wherever the same labels are. Pure; the colours themselves are in styles/boxes.css. */

/** As many as people with colour blindness can tell apart. */
export const BOX_COLOURS = 7;

/** The number of each label's colour, by the alphabet: neither the order of a model's classes nor a missing box changes it. */
export function coloursOf(labels: readonly string[]): ReadonlyMap<string, number> {
  const sorted = [...new Set(labels)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return new Map(sorted.map((label, place) => [label, place % BOX_COLOURS]));
}
