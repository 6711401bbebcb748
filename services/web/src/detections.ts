/** What a detector is given and what it says, as numbers: pixels in, boxes out. Pure. */
import type { FoundBox } from "./contract";
import type { Corners } from "./matching";
import type { Normalisation } from "./model-file";

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

/** The valid detections, cut off at the picture's edges, best first; a class without a label is named by `unnamed`. */
export function fromOutputs(
  { boxes, classes, scores, count }: Outputs,
  labels: readonly string[],
  unnamed: (index: number) => string,
): FoundBox[] {
  const valid = Math.min(Math.round(count), scores.length);
  const found = Array.from({ length: valid }, (_, place): FoundBox => {
    const edge = (at: number) => Math.min(1, Math.max(0, boxes[4 * place + at] ?? 0));
    const index = Math.round(classes[place] ?? 0);
    return {
      label: labels[index] ?? unnamed(index),
      score: scores[place] ?? 0,
      ymin: edge(0),
      xmin: edge(1),
      ymax: edge(2),
      xmax: edge(3),
    };
  });
  return found.sort((one, other) => other.score - one.score);
}

/** Those with at least this score. */
export function above(found: readonly FoundBox[], leastScore: number): FoundBox[] {
  return found.filter((each) => each.score >= leastScore);
}

/** A box in whole pixels of a picture. */
export function inPixels({ ymin, xmin, ymax, xmax }: Corners, width: number, height: number): Corners {
  return {
    ymin: Math.round(ymin * height),
    xmin: Math.round(xmin * width),
    ymax: Math.round(ymax * height),
    xmax: Math.round(xmax * width),
  };
}
