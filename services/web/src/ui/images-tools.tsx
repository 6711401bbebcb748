/** What is chosen for all evaluation pictures: the checkpoint, the least score, how and in which order they are shown. */
import type { JSX } from "preact";
import { useId } from "preact/hooks";
import type { Predicted } from "../checkpoints";
import { LEAST_SCORE } from "../contract";
import { whole } from "../format";
import { texts } from "../texts";
import type { View } from "./images-grid";

const ORDERS = ["worst", "given"] as const;
export type Order = (typeof ORDERS)[number];

const VIEWS: readonly View[] = ["beside", "over"];

export interface CheckpointProps {
  kept: readonly Predicted[];
  point: Predicted;
  /** The latest is shown, and the next one will be. */
  follows: boolean;
  onChoose: (step: number) => void;
}

export interface ScoreProps {
  threshold: number;
  onThreshold: (score: number) => void;
}

export interface ViewProps {
  view: View;
  onView: (view: View) => void;
}

interface Props extends CheckpointProps, ScoreProps, ViewProps {
  order: Order;
  onOrder: (order: Order) => void;
}

export function Tools({ order, onOrder, ...given }: Props): JSX.Element {
  return (
    <section class="card image-tools" aria-label={texts.images.tools}>
      <CheckpointSlider {...given} />
      <ScoreSlider {...given} />
      <ViewSwitch {...given} />
      <Segments names={texts.images.orders} all={ORDERS} chosen={order} label={texts.images.order} onChoose={onOrder} />
    </section>
  );
}

export function CheckpointSlider({ kept, point, follows, onChoose }: CheckpointProps): JSX.Element {
  const id = useId();
  const place = kept.indexOf(point);
  const latest = kept.at(-1);
  return (
    <div class="tool tool-checkpoint">
      <label for={id}>{texts.images.checkpoint}</label>
      <input
        id={id}
        type="range"
        class="slider"
        data-testid="checkpoint-slider"
        min={0}
        max={kept.length - 1}
        step={1}
        value={place}
        disabled={kept.length < 2}
        aria-valuetext={texts.images.stepLong(point.step, place + 1, kept.length)}
        onInput={(event) => {
          const wanted = kept[Number(event.currentTarget.value)];
          if (wanted !== undefined) onChoose(wanted.step);
        }}
      />
      <output class="number" for={id} data-testid="shown-step">
        {whole(point.step)}
      </output>
      <button
        type="button"
        class="button small"
        aria-pressed={follows}
        title={follows ? texts.images.follows : texts.images.toLatest}
        onClick={() => latest !== undefined && onChoose(latest.step)}
      >
        {texts.images.latest}
      </button>
    </div>
  );
}

export function ScoreSlider({ threshold, onThreshold }: ScoreProps): JSX.Element {
  const id = useId();
  return (
    <div class="tool" title={texts.images.thresholdHint}>
      <label for={id}>{texts.images.threshold}</label>
      <input
        id={id}
        type="range"
        class="slider"
        data-testid="score-slider"
        min={LEAST_SCORE}
        max={1}
        step={0.01}
        value={threshold}
        onInput={(event) => onThreshold(Number(event.currentTarget.value))}
      />
      <output class="number" for={id}>
        {texts.images.score(threshold)}
      </output>
    </div>
  );
}

export function ViewSwitch({ view, onView }: ViewProps): JSX.Element {
  return <Segments names={texts.images.views} all={VIEWS} chosen={view} label={texts.images.view} onChoose={onView} />;
}

interface SegmentsProps<T extends string> {
  names: Readonly<Record<T, string>>;
  all: readonly T[];
  chosen: T;
  label: string;
  onChoose: (key: T) => void;
}

function Segments<T extends string>({ names, all, chosen, label, onChoose }: SegmentsProps<T>): JSX.Element {
  return (
    <div class="segments" role="group" aria-label={label}>
      {all.map((key) => (
        <button type="button" key={key} aria-pressed={key === chosen} onClick={() => onChoose(key)}>
          {names[key]}
        </button>
      ))}
    </div>
  );
}
