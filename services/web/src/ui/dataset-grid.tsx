/** A dataset's pictures as a grid: of thousands, those on the screen are drawn, and those near it fetched. */
import type { JSX } from "preact";
import { memo } from "./memo";
import { useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import { asApiError } from "../api";
import { lookOf, type Looks, looksOf } from "../colours";
import type { DatasetPicture } from "../contract";
import { mosaic } from "../mosaic";
import { Ranges } from "../ranges";
import type { PictureFilter } from "../route";
import { Slots } from "../slots";
import { texts } from "../texts";
import { Boxes, type DrawnBox } from "./boxes";
import { usePage, useView } from "./context";
import { LargePicture } from "./dataset-picture";
import { useWindowRows } from "./virtual";

const RANGE = 100;
const RANGES_AT_ONCE = 2;
const THUMBS_AT_ONCE = 4; // a browser opens six connections: the rest of the page needs some
const GAP = 10;
const NARROWEST = 168;
const CAPTION = 26;

interface Props {
  id: string;
  labels: readonly string[];
  filter: PictureFilter;
  boxes: boolean;
  onTotal: (total: number) => void;
  onAll: () => void;
}

/** The caller gives it a key of dataset and filter: another choice is another list. */
export function Grid({ id, labels, filter, boxes, onTotal, onAll }: Props): JSX.Element {
  const pictures = usePictures(id, filter);
  const [ground, { width, top }] = usePlace();
  const looks = useMemo(() => looksOf(labels), [labels]);
  const slots = useMemo(() => new Slots(THUMBS_AT_ONCE), []);
  const { columns, cellWidth, rowHeight } = mosaic(width, GAP, NARROWEST, CAPTION);
  const total = pictures.total;
  const count = Math.ceil((total ?? 0) / columns);
  const { rows, height, scrollTo } = useWindowRows({ count, rowHeight, gap: GAP, top });
  const [opened, setOpened] = useState<number | null>(null);
  const live = useView((view) => view.connection.kind === "live");

  const first = rows[0]?.index ?? 0;
  const last = rows.at(-1)?.index ?? 0;
  useEffect(() => {
    pictures.want(first * columns, total === null ? 1 : (last + 1) * columns);
  }, [pictures, first, last, columns, total]);
  useEffect(() => {
    if (total !== null) onTotal(total);
  }, [total]);
  useEffect(() => {
    if (live && pictures.problem !== null) pictures.again();
  }, [pictures, live]);

  const close = (place: number) => {
    setOpened(null);
    scrollTo(Math.floor(place / columns));
    // The cell may have to be drawn first.
    window.setTimeout(() => {
      ground.current?.querySelector<HTMLElement>(`[data-place="${place}"]`)?.focus({ preventScroll: true });
    }, 60);
  };

  if (pictures.problem !== null && total === null) {
    return (
      <div class="grid-note" role="alert" ref={ground}>
        <p>{texts.dataset.picturesFailed(asApiError(pictures.problem).message)}</p>
        <button type="button" class="button" onClick={() => pictures.again()}>
          {texts.model.retry}
        </button>
      </div>
    );
  }
  if (total === 0) {
    return (
      <div class="grid-note" ref={ground}>
        <p>{texts.dataset.none}</p>
        <button type="button" class="button" onClick={onAll}>
          {texts.dataset.showAll}
        </button>
      </div>
    );
  }
  return (
    <>
      <div
        class="mosaic"
        ref={ground}
        role="list"
        data-testid="pictures"
        style={{ height: `${Math.max(height, rowHeight)}px` }}
      >
        {rows.flatMap((row) =>
          Array.from({ length: Math.min(columns, (total ?? 0) - row.index * columns) }, (_, column) => {
            const place = row.index * columns + column;
            return (
              <div
                key={place}
                role="listitem"
                aria-setsize={total ?? -1}
                aria-posinset={place + 1}
                class="mosaic-item"
                style={{
                  width: `${cellWidth}px`,
                  height: `${rowHeight}px`,
                  transform: `translate(${column * (cellWidth + GAP)}px, ${row.start - top}px)`,
                }}
              >
                <Cell
                  id={id}
                  place={place}
                  picture={pictures.get(place)}
                  looks={looks}
                  boxes={boxes}
                  slots={slots}
                  onOpen={setOpened}
                />
              </div>
            );
          }),
        )}
      </div>
      {opened !== null && total !== null && (
        <LargePicture
          id={id}
          looks={looks}
          place={opened}
          total={total}
          pictures={pictures}
          onPlace={setOpened}
          onClose={close}
        />
      )}
    </>
  );
}

interface CellProps {
  id: string;
  place: number;
  picture: DatasetPicture | undefined;
  looks: Looks;
  boxes: boolean;
  slots: Slots;
  onOpen: (place: number) => void;
}

const Cell = memo(function Cell({ id, place, picture, looks, boxes, slots, onOpen }: CellProps): JSX.Element {
  if (picture === undefined) return <div class="cell is-waiting" />;
  return (
    <button
      type="button"
      class="cell"
      data-testid="picture"
      data-place={place}
      data-index={picture.index}
      title={picture.name}
      onClick={() => onOpen(place)}
    >
      <span class="cell-picture">
        <Thumb id={id} index={picture.index} slots={slots} />
        {boxes && <Boxes ratio={picture.width / picture.height} boxes={drawn(picture, looks)} />}
      </span>
      <span class="cell-caption">
        <span class="cell-name">{picture.name.split("/").at(-1)}</span>
        {picture.pool === "eval" && <span class="cell-pool">{texts.dataset.inEvaluation}</span>}
        <span class="sr">{texts.dataset.contents(counted(picture))}</span>
      </span>
    </button>
  );
});

function drawn({ boxes }: DatasetPicture, looks: Looks): DrawnBox[] {
  return boxes.map((box) => ({ corners: box, look: lookOf(looks, box.label), tag: "" }));
}

/** Each label of a picture once, with how often. */
function counted(picture: DatasetPicture): string[] {
  const counts = new Map<string, number>();
  for (const { label } of picture.boxes) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].map(([label, count]) => texts.dataset.counted(label, count));
}

