/** How a label's boxes are drawn: the same wherever the same labels are. Pure; colours and dashes are in styles/boxes.css. */

/** As many as people with colour blindness can tell apart. */
export const COLOURS = 7;
/** Lines: whole, dashed, dotted. They tell labels apart past the colours. */
export const DASHES = 3;

export interface Look {
  readonly colour: number;
  readonly dash: number;
}

export type Looks = ReadonlyMap<string, Look>;

/** Each label's look, by the alphabet: neither the order of a model's classes nor a missing box changes it. */
export function looksOf(labels: readonly string[]): Looks {
  const sorted = [...new Set(labels)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return new Map(
    sorted.map((label, place) => [label, { colour: place % COLOURS, dash: Math.floor(place / COLOURS) % DASHES }]),
  );
}

/** That of a label; one that isn't among them is drawn as the first. */
export function lookOf(looks: Looks, label: string): Look {
  return looks.get(label) ?? { colour: 0, dash: 0 };
}
