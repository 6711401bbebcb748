/** What a detector is given and what it says, as numbers: pixels in, boxes out. Pure. */
import type { Normalisation } from "./model-file";

/** One found object; `box` is in 0..1 of the picture, cut off at its edges. */
export interface Detection {
  label: string;
  /** The label's class index, which chooses its colour. */
  index: number;
  score: number;
  box: Box;
}

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** The four outputs of the detection operator for one picture: boxes are top, left, bottom, right. */
export interface Outputs {
  boxes: ArrayLike<number>;
  classes: ArrayLike<number>;
  scores: ArrayLike<number>;
  count: number;
}

/** Red, green and blue in 0..255 as the model takes them. */
export function toInput(rgb: Uint8ClampedArray, { mean, std }: Normalisation): Float32Array {
  return Float32Array.from(rgb, (value) => (value - mean) / std);
}

/** The valid detections, best first; a class without a label is named by `unnamed`. */
export function fromOutputs(
  { boxes, classes, scores, count }: Outputs,
  labels: readonly string[],
  unnamed: (index: number) => string,
): Detection[] {
  const valid = Math.min(Math.round(count), scores.length);
  const found = Array.from({ length: valid }, (_, place): Detection => {
    const edge = (at: number) => Math.min(1, Math.max(0, boxes[4 * place + at] ?? 0));
    const index = Math.round(classes[place] ?? 0);
    return {
      label: labels[index] ?? unnamed(index),
      index,
      score: scores[place] ?? 0,
      box: { top: edge(0), left: edge(1), bottom: edge(2), right: edge(3) },
    };
  });
  return found.sort((one, other) => other.score - one.score);
}

/** Those with at least this score. */
export function above(found: readonly Detection[], leastScore: number): Detection[] {
  return found.filter((each) => each.score >= leastScore);
}

/** A box in whole pixels of a picture. */
export function inPixels(box: Box, width: number, height: number): Box {
  return {
    left: Math.round(box.left * width),
    top: Math.round(box.top * height),
    right: Math.round(box.right * width),
    bottom: Math.round(box.bottom * height),
  };
}
