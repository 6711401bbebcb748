/** Try it: the model looks at a picture or through the webcam, in this browser, and its boxes are drawn. */
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import "../styles/try.css";
import { downloadRefusal } from "../actions";
import { asApiError } from "../api";
import { looksOf } from "../colours";
import type { ExportedFile, FoundBox, JobView } from "../contract";
import { above } from "../detections";
import { Detector, type Found } from "../detector";
import { openCamera, pixelsOf, readPicture } from "../looking";
import { texts } from "../texts";
import { Icon } from "./bits";
import { usePage } from "./context";
import { FileChoice, useDrop } from "./file-drop";
import { Segments } from "./segments";
import { FoundTable, Stage, type Source } from "./try-stage";

const CUSTOMARY_THRESHOLD = 0.5;

export function TryIt({ job }: { job: JobView }): JSX.Element {
  const files = (job.export?.files ?? []).filter((file) => file.format !== "labels");
  const [first] = files;
  if (first === undefined) {
    return (
      <section class="card empty">
        <p>{downloadRefusal(job) ?? texts.models.downloadNothing}</p>
      </section>
    );
  }
  return <Trial job={job} files={files} smallest={files.find((file) => file.format === "float16") ?? first} />;
}

interface TrialProps {
  job: JobView;
  files: readonly ExportedFile[];
  /** The one to begin with: the quickest to fetch that says the same as the full one. */
  smallest: ExportedFile;
}

function Trial({ job, files, smallest }: TrialProps): JSX.Element {
  const [format, setFormat] = useState(smallest.format);
  const [least, setLeast] = useState(CUSTOMARY_THRESHOLD);
  const [source, setSource] = useSource();
  const [refused, setRefused] = useState<string | null>(null);
  const file = files.find((each) => each.format === format) ?? smallest;
  const { detector, problem, again } = useDetector(job, file, source !== null);
  const { found, failed, video } = useLooking(detector, source);
  const wish = useRef(0);

  // The newest wish counts: a picture that took longer to read doesn't push a later one out.
  const show = async (open: () => Promise<Source>) => {
    const mine = ++wish.current;
    setRefused(null);
    if (problem !== null) again();
    try {
      const opened = await open();
      if (mine === wish.current) setSource(opened);
      else closeSource(opened);
    } catch (error) {
      if (mine === wish.current) setRefused(asApiError(error).message);
    }
  };
  const take = (picture: File | undefined, name?: string) => {
    if (picture !== undefined) void show(() => openPicture(picture, name ?? picture.name));
  };
  usePaste((picture) => take(picture, texts.tryIt.pasted));
  useEffect(() => () => void ++wish.current, []);

  const looks = useMemo(() => looksOf(job.labels), [job.labels]);
  const shown = found === null ? [] : above(found.detections, least);
  const broken = problem ?? failed;
  return (
    <div class="try" data-testid="try-it">
      <Choose
        problem={refused ?? broken}
        live={source?.kind === "camera"}
        onPicture={take}
        onCamera={() => void show(openLive)}
        onStop={() => setSource(null)}
      />
      {source !== null && (
        <div class="columns">
          <section class="card try-card">
            <Stage source={source} shown={shown} looks={looks} video={video} onEnded={() => setSource(null)} />
          </section>
          <section class="card try-found">
            <Tools file={file} files={files} onFormat={setFormat} least={least} onLeast={setLeast} />
            <p role={source.kind === "picture" ? "status" : undefined} data-testid="try-summary">
              {broken === null && sentence(detector, found, shown, file)}
            </p>
            {source.kind === "picture" && <FoundTable shown={shown} looks={looks} source={source} />}
          </section>
        </div>
      )}
    </div>
  );
}

function sentence(
  detector: Detector | null,
  found: Found | null,
  shown: readonly FoundBox[],
  file: ExportedFile,
): string {
  if (detector === null) return texts.tryIt.preparing(file.bytes);
  if (found === null) return texts.tryIt.looking;
  return `${texts.tryIt.shown(shown.length, found.detections.length)} ${texts.tryIt.took(found.milliseconds)}`;
}

interface ChooseProps {
  problem: string | null;
  live: boolean;
  onPicture: (file: File | undefined) => void;
  onCamera: () => void;
  onStop: () => void;
}

function Choose({ problem, live, onPicture, onCamera, onStop }: ChooseProps): JSX.Element {
  const over = useDrop(([picture]) => onPicture(picture));
  return (
    <section class={`card upload ${over ? "is-over" : ""}`} aria-label={texts.tryIt.title}>
      <FileChoice
        words={texts.tryIt}
        accept="image/*"
        problem={problem}
        hint={texts.tryIt.intro}
        testId="try"
        onFile={onPicture}
      >
        <button type="button" class="button" data-testid="try-camera" onClick={live ? onStop : onCamera}>
          <Icon name={live ? "square" : "play"} />
          {live ? texts.tryIt.stop : texts.tryIt.webcam}
        </button>
      </FileChoice>
    </section>
  );
}

