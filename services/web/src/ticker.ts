/** The server's seconds: tells its listeners each time that clock's second changes. */
export interface TickerParts {
  /** The server's time in milliseconds. */
  now: () => number;
  setTimer: (run: () => void, milliseconds: number) => number;
  clearTimer: (timer: number) => void;
}

export class Ticker {
  private timer: number | null = null;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly parts: TickerParts) {}

  now(): number {
    return this.parts.now();
  }

  /** Calls `listener` each second; returns what ends that. Without listeners no timer runs. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    if (this.timer === null) this.wait();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size > 0 || this.timer === null) return;
      this.parts.clearTimer(this.timer);
      this.timer = null;
    };
  }

  private wait(): void {
    // A little after the full second, so that it is never the same one twice.
    this.timer = this.parts.setTimer(
      () => {
        this.wait();
        for (const listener of [...this.listeners]) listener();
      },
      1005 - (((this.parts.now() % 1000) + 1000) % 1000),
    );
  }
}
