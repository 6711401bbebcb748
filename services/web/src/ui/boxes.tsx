/** Boxes over a picture, and the small one beside a label's name. Owns how a box looks, not what it means. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import "../styles/boxes.css";
import type { Look } from "../colours";
import type { Corners } from "../matching";
import { texts } from "../texts";

export interface DrawnBox {
  corners: Corners;
  /** Its label's. */
  look: Look;
  /** What stands at its corner; empty for a bare box. */
  tag: string;
  /** Somebody drew it, where found ones are drawn too: a double line. */
  truth?: boolean;
  /** It isn't as the other side has it: its tag has a cross, as a colour alone is no sign. */
  error?: boolean;
  /** One that is pointed at stands out, the others step back. */
  weight?: "current" | "back" | undefined;
}

interface OverProps {
  /** Width by height of the picture. What is around is as large as the picture; without tags it may be larger. */
  ratio: number;
  boxes: readonly DrawnBox[];
}

/** Boxes alone, over whatever the element around them shows. */
export function Boxes({ ratio, boxes }: OverProps): JSX.Element {
  return (
    <>
      <svg class="boxes" viewBox={`0 0 ${ratio} 1`} aria-hidden="true">
        {boxes.map((box, index) => (
          <Shape key={index} box={box} ratio={ratio} />
        ))}
      </svg>
      {boxes.map((box, index) => (
        <Tag key={index} box={box} />
      ))}
    </>
  );
}

interface Props {
  src: string;
  alt: string;
  /** Pixels of the picture. */
  width: number;
  height: number;
  boxes: readonly DrawnBox[];
}

/** A picture with its boxes. */
export function Boxed({ src, alt, width, height, boxes }: Props): JSX.Element {
  const [failed, setFailed] = useState(false);
  const ratio = width / height;
  return (
    <span class="boxed" style={{ aspectRatio: `${width} / ${height}`, "--ratio": ratio }}>
      <img
        src={src}
        alt={alt}
        width={width}
        height={height}
        loading="lazy"
        decoding="async"
        draggable={false}
        onError={() => setFailed(true)}
      />
      {failed && <span class="boxed-failed">{texts.images.pictureGone}</span>}
      <Boxes ratio={ratio} boxes={boxes} />
    </span>
  );
}

/** A box as the label's are drawn, beside its name. */
export function Swatch({ look }: { look: Look }): JSX.Element {
  return (
    <svg class="box-swatch" viewBox="0 0 14 14" aria-hidden="true">
      <g class={shapeClass(look)}>
        <Lines x={2} y={2} width={10} height={10} />
      </g>
    </svg>
  );
}

/** Above its box (a true one's below), or inside where there is no room; at its right end where there is none beyond that. */
function Tag({ box }: { box: DrawnBox }): JSX.Element | null {
  const { ymin, xmin, ymax, xmax } = box.corners;
  const text = box.error ? `✕ ${box.tag}`.trim() : box.tag;
  if (text === "") return null;
  const inside = box.truth ? ymax > 0.91 : ymin < 0.09;
  const side = xmin > 0.62 ? { right: percent(1 - xmax) } : { left: percent(xmin) };
  return (
    <span
      class={`box-tag box-${box.look.colour} ${box.truth ? "is-truth" : ""} ${inside ? "is-inside" : ""}`}
      style={{ ...side, top: percent(box.truth ? ymax : ymin) }}
      aria-hidden="true"
    >
      {text}
    </span>
  );
}

function Shape({ box, ratio }: { box: DrawnBox; ratio: number }): JSX.Element {
  const { ymin, xmin, ymax, xmax } = box.corners;
  const state = `${box.truth ? "is-truth" : ""} ${box.weight === undefined ? "" : `is-${box.weight}`}`;
  return (
    <g class={`${shapeClass(box.look)} ${state}`} data-testid="box">
      <Lines
        x={xmin * ratio}
        y={ymin}
        width={Math.max(0, xmax - xmin) * ratio}
        height={Math.max(0, ymax - ymin)}
        double={box.truth}
      />
    </g>
  );
}

interface LinesProps {
  x: number;
  y: number;
  width: number;
  height: number;
  double?: boolean | undefined;
}

/** Drawn twice, dark below bright: it can be seen on any picture. */
function Lines({ double = false, ...place }: LinesProps): JSX.Element {
  return (
    <>
      <rect class="box-halo" {...place} />
      <rect class="box-line" {...place} />
      {double && <rect class="box-core" {...place} />}
    </>
  );
}

function shapeClass({ colour, dash }: Look): string {
  return `box-shape box-${colour} dash-${dash}`;
}

function percent(fraction: number): string {
  return `${100 * Math.min(1, Math.max(0, fraction))}%`;
}
