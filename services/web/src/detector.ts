/** An exported model, ready to find things in pictures. It runs in a worker of this browser: no picture goes anywhere. */
import { ApiError } from "./api";
import type { FoundBox } from "./contract";
import { fromOutputs, type Outputs } from "./detections";
import type { Size } from "./resize";
import { texts } from "./texts";

/** A picture: red, green, blue and opacity of each pixel, row by row. */
export interface Pixels {
  rgba: Uint8ClampedArray<ArrayBuffer>;
  size: Size;
}

/** What the worker is asked; it answers one question after the other. */
export type Asked = { kind: "load"; file: Uint8Array<ArrayBuffer> } | { kind: "detect"; pixels: Pixels };

export type Refusal = "no-model" | "no-detector" | "old-file";

export type Told =
  | { kind: "loaded" }
  | { kind: "detected"; outputs: Outputs; milliseconds: number }
  /** A file that this page can't use. */
  | { kind: "refused"; reason: Refusal }
  | { kind: "failed"; message: string };

export interface Found {
  detections: FoundBox[];
  /** What the model took, with making the picture as large as it wants it. */
  milliseconds: number;
}

export class Detector {
  private before: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly worker: Worker,
    private readonly labels: readonly string[],
  ) {}

  /** Fetches a model's file and starts it. Rejects with an ApiError, or, given up by `signal`, with an AbortError. */
  static async load(url: string, labels: readonly string[], signal: AbortSignal): Promise<Detector> {
    const file = await fetchFile(url, signal);
    signal.throwIfAborted();
    const worker = new Worker(new URL("./detector.worker.ts", import.meta.url), { name: "detector" });
    try {
      const stopped = new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
      await Promise.race([ask(worker, { kind: "load", file }, file.buffer), stopped]);
      return new Detector(worker, labels);
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  /** What is in a picture; its pixels are handed over. Rejects with an ApiError; never settles once ended. */
  detect(pixels: Pixels): Promise<Found> {
    const asked = this.before.then(() => ask(this.worker, { kind: "detect", pixels }, pixels.rgba.buffer));
    this.before = asked.catch(() => undefined);
    return asked.then((told) => {
      if (told.kind !== "detected") throw new Error(told.kind);
      const detections = fromOutputs(told.outputs, this.labels, texts.tryIt.unnamed);
      return { detections, milliseconds: told.milliseconds };
    });
  }

  /** Frees all that it holds. */
  end(): void {
    this.worker.terminate();
  }
}

function ask(worker: Worker, question: Asked, transfer: ArrayBuffer): Promise<Told> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Told>) => {
      if (data.kind === "refused") reject(new ApiError(0, data.reason, texts.tryIt.refused[data.reason]));
      else if (data.kind === "failed") reject(new ApiError(0, "model", texts.tryIt.cantRun(data.message)));
      else resolve(data);
    };
    worker.onerror = (event) => {
      event.preventDefault(); // said to the user: nothing for the console
      reject(new ApiError(0, "model", texts.tryIt.cantRun(event.message)));
    };
    worker.postMessage(question, [transfer]);
  });
}

async function fetchFile(url: string, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  let response: Response;
  try {
    response = await fetch(url, { credentials: "same-origin", signal });
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError(0, "unreachable", texts.errors.unreachable);
  }
  const body = (await response.json().catch(() => null)) as { error?: { message?: string } } | null;
  throw new ApiError(response.status, "http", body?.error?.message ?? texts.errors.status(response.status));
}
