/** All evaluation pictures at a glance, each with what is wrong in it. */
import type { JSX } from "preact";
import { lookOf, type Looks } from "../colours";
import type { FoundBox, TrueBox } from "../contract";
import type { Cell, Judged, JudgedPicture } from "../matching";
import { texts } from "../texts";
import { Icon } from "./bits";
import { Boxed, type DrawnBox, Swatch } from "./boxes";
import { usePage } from "./context";
import { memo } from "./memo";

/** Truth and prediction as two pictures, or both over one. */
export type View = "beside" | "over";

export interface DrawingProps {
  jobId: string;
  looks: Looks;
  view: View;
}

interface Props extends DrawingProps {
  judged: readonly JudgedPicture[];
  all: number;
  /** What is shown isn't (yet) of the chosen checkpoint. */
  busy: boolean;
  cell: Cell | null;
  onShowAll: () => void;
  onOpen: (number: number) => void;
}

export function Grid({ judged, all, busy, cell, onShowAll, onOpen, ...drawing }: Props): JSX.Element {
  return (
    <section class="image-part" aria-busy={busy}>
      <header class="image-head">
        <p data-testid="pictures-count" aria-live="polite">
          {cell === null
            ? texts.images.pictures(all)
            : texts.images.filtered(judged.length, all, texts.images.cell(cell.truth, cell.found))}
        </p>
        {cell !== null && (
          <button type="button" class="button small" onClick={onShowAll}>
            <Icon name="cross" />
            {texts.images.showAll}
          </button>
        )}
        <span class="grow" />
        <ul
          class="box-legend"
          aria-label={texts.images.legends[drawing.view]}
          title={texts.images.legends[drawing.view]}
        >
          {[...drawing.looks].map(([label, look]) => (
            <li key={label}>
              <Swatch look={look} />
              {label}
            </li>
          ))}
        </ul>
      </header>
      {judged.length === 0 && <p class="card empty">{texts.images.noneLeft}</p>}
      <div class={`image-grid is-${drawing.view}`} onKeyDown={walk} data-testid="image-grid">
        {judged.map((each) => (
          <Tile key={each.picture.number} judged={each} onOpen={onOpen} {...drawing} />
        ))}
      </div>
    </section>
  );
}

interface TileProps extends DrawingProps {
  judged: JudgedPicture;
  onOpen: (number: number) => void;
}

const Tile = memo(function Tile({ judged, onOpen, ...drawing }: TileProps): JSX.Element {
  const { picture } = judged;
  return (
    <button
      type="button"
      class="tile"
      data-testid="picture"
      data-number={picture.number}
      onClick={() => onOpen(picture.number)}
    >
      <Drawing judged={judged} {...drawing} small />
      <span class="tile-line">
        <span class="tile-name">{nameOf(judged)}</span>
        <Errors judged={judged} />
      </span>
    </button>
  );
});

export function Errors({ judged }: { judged: JudgedPicture }): JSX.Element {
  const right = judged.missed + judged.wrong === 0;
  return (
    <span class={right ? "tile-errors tone-good" : "tile-errors tone-bad"} data-testid="picture-errors">
      {right && <Icon name="check" />}
      {errorsOf(judged)}
    </span>
  );
}

export function nameOf({ picture }: JudgedPicture): string {
  return picture.file === "" ? texts.images.picture(picture.number) : picture.file;
}

function errorsOf({ missed, wrong, truth }: JudgedPicture): string {
  if (missed + wrong === 0) return truth.length === 0 ? texts.images.rightEmpty : texts.images.right;
  return [...(missed > 0 ? [texts.images.missed(missed)] : []), ...(wrong > 0 ? [texts.images.wrong(wrong)] : [])].join(
    " · ",
  );
}

interface SizedProps extends DrawingProps {
  judged: JudgedPicture;
  /** Small ones have scores alone for tags. */
  small?: boolean;
}

/** One picture with both kinds of boxes, or two side by side. */
export function Drawing({ judged, jobId, looks, view, small = false }: SizedProps): JSX.Element {
  const { api } = usePage();
  const { picture } = judged;
  const common = {
    src: api.evaluationPictureUrl(jobId, picture.number),
    width: picture.width,
    height: picture.height,
  };
  const draw = (each: Judged<TrueBox | FoundBox>, tag: string, truth = false): DrawnBox => ({
    corners: each.box,
    look: lookOf(looks, each.box.label),
    tag,
    truth,
    error: each.match !== each.box.label,
  });
  const score = ({ label, score }: FoundBox) => (small ? texts.images.score(score) : texts.images.boxTag(label, score));
  const truths = (tagged: boolean) =>
    judged.truth.map((each) => draw(each, tagged ? each.box.label : "", view === "over"));
  const founds = judged.found.map((each) => draw(each, score(each.box)));
  if (view === "over") {
    const alt = `${texts.images.altTruth(judged.truth.length)}, ${texts.images.altFound(judged.found.length)}`;
    return <Boxed {...common} alt={alt} boxes={[...truths(false), ...founds]} />;
  }
  return (
    <span class="beside">
      <span class="side">
        <span class="side-name">{texts.images.truth}</span>
        <Boxed {...common} alt={texts.images.altTruth(judged.truth.length)} boxes={truths(!small)} />
      </span>
      <span class="side">
        <span class="side-name">{texts.images.prediction}</span>
        <Boxed {...common} alt={texts.images.altFound(judged.found.length)} boxes={founds} />
      </span>
    </span>
  );
}

/** Arrows go from picture to picture. */
function walk(event: KeyboardEvent): void {
  const tile = document.activeElement;
  if (!(tile instanceof HTMLElement) || tile.dataset["testid"] !== "picture") return;
  const step = { ArrowRight: tile.nextElementSibling, ArrowLeft: tile.previousElementSibling }[event.key];
  if (!(step instanceof HTMLElement)) return;
  event.preventDefault();
  step.focus();
}
