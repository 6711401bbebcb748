/** A picture in another size, the same in each browser: canvases differ in how they make one smaller. Pure. */

export interface Size {
  width: number;
  height: number;
}

/** Which places of a line make up one place of the resized line, from `first` on, and how much each counts, of `ONE`. */
interface Taps {
  first: number;
  weights: Int32Array;
}

/** Whole numbers, as large as Pillow's: sums are the same in any order, and so is how a half is rounded. */
const BITS = 22;
const ONE = 2 ** BITS;

/**
 * Red, green and blue of each pixel of an RGBA picture in size `to`, row by row, each rounded to 0..255.
 *
 * By a triangle as wide as a resized pixel, so that no pixel is skipped: Pillow's BILINEAR, which the `trainyard` command
 * uses. What is transparent counts as if it were not.
 */
export function resize(rgba: Uint8ClampedArray, from: Size, to: Size): Uint8ClampedArray {
  const narrow = new Uint8ClampedArray(from.height * to.width * 3);
  const columns = taps(from.width, to.width);
  for (let y = 0, at = 0; y < from.height; y++) {
    const row = y * from.width * 4;
    for (const { first, weights } of columns) {
      let [red, green, blue] = [0, 0, 0];
      for (let tap = 0, pixel = row + 4 * first; tap < weights.length; tap++, pixel += 4) {
        const weight = weights[tap] ?? 0;
        red += weight * (rgba[pixel] ?? 0);
        green += weight * (rgba[pixel + 1] ?? 0);
        blue += weight * (rgba[pixel + 2] ?? 0);
      }
      narrow[at++] = rounded(red);
      narrow[at++] = rounded(green);
      narrow[at++] = rounded(blue);
    }
  }
  const line = to.width * 3;
  const resized = new Uint8ClampedArray(to.height * line);
  taps(from.height, to.height).forEach(({ first, weights }, y) => {
    for (let x = 0; x < line; x++) {
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap++)
        sum += (weights[tap] ?? 0) * (narrow[(first + tap) * line + x] ?? 0);
      resized[y * line + x] = rounded(sum);
    }
  });
  return resized;
}

function rounded(sum: number): number {
  return (sum + ONE / 2) >> BITS;
}

function taps(from: number, to: number): Taps[] {
  const scale = from / to;
  const reach = Math.max(1, scale);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const end = Math.min(from, Math.floor(centre + reach + 0.5));
    const weights = Array.from({ length: end - first }, (_unused, tap) =>
      Math.max(0, 1 - Math.abs((first + tap + 0.5 - centre) / reach)),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: Int32Array.from(weights, (weight) => Math.round((weight / sum) * ONE)) };
  });
}
