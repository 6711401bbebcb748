/** Lets so many things go on at once; whoever no longer wants a turn leaves, having had it or not. Pure. */
export class Slots {
  private running = 0;
  private readonly queue: (() => void)[] = [];

  constructor(private readonly atOnce: number) {}

  /** Calls `begin` once there is room, perhaps at once; returns what ends it and makes room, however often it is called. */
  enter(begin: () => void): () => void {
    let turn: "waits" | "runs" | "over" = "waits";
    const start = () => {
      turn = "runs";
      this.running += 1;
      begin();
    };
    this.queue.push(start);
    this.next();
    return () => {
      if (turn === "runs") this.running -= 1;
      else if (turn === "waits") this.queue.splice(this.queue.indexOf(start), 1);
      turn = "over";
      this.next();
    };
  }

  private next(): void {
    while (this.running < this.atOnce) {
      const start = this.queue.shift();
      if (start === undefined) return;
      start();
    }
  }
}
