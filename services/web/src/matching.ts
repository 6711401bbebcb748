/**
 * What a model found in pictures, compared with what somebody drew there. Pure.
 *
 * A found box and a true one are the same object where they overlap by half (IoU 0.5). In each picture the found boxes choose, the
 * highest score first: each the free true box of its label that it overlaps most. Those left over choose once more among the true
 * boxes left over, whatever their labels: these are mix-ups. What then is left was missed, or found where nothing is.
 */
import type { EvaluationPicture, FoundBox, FoundBoxes, TrueBox } from "./contract";
import { LOCALE } from "./locale";

export const SAME_OBJECT = 0.5;

/** Corners as fractions of a picture's height and width. */
export interface Corners {
  readonly ymin: number;
  readonly xmin: number;
  readonly ymax: number;
  readonly xmax: number;
}

/** `match` is the label at the other side, null where there is none. */
export interface Judged<T> {
  readonly box: T;
  readonly match: string | null;
}

export interface JudgedPicture {
  readonly picture: EvaluationPicture;
  readonly truth: readonly Judged<TrueBox>[];
  /** From the threshold on, highest score first. */
  readonly found: readonly Judged<FoundBox>[];
  /** True boxes that were not found as what they are. */
  readonly missed: number;
  /** Found boxes that are not what they are said to be. A mix-up counts here and as missed. */
  readonly wrong: number;
}

/** A cell: objects of the label `truth` that were found as `found`. Null is the background: nothing there, nothing found. */
export interface Cell {
  readonly truth: string | null;
  readonly found: string | null;
}

export interface Confusion {
  readonly labels: readonly string[];
  /** A row for each true label, a column for each found one, in the order of `labels`; the background comes last. */
  readonly counts: readonly (readonly number[])[];
}

/** Counts of boxes; `precision` and `recall` are 0..1, null where there is nothing to divide by. */
export interface LabelFigures {
  readonly label: string;
  readonly truth: number;
  readonly found: number;
  readonly hits: number;
  readonly precision: number | null;
  readonly recall: number | null;
}

/** Intersection over union, 0..1; 0 for boxes without an area. */
export function iou(a: Corners, b: Corners): number {
  const height = Math.min(a.ymax, b.ymax) - Math.max(a.ymin, b.ymin);
  const width = Math.min(a.xmax, b.xmax) - Math.max(a.xmin, b.xmin);
  if (!(height > 0 && width > 0)) return 0;
  const both = height * width;
  return both / (area(a) + area(b) - both);
}

function area(box: Corners): number {
  return (box.ymax - box.ymin) * (box.xmax - box.xmin);
}

/** Compares what was found in one picture with the truth. Boxes of equal scores choose in the order in which they come. */
export function judge(picture: EvaluationPicture, boxes: readonly FoundBox[], threshold: number): JudgedPicture {
  const found = boxes.filter((box) => box.score >= threshold).sort((a, b) => b.score - a.score);
  const ofTruth: (string | null)[] = picture.boxes.map(() => null);
  const ofFound: (string | null)[] = found.map(() => null);
  for (const sameLabel of [true, false]) {
    found.forEach((box, index) => {
      if (ofFound[index] !== null) return;
      const chosen = most(picture.boxes, (truth, place) =>
        ofTruth[place] === null && (truth.label === box.label || !sameLabel) ? iou(box, truth) : 0,
      );
      const truth = picture.boxes[chosen];
      if (truth === undefined) return;
      ofTruth[chosen] = box.label;
      ofFound[index] = truth.label;
    });
  }
  const truth = picture.boxes.map((box, place) => ({ box, match: ofTruth[place] ?? null }));
  const judged = found.map((box, index) => ({ box, match: ofFound[index] ?? null }));
  return { picture, truth, found: judged, missed: errors(truth), wrong: errors(judged) };
}

/** The place of the true box that overlaps most and enough, the first of several; -1 without one. */
function most(boxes: readonly TrueBox[], overlap: (box: TrueBox, place: number) => number): number {
  let best = -1;
  let highest = 0;
  boxes.forEach((box, place) => {
    const value = overlap(box, place);
    if (value < SAME_OBJECT || value <= highest) return;
    best = place;
    highest = value;
  });
  return best;
}

function errors(judged: readonly Judged<TrueBox | FoundBox>[]): number {
  return judged.filter(({ box, match }) => match !== box.label).length;
}

/** All pictures, in the order of their numbers; one that the predictions don't name has nothing found in it. */
export function judgeAll(
  pictures: readonly EvaluationPicture[],
  predictions: readonly FoundBoxes[],
  threshold: number,
): JudgedPicture[] {
  const boxes = new Map(predictions.map((each) => [each.number, each.boxes]));
  return pictures.map((picture) => judge(picture, boxes.get(picture.number) ?? [], threshold));
}

/** Most errors first; those with as many stay in the order of their numbers. */
export function worstFirst(judged: readonly JudgedPicture[]): JudgedPicture[] {
  return [...judged].sort((a, b) => b.missed + b.wrong - (a.missed + a.wrong) || a.picture.number - b.picture.number);
}

/** The known labels in their order, then those that only occur in boxes, by the alphabet. */
export function labelsOf(
  known: readonly string[],
  pictures: readonly EvaluationPicture[],
  predictions: readonly FoundBoxes[],
): string[] {
  const listed = new Set(known);
  const others = new Set([...pictures, ...predictions].flatMap(({ boxes }) => boxes.map((box) => box.label)));
  return [...listed, ...[...others].filter((label) => !listed.has(label)).sort((a, b) => a.localeCompare(b, LOCALE))];
}

/** How often each label was found as which. `labels` must name every label that occurs. */
export function confusionOf(judged: readonly JudgedPicture[], labels: readonly string[]): Confusion {
  const places = new Map<string | null, number>(labels.map((label, place) => [label, place]));
  places.set(null, labels.length);
  const counts = Array.from(places, () => Array.from(places, () => 0));
  for (const { truth, found } of cellsOf(judged)) {
    const row = counts[places.get(truth) ?? -1];
    const column = places.get(found) ?? -1;
    if (row?.[column] === undefined) throw new RangeError(`not among the labels: ${truth} or ${found}`);
    row[column] += 1;
  }
  return { labels, counts };
}

/** A cell for each object: each true box, and each found one that matches none. */
function cellsOf(judged: readonly JudgedPicture[]): Cell[] {
  return judged.flatMap(({ truth, found }) => [
    ...truth.map(({ box, match }) => ({ truth: box.label, found: match })),
    ...found.filter(({ match }) => match === null).map(({ box }) => ({ truth: null, found: box.label })),
  ]);
}

/** Whether a picture has an object of that cell. */
export function shows(judged: JudgedPicture, cell: Cell): boolean {
  return cellsOf([judged]).some(({ truth, found }) => truth === cell.truth && found === cell.found);
}

/** Precision and recall of each label, at the threshold that the pictures were judged by. */
export function figuresOf({ labels, counts }: Confusion): LabelFigures[] {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return labels.map((label, place) => {
    const hits = counts[place]?.[place] ?? 0;
    const truth = sum(counts[place] ?? []);
    const found = sum(counts.map((row) => row[place] ?? 0));
    return {
      label,
      truth,
      found,
      hits,
      precision: found > 0 ? hits / found : null,
      recall: truth > 0 ? hits / truth : null,
    };
  });
}