interface ToolsProps {
  file: ExportedFile;
  files: readonly ExportedFile[];
  onFormat: (format: string) => void;
  least: number;
  onLeast: (least: number) => void;
}

function Tools({ file, files, onFormat, least, onLeast }: ToolsProps): JSX.Element {
  return (
    <div class="try-tools">
      <label class="slider-line">
        {texts.tryIt.threshold}
        <input
          type="range"
          class="slider"
          min="0"
          max="1"
          step="0.01"
          value={least}
          data-testid="try-threshold"
          aria-valuetext={texts.tryIt.percent(least)}
          onInput={(event) => onLeast(Number(event.currentTarget.value))}
        />
        <span class="number">{texts.tryIt.percent(least)}</span>
      </label>
      {files.length > 1 && (
        <Segments
          label={texts.tryIt.file}
          all={files.map((each) => each.format)}
          names={Object.fromEntries(files.map((each) => [each.format, each.format]))}
          chosen={file.format}
          onChoose={onFormat}
        />
      )}
    </div>
  );
}

async function openPicture(file: File, name: string): Promise<Source> {
  const bitmap = await readPicture(file, name);
  return { kind: "picture", name, url: URL.createObjectURL(file), bitmap };
}

async function openLive(): Promise<Source> {
  return { kind: "camera", stream: await openCamera(navigator.mediaDevices as MediaDevices | undefined) };
}

function closeSource(source: Source): void {
  if (source.kind === "camera") for (const track of source.stream.getTracks()) track.stop();
  else {
    URL.revokeObjectURL(source.url);
    source.bitmap.close();
  }
}

/** What is looked at; what it was before is closed, and so is the last one when the page is left. */
function useSource(): [Source | null, (next: Source | null) => void] {
  const [source, setSource] = useState<Source | null>(null);
  useEffect(() => () => source !== null && closeSource(source), [source]);
  return [source, setSource];
}

interface Loaded {
  detector: Detector | null;
  problem: string | null;
}

const NOTHING: Loaded = { detector: null, problem: null };

/** The model, fetched when it is first `wanted` and anew for another file; it is let go of when the page is left. */
function useDetector(job: JobView, file: ExportedFile, wanted: boolean): Loaded & { again: () => void } {
  const { api } = usePage();
  const [state, setState] = useState<Loaded>(NOTHING);
  const [tries, setTries] = useState(0);
  const url = api.downloadUrl(job.id, file.format);
  const needed = useRef(false);
  needed.current ||= wanted;
  useEffect(() => {
    if (!needed.current) return undefined;
    const request = new AbortController();
    let loaded: Detector | null = null;
    setState(NOTHING);
    Detector.load(url, job.labels, request.signal).then(
      (detector) => {
        loaded = detector;
        if (request.signal.aborted) detector.end();
        else setState({ detector, problem: null });
      },
      (error: unknown) => {
        if (!request.signal.aborted) setState({ detector: null, problem: asApiError(error).message });
      },
    );
    return () => {
      request.abort();
      loaded?.end();
    };
  }, [url, needed.current, file.sha256, tries]);
  return { ...state, again: () => setTries(tries + 1) };
}

interface Looking {
  found: Found | null;
  failed: string | null;
  video: { current: HTMLVideoElement | null };
}

/** A picture is looked at once, the webcam again and again, as fast as the model is. */
function useLooking(detector: Detector | null, source: Source | null): Looking {
  const [found, setFound] = useState<Found | null>(null);
  const [failed, setFailed] = useState<string | null>(null);
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    setFound(null);
    setFailed(null);
    if (detector === null || source === null) return undefined;
    let over = false;
    const canvas = document.createElement("canvas");
    const look = async () => {
      if (source.kind === "picture") {
        const { bitmap } = source;
        const answer = await detector.detect(pixelsOf(bitmap, bitmap.width, bitmap.height, canvas));
        if (!over) setFound(answer);
        return;
      }
      while (!over) {
        await new Promise(requestAnimationFrame);
        const seen = video.current;
        if (over || seen === null || seen.videoWidth === 0) continue;
        const answer = await detector.detect(pixelsOf(seen, seen.videoWidth, seen.videoHeight, canvas));
        if (!over) setFound(answer);
      }
    };
    look().catch((error: unknown) => {
      if (!over) setFailed(asApiError(error).message);
    });
    return () => {
      over = true;
    };
  }, [detector, source]);
  return { found, failed, video };
}

/** A picture from the clipboard, pasted anywhere on the page but into a field. */
function usePaste(onPicture: (file: File) => void): void {
  const newest = useRef(onPicture);
  newest.current = onPicture;
  useEffect(() => {
    const pasted = (event: ClipboardEvent) => {
      const [file] = event.clipboardData?.files ?? [];
      if (file === undefined) return;
      event.preventDefault();
      newest.current(file);
    };
    document.addEventListener("paste", pasted);
    return () => document.removeEventListener("paste", pasted);
  }, []);
}
