/** One picture, large, with its boxes: left and right go to its neighbours, up and down through its boxes, Escape closes. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { lookOf, type Looks } from "../colours";
import type { DatasetPicture } from "../contract";
import { beside, type Side, turn } from "../mosaic";
import type { Ranges } from "../ranges";
import { texts } from "../texts";
import { Dialog, Icon } from "./bits";
import { Boxes, type DrawnBox, Swatch } from "./boxes";
import { useKeys, usePage } from "./context";

interface Props {
  id: string;
  looks: Looks;
  place: number;
  total: number;
  pictures: Ranges<DatasetPicture>;
  onPlace: (place: number) => void;
  onClose: (place: number) => void;
}

const SIDES: Record<string, Side> = { ArrowLeft: "previous", ArrowRight: "next", Home: "first", End: "last" };

export function LargePicture({ id, looks, place, total, pictures, onPlace, onClose }: Props): JSX.Element {
  const { api } = usePage();
  const picture = pictures.get(place);
  const [box, setBox] = useState<number | null>(null);
  useEffect(() => {
    setBox(null);
    pictures.want(place - 1, place + 2);
  }, [pictures, place]);
  useEffect(() => {
    // The neighbours are there when they are asked for.
    for (const near of [place + 1, place - 1]) {
      const index = pictures.get(near)?.index;
      if (index !== undefined) new Image().src = api.pictureUrl(id, index, "full");
    }
  }, [picture]);
  const boxes = picture?.boxes ?? [];

  useKeys(({ key }) => {
    const side = SIDES[key];
    if (side !== undefined) onPlace(beside(place, side, total));
    else if (key === "ArrowDown") setBox((now) => turn(now, 1, boxes.length));
    else if (key === "ArrowUp") setBox((now) => turn(now, -1, boxes.length));
    else return false;
    return true;
  });

  return (
    <Dialog title={picture?.name ?? texts.loading} class="picture-view" onClose={() => onClose(place)}>
      <div class="picture-body" data-testid="large-picture">
        <div class="picture-stage">
          {picture !== undefined && (
            <Full key={picture.index} id={id} picture={picture}>
              <Boxes ratio={picture.width / picture.height} boxes={drawn(picture, looks, box)} />
            </Full>
          )}
          <button
            type="button"
            class="button square picture-turn is-previous"
            aria-label={texts.dataset.previous}
            disabled={place === 0}
            onClick={() => onPlace(place - 1)}
          >
            <Icon name="left" />
          </button>
          <button
            type="button"
            class="button square picture-turn is-next"
            aria-label={texts.dataset.next}
            disabled={place >= total - 1}
            onClick={() => onPlace(place + 1)}
          >
            <Icon name="left" />
          </button>
        </div>
        <aside class="picture-side">
          <p class="split" aria-live="polite">
            <span class="number" data-testid="picture-place">
              {texts.dataset.place(place + 1, total)}
            </span>
            {picture !== undefined && (
              <span class="muted">
                {texts.dataset.pools[picture.pool]} · {texts.dataset.boxSize(picture.width, picture.height)}
              </span>
            )}
          </p>
          <h3>{texts.dataset.boxesOf(boxes.length)}</h3>
          <ul class="box-list">
            {boxes.map((each, index) => {
              const width = (each.xmax - each.xmin) * (picture?.width ?? 0);
              const height = (each.ymax - each.ymin) * (picture?.height ?? 0);
              return (
                <li key={index}>
                  <button
                    type="button"
                    aria-pressed={box === index}
                    onClick={() => setBox(box === index ? null : index)}
                    onPointerEnter={() => setBox(index)}
                  >
                    <Swatch look={lookOf(looks, each.label)} />
                    <span class="breaks">{each.label}</span>
                    <span class="muted number">{texts.dataset.boxSize(Math.round(width), Math.round(height))}</span>
                  </button>
                </li>
              );
            })}
          </ul>
          <p class="muted small-text picture-keys">{texts.dataset.keys}</p>
        </aside>
      </div>
    </Dialog>
  );
}

/** With their names; of all but the `current` one, where there is one, only faint lines are left. */
function drawn({ boxes }: DatasetPicture, looks: Looks, current: number | null): DrawnBox[] {
  return boxes.map((box, index) => ({
    corners: box,
    look: lookOf(looks, box.label),
    tag: current === null || current === index ? box.label : "",
    weight: current === null ? undefined : current === index ? "current" : "back",
  }));
}

interface FullProps {
  id: string;
  picture: DatasetPicture;
  children: JSX.Element;
}

/** The thumbnail is there at once and stands in until the picture is. */
function Full({ id, picture, children }: FullProps): JSX.Element {
  const { api } = usePage();
  const [missing, setMissing] = useState(false);
  return (
    <div class="picture-frame" style={{ "--ratio": picture.width / picture.height }}>
      <img class="picture-under" alt="" src={api.pictureUrl(id, picture.index, "thumb")} />
      <img
        alt=""
        src={api.pictureUrl(id, picture.index, "full")}
        class={missing ? "sr" : ""}
        onError={() => setMissing(true)}
      />
      {children}
      {missing && (
        <p class="picture-missing" role="alert">
          {texts.dataset.missing}
        </p>
      )}
    </div>
  );
}
