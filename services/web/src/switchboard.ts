/**
 * One stream for all tabs: what a SharedWorker does, without the worker.
 *
 * It folds the frames itself, so that a tab that comes later gets a snapshot at once and the server isn't asked again.
 */
import type { Frame } from "./contract";
import { type Connection, isRefusal, type Line, type LineOwner } from "./line";
import { EMPTY, fold, forgotten, type State, toSnapshot } from "./store";
import { clockOffset } from "./time";

/** What a tab says. `begin` comes first; `again` asks for all anew; `bye` is the last. */
export type FromTab = "begin" | "restart" | "nudge" | "again" | "bye";

export type ToTab = { kind: "frame"; frame: Frame } | { kind: "connection"; connection: Connection };

export interface TabPort {
  postMessage: (message: ToTab) => void;
}

export class Switchboard {
  private state: State = EMPTY;
  private connection: Connection | null = null;
  private offset: number | null = null;
  private readonly tabs = new Set<TabPort>();
  private readonly line: Line;

  constructor(
    open: (owner: LineOwner) => Line,
    private readonly now: () => number,
  ) {
    this.line = open({
      onFrame: (frame) => this.take(frame),
      onConnection: (connection) => {
        this.connection = connection;
        if (isRefusal(connection.kind)) this.state = forgotten(this.state);
        for (const tab of this.tabs) tab.postMessage({ kind: "connection", connection });
      },
      position: () => this.state.position,
    });
  }

  hear(tab: TabPort, word: FromTab): void {
    switch (word) {
      case "begin":
        this.begin(tab);
        break;
      case "restart":
        this.line.restart();
        break;
      case "nudge":
        this.line.nudge();
        break;
      case "again":
        this.tell(tab);
        break;
      case "bye":
        this.tabs.delete(tab);
        if (this.tabs.size === 0) {
          this.connection = null;
          this.line.stop();
        }
        break;
      default:
        word satisfies never;
    }
  }

  private begin(tab: TabPort): void {
    this.tabs.add(tab);
    // A tab that was opened after the session had ended may have a new one.
    const kind = this.connection?.kind;
    if (kind === undefined || isRefusal(kind)) this.line.start();
    else this.tell(tab);
  }

  /** The state as the server would send it, and how the line fares. */
  private tell(tab: TabPort): void {
    const frame = toSnapshot(this.state, new Date(this.now() + (this.offset ?? 0)).toISOString());
    if (frame !== null) tab.postMessage({ kind: "frame", frame });
    if (this.connection !== null) tab.postMessage({ kind: "connection", connection: this.connection });
  }

  private take(frame: Frame): boolean {
    const state = fold(this.state, frame);
    if (state === "gap") return false;
    this.state = state;
    this.offset = clockOffset(frame.kind === "snapshot" ? null : this.offset, frame.time, this.now());
    for (const tab of this.tabs) tab.postMessage({ kind: "frame", frame });
    return true;
  }
}

/** A tab's end of the switchboard. */
export class SharedLine implements Line {
  constructor(
    private readonly port: {
      postMessage: (word: FromTab) => void;
      onmessage: ((message: MessageEvent) => void) | null;
    },
    owner: LineOwner,
  ) {
    port.onmessage = ({ data }: MessageEvent<ToTab>) => {
      if (data.kind === "connection") owner.onConnection(data.connection);
      else if (!owner.onFrame(data.frame)) port.postMessage("again");
    };
  }

  start(): void {
    this.port.postMessage("begin");
  }

  restart(): void {
    this.port.postMessage("restart");
  }

  nudge(): void {
    this.port.postMessage("nudge");
  }

  stop(): void {
    this.port.postMessage("bye");
  }
}
