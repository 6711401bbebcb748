/**
 * The page's live data: state, connection and the server's clock, with one notification per change.
 *
 * It joins store, line and clock; what to do with them is the components' matter.
 */
import { type Frame, type JobView, type MetricPoint, type DatasetView } from "./contract";
import { type Connection, isRefusal, type Line, type LineOwner } from "./line";
import { EMPTY, fold, forgotten, type State, withDataset, withMetrics, withModel } from "./store";
import { clockOffset } from "./time";

export interface View {
  readonly state: State;
  readonly connection: Connection;
  /** Rises whenever the line is live after it wasn't: what was asked for beside it may have failed with it. */
  readonly arrivals: number;
}

export interface LiveParts {
  open: (owner: LineOwner) => Line;
  now: () => number;
  /** Runs it soon, once for all changes until then: at the next drawn frame. */
  soon: (run: () => void) => void;
}

export class Live {
  view: View = { state: EMPTY, connection: { kind: "connecting" }, arrivals: 0 };
  private offset: number | null = null;
  private asked = false;
  private readonly listeners = new Set<() => void>();
  private readonly line: Line;

  constructor(private readonly parts: LiveParts) {
    this.line = parts.open({
      onFrame: (frame) => this.take(frame),
      onConnection: (connection) => {
        const { connection: before, arrivals, state } = this.view;
        const arrived = connection.kind === "live" && before.kind !== "live";
        this.set({
          connection,
          arrivals: arrived ? arrivals + 1 : arrivals,
          // The next to sign in here may be of another team.
          state: isRefusal(connection.kind) ? forgotten(state) : state,
        });
      },
      position: () => this.view.state.position,
    });
  }

  start(): void {
    this.line.start();
  }

  /** After signing in: everything may be another team's. */
  restart(): void {
    this.line.restart();
  }

  nudge(): void {
    this.line.nudge();
  }

  stop(): void {
    this.line.stop();
  }

  /** The server's time in milliseconds, as well as it is known. */
  serverNow(): number {
    return this.parts.now() + (this.offset ?? 0);
  }

  /** Calls `listener` soon after changes; returns what ends that. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  addModel(model: JobView): void {
    this.set({ state: withModel(this.view.state, model) });
  }

  addDataset(dataset: DatasetView): void {
    this.set({ state: withDataset(this.view.state, dataset) });
  }

  addMetrics(points: readonly MetricPoint[]): void {
    this.set({ state: withMetrics(this.view.state, points) });
  }

  private take(frame: Frame): boolean {
    const state = fold(this.view.state, frame);
    if (state === "gap") return false;
    this.offset = clockOffset(frame.kind === "snapshot" ? null : this.offset, frame.time, this.parts.now());
    this.set({ state });
    return true;
  }

  private set(change: Partial<View>): void {
    this.view = { ...this.view, ...change };
    if (this.asked) return;
    this.asked = true;
    this.parts.soon(() => {
      this.asked = false;
      for (const listener of [...this.listeners]) listener();
    });
  }
}
