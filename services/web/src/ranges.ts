/**
 * A long list of which only what is looked at is fetched, range by range.
 *
 * Owns which ranges are here, under way and wanted; a range that is no longer wanted is given up before it has come.
 */
export interface Range<T> {
  items: readonly T[];
  total: number;
}

interface Parts<T> {
  /** Items of one range. */
  size: number;
  atOnce: number;
  fetch: (offset: number, limit: number, signal: AbortSignal) => Promise<Range<T>>;
  /** Something is here that wasn't, or has failed. */
  changed: () => void;
}

export class Ranges<T> {
  /** Null until the first range has come. */
  total: number | null = null;
  problem: unknown = null;
  private readonly here = new Map<number, readonly T[]>();
  private readonly underWay = new Map<number, AbortController>();
  private wanted: readonly number[] = [];

  constructor(private readonly parts: Parts<T>) {}

  get(index: number): T | undefined {
    const { size } = this.parts;
    return this.here.get(Math.floor(index / size))?.[index % size];
  }

  /** Items `from` up to and without `to` are looked at: what is missing of them is fetched, nothing else. */
  want(from: number, to: number): void {
    this.wanted = rangesOf(from, Math.min(to, this.total ?? to), this.parts.size);
    for (const [number, request] of this.underWay) {
      if (this.wanted.includes(number)) continue;
      this.underWay.delete(number);
      request.abort();
    }
    this.next();
  }

  /** Asks for what failed once more. */
  again(): void {
    this.problem = null;
    this.next();
  }

  end(): void {
    this.wanted = [];
    for (const request of this.underWay.values()) request.abort();
    this.underWay.clear();
  }

  private next(): void {
    if (this.problem !== null) return;
    for (const number of this.wanted) {
      if (this.underWay.size >= this.parts.atOnce) return;
      if (!this.here.has(number) && !this.underWay.has(number)) void this.fetch(number);
    }
  }

  private async fetch(number: number): Promise<void> {
    const { size, fetch, changed } = this.parts;
    const request = new AbortController();
    this.underWay.set(number, request);
    try {
      const { items, total } = await fetch(number * size, size, request.signal);
      if (request.signal.aborted) return;
      this.here.set(number, items);
      this.total = total;
    } catch (error) {
      if (request.signal.aborted) return;
      this.problem = error;
    }
    this.underWay.delete(number);
    changed();
    this.next();
  }
}

/** The numbers of the ranges of `size` items that hold items `from` up to and without `to`. */
export function rangesOf(from: number, to: number, size: number): number[] {
  const first = Math.floor(Math.max(0, from) / size);
  const last = Math.ceil(Math.max(0, to) / size);
  return Array.from({ length: Math.max(0, last - first) }, (_, number) => first + number);
}
