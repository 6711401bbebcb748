/** Labelled boxes over a picture, in its own pixels; where the picture lies in its place, so do they. */
import type { JSX } from "preact";
import type { DatasetPicture } from "../contract";
import { look } from "../mosaic";

interface Props {
  picture: DatasetPicture;
  labels: readonly string[];
  /** The one that is pointed at: the others step back. */
  current?: number | null;
  /** With their names, which takes room. */
  named?: boolean;
}

export function Boxes({ picture, labels, current = null, named = false }: Props): JSX.Element {
  const { width, height, boxes } = picture;
  const letter = Math.max(width, height) / 42;
  return (
    <svg class="dataset-boxes" viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      {boxes.map((box, index) => {
        const { colour, dash } = look(box.label, labels);
        const x = box.xmin * width;
        const y = box.ymin * height;
        const sides = { x, y, width: (box.xmax - box.xmin) * width, height: (box.ymax - box.ymin) * height };
        const state = current === null ? "" : current === index ? "is-current" : "is-back";
        return (
          <g key={index} class={`box label-${colour} dash-${dash} ${state}`} data-testid="box">
            <rect class="dataset-box-casing" {...sides} />
            <rect class="dataset-box-line" {...sides} />
            {named && (current === null || current === index) && (
              <text
                x={Math.min(x + letter / 4, width * 0.8)}
                y={Math.max(letter * 1.1, y - letter / 3)}
                font-size={letter}
              >
                {box.label}
              </text>
            )}
          </g>
        );
      })}
    </svg>
  );
}