/** A thumbnail that waits for its turn; scrolled past before, it isn't fetched at all. */
function Thumb({ id, index, slots }: { id: string; index: number; slots: Slots }): JSX.Element {
  const { api } = usePage();
  const image = useRef<HTMLImageElement>(null);
  const [state, setState] = useState<"waits" | "here" | "broken">("waits");
  const live = useView((view) => view.connection.kind === "live");
  const done = useRef(() => {});
  const worthIt = state !== "broken" || live;
  useEffect(() => {
    if (state === "here" || !worthIt) return undefined;
    const element = image.current;
    done.current = slots.enter(() => element?.setAttribute("src", api.pictureUrl(id, index, "thumb")));
    return () => done.current();
  }, [api, id, index, slots, worthIt]);
  useEffect(() => {
    const element = image.current;
    return () => {
      if (element !== null && !element.complete) element.removeAttribute("src"); // the browser gives it up
    };
  }, []);
  const settle = (now: "here" | "broken") => {
    done.current();
    setState(now);
  };
  return (
    <img ref={image} alt="" class={`is-${state}`} onLoad={() => settle("here")} onError={() => settle("broken")} />
  );
}

function usePictures(id: string, filter: PictureFilter): Ranges<DatasetPicture> {
  const { api } = usePage();
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const [pictures] = useState(
    () =>
      new Ranges<DatasetPicture>({
        size: RANGE,
        atOnce: RANGES_AT_ONCE,
        fetch: async (offset, limit, signal) => {
          const answer = await api.pictures(id, filter, offset, limit, signal);
          return { items: answer.pictures, total: answer.total };
        },
        changed: () => redraw(0),
      }),
  );
  useEffect(() => () => pictures.end(), [pictures]);
  return pictures;
}

/** Where the grid is and how wide, followed as the page around it changes. */
function usePlace(): [{ current: HTMLDivElement | null }, { width: number; top: number }] {
  const ground = useRef<HTMLDivElement>(null);
  const [place, setPlace] = useState({ width: 0, top: 0 });
  useLayoutEffect(() => {
    const look = () => {
      if (ground.current === null) return;
      const { width, top } = ground.current.getBoundingClientRect();
      const now = { width, top: Math.round(top + window.scrollY) };
      setPlace((was) => (was.width === now.width && was.top === now.top ? was : now));
    };
    look();
    const watch = new ResizeObserver(look);
    watch.observe(document.body);
    return () => watch.disconnect();
  }, []);
  return [ground, place];
}
