/**
 * An upload under way: it outlives the page that began it, and a broken connection.
 *
 * Owns the order: send the file piece by piece (tus, fetched when it is first needed), have it imported, tidy up. Also what an
 * earlier visit left half sent. What is shown of it is ui/upload.tsx's.
 */
import type { DetailedError, PreviousUpload, Upload } from "tus-js-client";
import { type Api, ApiError, asApiError, errorOf, newKey, parsed, UPLOADS } from "./api";
import type { Imported } from "./contract";
import { texts } from "./texts";

export interface Wish {
  file: File;
  name: string;
  evalPercent: number;
}

export type Sending =
  | { kind: "idle" }
  /** `waiting`: the connection is broken, and it goes on by itself. */
  | { kind: "sending"; name: string; size: number; sent: number; waiting: boolean }
  /** `waiting`: the server doesn't answer just now, and is asked again. */
  | { kind: "reading"; name: string; waiting: boolean }
  /** It could go on from `sent`: with the file at hand, or without it where all has been sent. */
  | { kind: "broken"; name: string; size: number; sent: number; error: ApiError }
  /** The server refuses the wish as it is. */
  | { kind: "refused"; wish: Wish; error: ApiError }
  | { kind: "done"; imported: Imported };

/** What an earlier visit sent of a file, and that hasn't been imported. */
export interface Leftover {
  key: string;
  url: string;
  name: string;
  evalPercent: number;
  size: number;
  sent: number;
  /** Milliseconds; when the server forgets it. */
  expires: number;
}

interface Parts {
  api: Api;
  onImported: (imported: Imported) => void;
  wait: (milliseconds: number) => Promise<void>;
  /** Milliseconds since whenever. */
  now: () => number;
}

const MARK = "tus::"; // how the library's entries in the browser's storage begin
// About three minutes without a byte. Each piece that arrives begins them anew.
const PAUSES_MS = [300, 700, 1_500, 3_000, 5_000, ...Array.from({ length: 22 }, () => 8_000)];
const OLD_MS = 7 * 86_400_000;
const ASK_AGAIN_MS = 3_000;
/** So long an import is asked for without a word from the server, and so long altogether. */
const LONGEST_SILENCE_MS = 5 * 60_000;
const LONGEST_IMPORT_MS = 30 * 60_000;
/** Refusals of an import that a changed form can mend; after any other the bytes are of no use. */
const MENDABLE = new Set(["name", "eval_percent", "seed"]);
const KEPT = new Set(["too_many_datasets", "import_interrupted", "import_in_progress", "upload_busy"]);

