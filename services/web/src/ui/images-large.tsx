/** One evaluation picture, large, with its boxes in words; arrow keys lead to the others. */
import type { JSX } from "preact";
import type { JudgedPicture } from "../matching";
import { texts } from "../texts";
import { Dialog, Icon } from "./bits";
import { useKeys } from "./context";
import { Drawing, type DrawingProps, Errors, nameOf } from "./images-grid";
import {
  type CheckpointProps,
  CheckpointSlider,
  type ScoreProps,
  ScoreSlider,
  type ViewProps,
  ViewSwitch,
} from "./images-tools";

interface Props extends DrawingProps, CheckpointProps, ScoreProps, ViewProps {
  judged: JudgedPicture;
  /** The pictures before and after it, and itself. */
  numbers: readonly number[];
  onGo: (number: number) => void;
  onClose: () => void;
}

export function Large(props: Props): JSX.Element {
  const { judged, numbers, onGo, onClose } = props;
  const { picture } = judged;
  const place = numbers.indexOf(picture.number);
  const before = numbers[place - 1];
  const after = numbers[place + 1];
  useKeys(({ target, key }) => {
    // Arrows at a slider move the slider.
    if (target instanceof HTMLInputElement) return false;
    const number = key === "ArrowLeft" ? before : key === "ArrowRight" ? after : undefined;
    if (number !== undefined) onGo(number);
    return number !== undefined;
  });
  return (
    <Dialog title={nameOf(judged)} onClose={onClose} class="large-picture">
      <p class="large-line">
        <span class="muted">{picture.dataset}</span>
        <Errors judged={judged} />
      </p>
      <div class="large-stage" data-testid="large-picture" data-number={picture.number}>
        <Drawing judged={judged} jobId={props.jobId} looks={props.looks} view={props.view} />
      </div>
      <div class="large-tools">
        <div class="large-places">
          <Go to={before} label={texts.images.previous} onGo={onGo} />
          <span class="number" aria-live="polite" title={texts.images.keys}>
            {texts.images.place(place + 1, numbers.length)}
          </span>
          <Go to={after} label={texts.images.next} onGo={onGo} />
        </div>
        <CheckpointSlider {...props} />
        <ScoreSlider {...props} />
        <ViewSwitch {...props} />
      </div>
      <BoxList judged={judged} />
    </Dialog>
  );
}

interface GoProps {
  to: number | undefined;
  label: string;
  onGo: (number: number) => void;
}

function Go({ to, label, onGo }: GoProps): JSX.Element {
  return (
    <button
      type="button"
      class={label === texts.images.next ? "button square is-next" : "button square"}
      aria-label={label}
      aria-disabled={to === undefined}
      onClick={() => to !== undefined && onGo(to)}
    >
      <Icon name="left" />
    </button>
  );
}

/** Errors first. */
function BoxList({ judged }: { judged: JudgedPicture }): JSX.Element {
  const { boxFound, boxMixed, boxWrong, boxMissed, score } = texts.images;
  const missed = judged.truth.filter(({ match }) => match === null).map(({ box }) => boxMissed(box.label));
  const wrong = judged.found
    .filter(({ box, match }) => match !== box.label)
    .map(({ box, match }) =>
      match === null ? boxWrong(box.label, score(box.score)) : boxMixed(match, box.label, score(box.score)),
    );
  const right = judged.found
    .filter(({ box, match }) => match === box.label)
    .map(({ box }) => boxFound(box.label, score(box.score)));
  return (
    <ul class="found-list" aria-label={texts.images.boxes}>
      {[...missed, ...wrong].map((line, index) => (
        <li key={`error ${index}`} class="tone-bad">
          <Icon name="cross" />
          {line}
        </li>
      ))}
      {right.map((line, index) => (
        <li key={`right ${index}`} class="tone-good">
          <Icon name="check" />
          {line}
        </li>
      ))}
      {missed.length + wrong.length + right.length === 0 && <li class="muted">{texts.images.boxesNone}</li>}
    </ul>
  );
}
