/** An answer that is kept as new as the thing it is about: asked for again whenever that has moved. Knows no network. */

export interface FollowingParts<T> {
  ask: (signal: AbortSignal) => Promise<T>;
  told: (answer: T) => void;
  failed: (error: unknown) => void;
  /** Milliseconds from a request's beginning to the next one's at the earliest. */
  restMs?: number;
  /** Asks again so many milliseconds after each answer and each failure, also where nothing tells that the thing has moved. */
  everyMs?: number | undefined;
}

/** One request at a time: what moves faster than answers come, is asked for again after each, and so there are answers. */
export class Following<T> {
  private wanted: string | null = null;
  private asked: string | null = null;
  private request: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private earliest = 0;

  constructor(private readonly parts: FollowingParts<T>) {}

  /** The thing is at `version` now. */
  at(version: string): void {
    this.wanted = version;
    this.next();
  }

  /** Nobody looks: nothing is asked for until the next `at`. What is under way is still told. */
  rest(): void {
    this.wanted = null;
    // What nothing tells of may have moved meanwhile.
    if (this.parts.everyMs !== undefined) this.asked = null;
    clearTimeout(this.timer);
  }

  /** Gives up the request that is under way, if there is one. */
  stop(): void {
    this.request?.abort();
    this.request = null;
    this.wanted = this.asked = null;
    this.earliest = 0;
    clearTimeout(this.timer);
  }

  private next(): void {
    if (this.request !== null || this.wanted === null || this.wanted === this.asked) return;
    const pause = this.earliest - Date.now();
    if (pause > 0) this.later(pause, () => this.next());
    else void this.go();
  }

  private later(pause: number, run: () => void): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(run, pause);
  }

  private async go(): Promise<void> {
    clearTimeout(this.timer);
    const request = (this.request = new AbortController());
    this.asked = this.wanted;
    this.earliest = Date.now() + (this.parts.restMs ?? 0);
    try {
      const answer = await this.parts.ask(request.signal);
      if (!request.signal.aborted) this.parts.told(answer);
    } catch (error) {
      if (!request.signal.aborted) this.parts.failed(error);
    }
    if (this.request !== request) return; // stopped
    this.request = null;
    const { everyMs } = this.parts;
    if (everyMs !== undefined && this.wanted !== null && this.wanted === this.asked) {
      this.later(everyMs, () => {
        this.asked = null;
        this.next();
      });
    } else this.next();
  }
}