export class Uploader {
  state: Sending = { kind: "idle" };
  private run: Run | null = null;
  private go: (() => Promise<void>) | null = null;
  private stop: (() => Promise<void>) | null = null;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly parts: Parts) {}

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Sends and imports a file; what was sent of the same file before isn't sent again. */
  async send(wish: Wish): Promise<void> {
    if (this.busy()) return;
    const run = new Run();
    const { name, file } = wish;
    const show = (sent: number, waiting: boolean) => {
      if (run.going) this.set({ kind: "sending", name, size: file.size, sent, waiting });
    };
    show(0, false);
    const attempt = async () => {
      let upload: Upload;
      try {
        upload = await this.upload(wish, run, show);
      } catch (problem) {
        if (!run.going) return;
        const error = asApiError(problem);
        if (error.status >= 400 && error.status < 500) this.set({ kind: "refused", wish, error });
        else this.set({ kind: "broken", name, size: file.size, sent: run.sent, error });
        return;
      }
      await this.import(run, { url: upload.url ?? "", ...wish, size: file.size }, (error) =>
        this.set({ kind: "refused", wish, error }),
      );
    };
    this.begin(run, attempt);
    await attempt();
  }

  /** Imports what an earlier visit has sent to the end. */
  async finish(left: Leftover): Promise<void> {
    if (this.busy()) return;
    const run = new Run();
    const attempt = () =>
      this.import(run, left, (error) =>
        this.set({ kind: "broken", name: left.name, size: left.size, sent: left.sent, error }),
      );
    this.begin(run, attempt, () => this.discard(left));
    await attempt();
  }

  /** Goes on with one that broke. */
  async again(): Promise<void> {
    if (this.state.kind !== "broken") return;
    const { name, size, sent } = this.state;
    this.set({ kind: "sending", name, size, sent, waiting: false });
    await this.go?.();
  }

  /** Gives up what is under way, there too. */
  async cancel(): Promise<void> {
    const stop = this.stop;
    this.close();
    await stop?.();
  }

  /** Forgets an outcome that has been read. */
  close(): void {
    this.go = this.stop = null;
    this.set({ kind: "idle" });
  }

  /** Whoever began this has signed out: stops sending and forgets it here. What has arrived is kept, and goes on for them. */
  reset(): void {
    this.run?.end();
    void this.run?.upload?.abort();
    this.run = null;
    this.close();
  }

  /** What earlier visits left, as far as the server still has it. */
  async leftovers(): Promise<Leftover[]> {
    if (!Object.keys(localStorage).some((key) => key.startsWith(MARK))) return [];
    const { defaultOptions } = await import("tus-js-client");
    const found = await Promise.all((await defaultOptions.urlStorage.findAllUploads()).map((one) => this.look(one)));
    return found.filter((one) => one !== null).sort((a, b) => b.expires - a.expires);
  }

  /** Removes it, here and there. */
  async discard(left: Leftover): Promise<void> {
    await this.parts.api.removeUpload(left.url);
    await this.forget(left.url);
  }

  private busy(): boolean {
    return this.state.kind === "sending" || this.state.kind === "reading";
  }

  private begin(run: Run, go: () => Promise<void>, remove: () => Promise<void> = () => Promise.resolve()): void {
    this.run = run;
    this.go = go;
    this.stop = async () => {
      run.end();
      if (run.upload === null) await remove();
      else await run.upload.abort(true).catch(() => undefined); // it expires there by itself
    };
  }

  private async upload(wish: Wish, run: Run, show: (sent: number, waiting: boolean) => void): Promise<Upload> {
    const tus = await import("tus-js-client");
    return new Promise((resolve, reject) => {
      const upload = new tus.Upload(wish.file, {
        endpoint: UPLOADS,
        headers: { "Idempotency-Key": newKey() },
        metadata: { filename: wish.file.name, name: wish.name, eval_percent: String(wish.evalPercent) },
        retryDelays: PAUSES_MS,
        onProgress: (sent) => {
          run.sent = sent;
          show(sent, false);
        },
        onShouldRetry: (error) => {
          const status = error.originalResponse?.getStatus() ?? 0;
          // 409 is an offset that the server doesn't have, as after a break; of a new upload it is a refusal.
          const behind = status === 409 && error.originalRequest.getMethod() !== "POST";
          const passes = status === 0 || behind || status === 423 || status >= 500;
          if (passes) show(run.sent, true);
          return passes;
        },
        onError: (error) => reject(run.going ? failure(error) : new DOMException("aborted", "AbortError")),
        onSuccess: () => resolve(upload),
      });
      run.upload = upload;
      void upload.findPreviousUploads().then(([before]) => {
        if (!run.going) return;
        if (before !== undefined) upload.resumeFromPreviousUpload(before);
        upload.start();
      });
    });
  }

  private async import(
    run: Run,
    sent: { url: string; name: string; evalPercent: number; size: number },
    refused: (error: ApiError) => void,
  ): Promise<void> {
    if (!run.going) return;
    this.set({ kind: "reading", name: sent.name, waiting: false });
    const id = new URL(sent.url, location.href).pathname.split("/").at(-1) ?? "";
    const began = this.parts.now();
    let heard = began;
    for (;;) {
      try {
        const imported = await this.parts.api.importUpload(id, sent.name, sent.evalPercent, run.signal);
        await this.forget(sent.url);
        this.parts.onImported(imported);
        if (run.going) this.set({ kind: "done", imported });
        return;
      } catch (problem) {
        if (!run.going) return;
        const error = asApiError(problem);
        const now = this.parts.now();
        const working = error.code === "import_in_progress";
        if (working) heard = now;
        const inTime = now - heard < LONGEST_SILENCE_MS && now - began < LONGEST_IMPORT_MS;
        // The same request again is harmless: it finds the dataset that the first one made.
        if ((working || error.status === 0 || error.status === 503) && inTime) {
          this.set({ kind: "reading", name: sent.name, waiting: !working });
          await this.parts.wait(ASK_AGAIN_MS);
          if (run.going) continue;
          return;
        }
        if (error.status === 0 || error.status >= 500 || KEPT.has(error.code)) {
          this.set({ kind: "broken", name: sent.name, size: sent.size, sent: sent.size, error });
          return;
        }
        if (error.field === null || !MENDABLE.has(error.field)) {
          await this.parts.api.removeUpload(sent.url).catch(() => undefined);
          await this.forget(sent.url);
        }
        refused(error);
        return;
      }
    }
  }

  private async look(one: PreviousUpload): Promise<Leftover | null> {
    const url = one.uploadUrl;
    if (url === null || !new URL(url, location.href).href.startsWith(`${location.origin}${UPLOADS}/`)) return null;
    const there = await this.parts.api.lookAtUpload(url);
    // It may be another team's, which signs in on this computer again: only what has surely expired is forgotten.
    if (there === "gone" && Date.parse(one.creationTime) < Date.now() - OLD_MS) await this.forget(url);
    if (there === "gone" || there === "unknown") return null;
    const { name, filename, eval_percent: percent } = one.metadata;
    return { key: one.urlStorageKey, url, name: name ?? filename ?? "", evalPercent: Number(percent), ...there };
  }

  private async forget(url: string): Promise<void> {
    const { defaultOptions } = await import("tus-js-client");
    const storage = defaultOptions.urlStorage;
    const mine = (await storage.findAllUploads()).filter((one) => one.uploadUrl === url);
    await Promise.all(mine.map((one) => storage.removeUpload(one.urlStorageKey)));
  }

  private set(state: Sending): void {
    this.state = state;
    for (const listener of [...this.listeners]) listener();
  }
}

class Run {
  sent = 0;
  upload: Upload | null = null;
  private readonly ended = new AbortController();

  get going(): boolean {
    return !this.ended.signal.aborted;
  }

  get signal(): AbortSignal {
    return this.ended.signal;
  }

  end(): void {
    this.ended.abort();
  }
}

/** The library's error in the server's own words, where it has said any. */
function failure(error: Error | DetailedError): ApiError {
  const answer = "originalResponse" in error ? error.originalResponse : null;
  if (answer === null) return new ApiError(0, "unreachable", texts.sending.broken);
  return errorOf(answer.getStatus(), parsed(answer.getBody()));
}
