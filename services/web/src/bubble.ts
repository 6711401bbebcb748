/** Where a bubble stands that belongs to something on the page: always whole in the window. Pure; all in CSS pixels. */

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export interface Size {
  width: number;
  height: number;
}

/** Between a bubble and what it belongs to, and the window's edge. */
const GAP = 8;

/** Over it where there is room, else under it; begins where it begins, as far as the window lets it. */
export function bubbleAt(target: Box, bubble: Size, view: Size): { left: number; top: number } {
  const above = target.top - GAP - bubble.height;
  return {
    left: Math.max(GAP, Math.min(target.left, view.width - GAP - bubble.width)),
    top: above >= GAP ? above : target.bottom + GAP,
  };
}
