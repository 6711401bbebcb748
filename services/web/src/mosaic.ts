/** The arithmetic of a grid of pictures and of the ways through them. Pure; lengths are CSS pixels. */

export interface Mosaic {
  columns: number;
  cellWidth: number;
  /** Of a row, without the gap below it. */
  rowHeight: number;
}

/** As many columns as fit with cells of at least `narrowest`, at least two; pictures are 4 : 3, a caption is below. */
export function mosaic(width: number, gap: number, narrowest: number, caption: number): Mosaic {
  const columns = Math.max(2, Math.floor((width + gap) / (narrowest + gap)));
  const cellWidth = Math.max(1, (width - gap * (columns - 1)) / columns);
  return { columns, cellWidth, rowHeight: Math.round(cellWidth * 0.75) + caption };
}

export type Side = "previous" | "next" | "first" | "last";

/** The place among `total` that is `side` of `place`; at an end it stays. */
export function beside(place: number, side: Side, total: number): number {
  const last = Math.max(0, total - 1);
  switch (side) {
    case "previous":
      return Math.max(0, place - 1);
    case "next":
      return Math.min(last, place + 1);
    case "first":
      return 0;
    case "last":
      return last;
  }
}

/** The box that an arrow key goes to from `box` (null: none); past either end is none. */
export function turn(box: number | null, by: 1 | -1, total: number): number | null {
  if (total === 0) return null;
  const next = box === null ? (by === 1 ? 0 : total - 1) : box + by;
  return next < 0 || next >= total ? null : next;
}
