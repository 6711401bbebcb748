/** Answers that don't change, each asked for once; of several wishes only the newest is still wanted. Knows no network. */

export class Wishes<T> {
  private readonly known = new Map<string, T>();
  private open: AbortController | null = null;

  /** Keeps the `most` answers that were looked at last. */
  constructor(private readonly most: number) {}

  get(key: string): T | undefined {
    const answer = this.known.get(key);
    if (answer !== undefined) this.keep(key, answer);
    return answer;
  }

  /**
   * The answer that is known, or the one that `ask` brings. An earlier wish that is still open is given up: it ends, as one
   * that `drop` ends, with an AbortError.
   */
  async want(key: string, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.drop();
    const known = this.get(key);
    if (known !== undefined) return known;
    const request = new AbortController();
    this.open = request;
    const answer = await ask(request.signal);
    this.keep(key, answer); // also one that came too late to be wanted: it is as true
    request.signal.throwIfAborted();
    return answer;
  }

  /** Gives up the open wish, if there is one. */
  drop(): void {
    this.open?.abort();
    this.open = null;
  }

  private keep(key: string, answer: T): void {
    this.known.delete(key);
    this.known.set(key, answer);
    for (const oldest of this.known.keys()) {
      if (this.known.size <= this.most) break;
      this.known.delete(oldest);
    }
  }
}
