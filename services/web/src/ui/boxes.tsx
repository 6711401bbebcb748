/** A picture with boxes drawn over it. Owns how a box looks, not what it means. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Corners } from "../matching";
import { texts } from "../texts";

export interface DrawnBox {
  corners: Corners;
  /** The number of its label's colour. */
  colour: number;
  /** What stands at its corner; null for a bare box. */
  tag: string | null;
  /** Somebody drew it: dashed. */
  truth: boolean;
  /** It has nothing at the other side: crossed, as a colour alone is no sign. */
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
      {boxes.map(
        (box, index) =>
          box.tag !== null && (
            <span
              key={index}
              class={`box-tag box-${box.colour} ${box.corners.ymin < 0.09 ? "is-inside" : ""}`}
              style={{ left: percent(box.corners.xmin), top: percent(box.corners.ymin) }}
              aria-hidden="true"
            >
              {box.error && "✕ "}
              {box.tag}
            </span>
          ),
      )}
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
  const cross = `M${xmin * width} ${ymin * height}L${xmax * width} ${ymax * height}M${xmax * width} ${ymin * height}L${xmin * width} ${ymax * height}`;
  return (
    <g class={`box-shape box-${box.colour} ${box.truth ? "is-truth" : ""}`}>
      <rect class="box-halo" {...place} />
      <rect class="box-line" {...place} />
      {box.error && <path class="box-cross" d={cross} />}
    </g>
  );
}

function percent(fraction: number): string {
  return `${100 * Math.min(1, Math.max(0, fraction))}%`;
}
