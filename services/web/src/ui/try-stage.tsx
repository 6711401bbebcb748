/** What the model looks at, with the boxes that it found drawn over it, and the same as a table. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Detection, inPixels } from "../detections";
import { texts } from "../texts";

export type Source =
  { kind: "picture"; name: string; url: string; bitmap: ImageBitmap } | { kind: "camera"; stream: MediaStream };

/** As many as the styles have. */
const COLOURS = 4;

interface Props {
  source: Source;
  shown: readonly Detection[];
  video: { current: HTMLVideoElement | null };
  /** The webcam was taken away. */
  onEnded: () => void;
}

export function Stage({ source, shown, video, onEnded }: Props): JSX.Element {
  const [seenRatio, setSeenRatio] = useState(4 / 3);
  const ratio = source.kind === "picture" ? source.bitmap.width / source.bitmap.height : seenRatio;
  useEffect(() => {
    if (source.kind === "picture") return undefined;
    const [track] = source.stream.getVideoTracks();
    track?.addEventListener("ended", onEnded);
    if (video.current !== null) video.current.srcObject = source.stream;
    return () => track?.removeEventListener("ended", onEnded);
  }, [source]);
  return (
    <div class="try-stage" style={{ aspectRatio: String(ratio), "--ratio": String(ratio) }}>
      {source.kind === "picture" ? (
        <img src={source.url} alt={texts.tryIt.picture(source.name)} />
      ) : (
        <video
          ref={video}
          autoPlay
          muted
          playsInline
          aria-label={texts.tryIt.live}
          onResize={({ currentTarget: seen }) => {
            if (seen.videoHeight > 0) setSeenRatio(seen.videoWidth / seen.videoHeight);
          }}
        />
      )}
      <div aria-hidden="true">
        {shown.map((each, place) => (
          <div
            key={place}
            class={`try-box try-box-${each.index % COLOURS} ${each.box.top < 0.08 ? "is-high" : ""}`}
            data-testid="try-box"
            style={{
              left: percent(each.box.left),
              top: percent(each.box.top),
              width: percent(each.box.right - each.box.left),
              height: percent(each.box.bottom - each.box.top),
            }}
          >
            <span>
              {each.label} {texts.tryIt.percent(each.score)}
            </span>
          </div>
        ))}
      </div>
    </div>
  );
}

export function FoundTable({
  shown,
  source,
}: {
  shown: readonly Detection[];
  source: Extract<Source, { kind: "picture" }>;
}): JSX.Element | null {
  if (shown.length === 0) return null;
  const { columns } = texts.tryIt;
  return (
    <table class="plain-table">
      <caption class="sr">{texts.tryIt.caption}</caption>
      <thead>
        <tr>
          <th scope="col">{columns.label}</th>
          <th scope="col" class="num">
            {columns.score}
          </th>
          <th scope="col" class="num">
            {columns.box}
          </th>
        </tr>
      </thead>
      <tbody>
        {shown.map((each, place) => {
          const box = inPixels(each.box, source.bitmap.width, source.bitmap.height);
          return (
            <tr key={place} data-testid="try-row">
              <td>
                <span class={`try-dot try-box-${each.index % COLOURS}`} aria-hidden="true" />
                {each.label}
              </td>
              <td class="num">{each.score.toFixed(3)}</td>
              <td class="num">{`${box.left}, ${box.top}, ${box.right}, ${box.bottom}`}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function percent(fraction: number): string {
  return `${100 * fraction}%`;
}
