/** A picture with boxes drawn over it. Owns how a box looks, not what it means. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import "../styles/boxes.css";
import type { Corners } from "../matching";
import { texts } from "../texts";

export interface DrawnBox {
  corners: Corners;
  /** The number of its label's colour. */
  colour: number;
  /** What stands at its corner; empty for a bare box. */
  tag: string;
  /** Somebody drew it: dashed. */
  truth: boolean;
  /** It isn't as the other side has it: its tag has a cross, as a colour alone is no sign. */
  error: boolean;
}

interface Props {
  src: string;
  alt: string;
  /** Pixels of the picture. */
  width: number;
  height: number;
  boxes: readonly DrawnBox[];
}

export function Boxes({ src, alt, width, height, boxes }: Props): JSX.Element {
  const [failed, setFailed] = useState(false);
  return (
    <span class="boxed" style={{ aspectRatio: `${width} / ${height}`, "--ratio": width / height }}>
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
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
        {boxes.map((box, index) => (
          <Shape key={index} box={box} width={width} height={height} />
        ))}
      </svg>
      {boxes.map((box, index) => (
        <Tag key={index} box={box} />
      ))}
    </span>
  );
}

/** Above its box, or inside where there is no room above; at its right end where there is no room beyond that. */
function Tag({ box }: { box: DrawnBox }): JSX.Element | null {
  const { ymin, xmin, xmax } = box.corners;
  const text = box.error ? `✕ ${box.tag}`.trim() : box.tag;
  if (text === "") return null;
  const side = xmin > 0.62 ? { right: percent(1 - xmax) } : { left: percent(xmin) };
  return (
    <span
      class={`box-tag box-${box.colour} ${ymin < 0.09 ? "is-inside" : ""}`}
      style={{ ...side, top: percent(ymin) }}
      aria-hidden="true"
    >
      {text}
    </span>
  );
}

/** Drawn twice, dark below bright: it can be seen on any picture. */
function Shape({ box, width, height }: { box: DrawnBox; width: number; height: number }): JSX.Element {
  const { ymin, xmin, ymax, xmax } = box.corners;
  const place = {
    x: xmin * width,
    y: ymin * height,
    width: Math.max(0, xmax - xmin) * width,
    height: Math.max(0, ymax - ymin) * height,
  };
  return (
    <g class={`box-shape box-${box.colour} ${box.truth ? "is-truth" : ""}`}>
      <rect class="box-halo" {...place} />
      <rect class="box-line" {...place} />
    </g>
  );
}

function percent(fraction: number): string {
  return `${100 * Math.min(1, Math.max(0, fraction))}%`;
}
