/** An answer that is kept as new as the thing it is about: asked for again whenever that has moved. Knows no network. */

export interface FollowingParts<T> {
  ask: (signal: AbortSignal) => Promise<T>;
  told: (answer: T) => void;
  failed: (error: unknown) => void;
}

/** One request at a time: what moves faster than answers come, is asked for again after each, and so there are answers. */
export class Following<T> {
  private wanted: string | null = null;
  private asked: string | null = null;
  private request: AbortController | null = null;

  constructor(private readonly parts: FollowingParts<T>) {}

  /** The thing is at `version` now. */
  at(version: string): void {
    this.wanted = version;
    if (this.request === null && this.asked !== version) void this.go();
  }

  /** Gives up the request that is under way, if there is one. */
  stop(): void {
    this.request?.abort();
    this.request = null;
    this.wanted = this.asked = null;
  }

  private async go(): Promise<void> {
    const request = (this.request = new AbortController());
    this.asked = this.wanted;
    try {
      const answer = await this.parts.ask(request.signal);
      if (!request.signal.aborted) this.parts.told(answer);
    } catch (error) {
      if (!request.signal.aborted) this.parts.failed(error);
    }
    if (this.request !== request) return; // stopped
    this.request = null;
    if (this.wanted !== null && this.wanted !== this.asked) void this.go();
  }
}
