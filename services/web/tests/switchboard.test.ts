import { beforeEach, describe, expect, test } from "vitest";
import type { Frame } from "../src/contract";
import type { Connection, Line, LineOwner } from "../src/line";
import { EMPTY, fold, type State } from "../src/store";
import { type FromTab, SharedLine, Switchboard, type ToTab } from "../src/switchboard";
import { AT, job, progress, snapshot } from "./samples";

/** A line that the test speaks on. */
class FakeLine implements Line {
  words: string[] = [];
  constructor(readonly owner: LineOwner) {}
  start(): void {
    this.words.push("start");
  }
  restart(): void {
    this.words.push("restart");
  }
  nudge(): void {
    this.words.push("nudge");
  }
  stop(): void {
    this.words.push("stop");
  }
}

/** A tab with its end of the switchboard: what it knows is what it folded. */
class Tab {
  state: State = EMPTY;
  connection: Connection | undefined;
  frames = 0;
  readonly line: SharedLine;
  private readonly port = {
    onmessage: null as ((message: MessageEvent) => void) | null,
    postMessage: (_: FromTab) => {},
  };

  constructor(board: Switchboard) {
    const mine = { postMessage: (message: ToTab) => this.port.onmessage?.({ data: message } as MessageEvent) };
    this.port.postMessage = (word) => board.hear(mine, word);
    this.line = new SharedLine(this.port, {
      onFrame: (frame) => {
        const next = fold(this.state, frame);
        if (next === "gap") return false;
        this.frames += 1;
        this.state = next;
        return true;
      },
      onConnection: (connection) => {
        this.connection = connection;
      },
      position: () => this.state.position,
    });
    this.line.start();
  }
}

const running = job({ state: "RUNNING", attempt: 1 });
const event = (seq: number): Frame => ({
  kind: "events",
  epoch: "e1",
  time: AT,
  events: [{ kind: "model.put", seq, model: job({ ...running, version: seq + 1 }) }],
  progress: [progress({ step: seq })],
  room_moved_at: null,
  announcements: null,
});

let line: FakeLine;
let board: Switchboard;
beforeEach(() => {
  board = new Switchboard(
    (owner) => (line = new FakeLine(owner)),
    () => Date.parse(AT),
  );
});

/** What a fresh snapshot tells, apart from how often one was taken. */
const shown = ({ snapshots: _, ...rest }: State) => rest;

describe("tabs on one stream", () => {
  test("the first opens the line, the next get what is known without asking the server", () => {
    const first = new Tab(board);
    expect(line.words).toEqual(["start"]);
    line.owner.onFrame(snapshot({ models: [running] }));
    line.owner.onConnection({ kind: "live" });
    line.owner.onFrame(event(1));
    const second = new Tab(board);
    expect(line.words).toEqual(["start"]);
    expect(shown(second.state)).toEqual(shown(first.state));
    expect(second.connection).toEqual({ kind: "live" });
    line.owner.onFrame(event(2));
    expect(second.state.position).toEqual({ epoch: "e1", seq: 2 });
    expect(shown(second.state)).toEqual(shown(first.state));
  });

  test("a tab that missed a frame gets all anew from the switchboard", () => {
    const tab = new Tab(board);
    line.owner.onFrame(snapshot({ models: [running] }));
    line.owner.onFrame(event(1));
    tab.state = { ...tab.state, position: { epoch: "e1", seq: 0 } };
    line.owner.onFrame(event(2));
    expect(tab.state.position).toEqual({ epoch: "e1", seq: 2 });
    expect(line.words).toEqual(["start"]);
  });

  test("a gap in the stream is told to the line, and to no tab", () => {
    const tab = new Tab(board);
    line.owner.onFrame(snapshot());
    expect(line.owner.onFrame(event(5))).toBe(false);
    expect(tab.frames).toBe(1);
    expect(line.owner.position()).toEqual({ epoch: "e1", seq: 0 });
  });

  test("how the line fares is told to all", () => {
    const tabs = [new Tab(board), new Tab(board)];
    line.owner.onConnection({ kind: "offline", since: 5, retryAt: 10 });
    expect(tabs.map((tab) => tab.connection)).toEqual(Array(2).fill({ kind: "offline", since: 5, retryAt: 10 }));
  });

  test("after signing in everything begins anew; a tab opened meanwhile tries by itself", () => {
    const tab = new Tab(board);
    line.owner.onConnection({ kind: "unauthorized" });
    tab.line.restart();
    line.owner.onConnection({ kind: "unauthorized" });
    new Tab(board);
    expect(line.words).toEqual(["start", "restart", "start"]);
  });

  test("what was known is forgotten with the session: a tab of the next one gets nothing of it", () => {
    const tab = new Tab(board);
    line.owner.onFrame(snapshot({ seq: 7, models: [running] }));
    line.owner.onConnection({ kind: "unauthorized" });
    expect(line.owner.position()).toBeNull(); // it can't be resumed either
    tab.line.restart();
    line.owner.onConnection({ kind: "connecting" });
    expect(new Tab(board).frames).toBe(0);
  });

  test("the last tab that goes ends the line; the next resumes", () => {
    const tabs = [new Tab(board), new Tab(board)];
    line.owner.onFrame(snapshot({ seq: 7 }));
    tabs[0]?.line.stop();
    expect(line.words).toEqual(["start", "start"]);
    line.owner.onFrame(event(8));
    expect(tabs[0]?.frames).toBe(1);
    tabs[1]?.line.nudge();
    tabs[1]?.line.stop();
    expect(line.words).toEqual(["start", "start", "nudge", "stop"]);
    expect(line.owner.position()).toEqual({ epoch: "e1", seq: 8 });
    new Tab(board);
    expect(line.words.at(-1)).toBe("start");
  });
});
