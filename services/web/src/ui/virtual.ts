/** Rows of one height that scroll with the window: only those on the screen and near it are drawn. */
import {
  observeWindowOffset,
  observeWindowRect,
  type VirtualItem,
  Virtualizer,
  windowScroll,
} from "@tanstack/virtual-core";
import { useLayoutEffect, useReducer, useState } from "preact/hooks";

interface Rows {
  count: number;
  rowHeight: number;
  gap: number;
  /** From the document's top to the first row. */
  top: number;
}

const ROWS_BEYOND = 2;

export function useWindowRows({ count, rowHeight, gap, top }: Rows): {
  rows: VirtualItem[];
  height: number;
  scrollTo: (row: number) => void;
} {
  const [, redraw] = useReducer((times: number) => times + 1, 0);
  const options = {
    count,
    gap,
    scrollMargin: top,
    overscan: ROWS_BEYOND,
    // The header is fixed: what is scrolled to must not lie under it.
    scrollPaddingStart: 140,
    estimateSize: () => rowHeight,
    getScrollElement: () => window,
    initialOffset: () => window.scrollY,
    initialRect: { width: window.innerWidth, height: window.innerHeight },
    observeElementRect: observeWindowRect,
    observeElementOffset: observeWindowOffset,
    scrollToFn: windowScroll<Window>,
    onChange: () => redraw(0),
  };
  const [virtualizer] = useState(() => new Virtualizer<Window, HTMLElement>(options));
  virtualizer.setOptions(options);
  useLayoutEffect(() => virtualizer._didMount(), [virtualizer]);
  useLayoutEffect(() => virtualizer._willUpdate());
  useLayoutEffect(() => virtualizer.measure(), [virtualizer, rowHeight, gap]);
  return {
    rows: virtualizer.getVirtualItems(),
    height: virtualizer.getTotalSize(),
    scrollTo: (row) => virtualizer.scrollToIndex(row, { align: "auto" }),
  };
}
