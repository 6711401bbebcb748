/** What the model looks at, with the boxes that it found drawn over it, and the same as a table. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { lookOf, type Looks } from "../colours";
import type { FoundBox } from "../contract";
import { inPixels } from "../detections";
import { texts } from "../texts";
import { Boxes, type DrawnBox, Swatch } from "./boxes";

export type Source =
  { kind: "picture"; name: string; url: string; bitmap: ImageBitmap } | { kind: "camera"; stream: MediaStream };

interface Props {
  source: Source;
  shown: readonly FoundBox[];
  looks: Looks;
  video: { current: HTMLVideoElement | null };
  /** The webcam was taken away. */
  onEnded: () => void;
}

export function Stage({ source, shown, looks, video, onEnded }: Props): JSX.Element {
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
      <Boxes ratio={ratio} boxes={shown.map((each) => drawn(each, looks))} />
    </div>
  );
}

export function FoundTable({
  shown,
  looks,
  source,
}: {
  shown: readonly FoundBox[];
  looks: Looks;
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
          const box = inPixels(each, source.bitmap.width, source.bitmap.height);
          return (
            <tr key={place} data-testid="try-row">
              <td>
                <Swatch look={lookOf(looks, each.label)} />
                {each.label}
              </td>
              <td class="num">{each.score.toFixed(3)}</td>
              <td class="num">{`${box.xmin}, ${box.ymin}, ${box.xmax}, ${box.ymax}`}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function drawn(found: FoundBox, looks: Looks): DrawnBox {
  const tag = `${found.label} ${texts.tryIt.percent(found.score)}`;
  return { corners: found, look: lookOf(looks, found.label), tag };
}
