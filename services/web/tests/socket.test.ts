import { beforeEach, describe, expect, test, vi } from "vitest";
import type { Frame } from "../src/contract";
import type { Connection } from "../src/line";
import { LiveSocket } from "../src/socket";
import { EMPTY, fold, type State } from "../src/store";
import { AT, job, snapshot } from "./samples";

class FakeSocket {
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((close: { code: number; reason: string }) => void) | null = null;
  closed = false;

  constructor(readonly url: string) {}

  close(): void {
    this.closed = true;
  }

  open(): void {
    this.onopen?.();
  }

  say(frame: unknown): void {
    this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  end(code: number, reason = ""): void {
    this.onclose?.({ code, reason });
  }
}

/** A clock that only moves when told, with the timers that were set on it. */
class World {
  now = 0;
  sockets: FakeSocket[] = [];
  connections: Connection[] = [];
  state: State = EMPTY;
  private timers = new Map<number, { at: number; run: () => void }>();
  private next = 1;
  readonly live: LiveSocket;

  constructor() {
    this.live = new LiveSocket(
      {
        open: (url) => {
          const socket = new FakeSocket(url);
          this.sockets.push(socket);
          return socket as unknown as WebSocket;
        },
        url: "ws://here/api/ws",
        now: () => this.now,
        random: () => 1,
        setTimer: (run, milliseconds) => {
          this.timers.set(this.next, { at: this.now + milliseconds, run });
          return this.next++;
        },
        clearTimer: (timer) => this.timers.delete(timer),
      },
      {
        onFrame: (frame) => {
          const next = fold(this.state, frame);
          if (next === "gap") return false;
          this.state = next;
          return true;
        },
        onConnection: (connection) => this.connections.push(connection),
        position: () => this.state.position,
      },
    );
  }

  get last(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error("nothing was opened");
    return socket;
  }

  get connection(): Connection | undefined {
    return this.connections.at(-1);
  }

  pass(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (due === undefined) break;
      this.timers.delete(due[0]);
      this.now = due[1].at;
      due[1].run();
    }
    this.now = end;
  }
}

const event = (seq: number): Frame => ({
  kind: "events",
  epoch: "e1",
  time: AT,
  events: [{ kind: "model.put", seq, model: job({ version: seq }) }],
  progress: [],
  room_moved_at: null,
  announcements: null,
});

let world: World;
beforeEach(() => {
  world = new World();
  world.live.start();
});

describe("connecting", () => {
  test("the first time asks for a snapshot and is live with the first frame", () => {
    expect(world.last.url).toBe("ws://here/api/ws");
    expect(world.connection).toEqual({ kind: "connecting" });
    world.last.say(snapshot());
    expect(world.connection).toEqual({ kind: "live" });
  });

  test("after a break resumes where it was", () => {
    world.last.say(snapshot({ seq: 4, epoch: "e&1" }));
    world.last.end(1006);
    expect(world.connection).toEqual({ kind: "offline", since: 0, retryAt: 500 });
    world.pass(499);
    expect(world.sockets).toHaveLength(1);
    world.pass(1);
    expect(world.last.url).toBe("ws://here/api/ws?epoch=e%261&seq=4");
  });

  test("waits twice as long after each failure, up to a limit, and begins anew after a frame", () => {
    const pauses: number[] = [];
    for (let failure = 0; failure < 8; failure += 1) {
      const before = world.now;
      const count = world.sockets.length;
      world.last.end(1006);
      while (world.sockets.length === count) world.pass(50);
      pauses.push(world.now - before);
    }
    expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
    world.last.say(snapshot());
    world.last.end(1006);
    expect(world.connection).toMatchObject({ kind: "offline", retryAt: world.now + 500 });
  });

  test("says since when it is offline through all failures", () => {
    world.last.say(snapshot());
    world.pass(1000);
    world.last.end(1006);
    world.pass(500);
    world.last.end(1006);
    expect(world.connection).toMatchObject({ since: 1000 });
  });

  test("a nudge doesn't wait, and does nothing while there is a connection", () => {
    world.last.end(1006);
    world.live.nudge();
    expect(world.sockets).toHaveLength(2);
    world.live.nudge();
    world.pass(10_000);
    expect(world.sockets).toHaveLength(2);
  });
});

describe("close codes", () => {
  test("4000 resumes at once", () => {
    world.last.say(snapshot({ seq: 7 }));
    world.last.end(4000);
    expect(world.last.url).toContain("?epoch=e1&seq=7");
    expect(world.connection).toEqual({ kind: "live" });
  });

  test("4000 without a frame in between waits", () => {
    world.last.say(snapshot());
    world.last.end(4000);
    world.last.end(4000);
    expect(world.sockets).toHaveLength(2);
    expect(world.connection?.kind).toBe("offline");
  });

  test.each([
    [4001, "", "unauthorized"],
    [4003, "", "forbidden"],
    [4003, "forbidden", "forbidden"],
    [4003, "token_revoked", "revoked"],
  ])("%i %s ends it until it is started again", (code, reason, kind) => {
    world.last.end(code, reason);
    expect(world.connection).toEqual({ kind });
    world.pass(100_000);
    world.live.nudge();
    expect(world.sockets).toHaveLength(1);
    world.live.start();
    expect(world.sockets).toHaveLength(2);
  });
});

describe("frames", () => {
  test("a gap asks for a fresh snapshot at once", () => {
    world.last.say(snapshot());
    const broken = world.last;
    world.last.say(event(2));
    expect(broken.closed).toBe(true);
    expect(world.last.url).toBe("ws://here/api/ws");
    world.last.say(snapshot({ seq: 2, models: [job({ version: 2 })] }));
    world.last.say(event(3));
    expect(world.state.models.get("m1")?.version).toBe(3);
  });

  test("a gap after a gap waits", () => {
    world.last.say(event(2));
    world.last.say(event(2));
    expect(world.sockets).toHaveLength(2);
    expect(world.connection?.kind).toBe("offline");
    world.pass(20_000);
    expect(world.sockets[2]?.url).toBe("ws://here/api/ws");
  });

  test("one that can't be read asks for a fresh snapshot after a pause", () => {
    const shown = vi.spyOn(console, "error").mockImplementation(() => undefined);
    world.last.say(snapshot());
    world.last.say("{");
    expect(shown).toHaveBeenCalledOnce();
    expect(world.connection?.kind).toBe("offline");
    world.pass(500);
    expect(world.last.url).toBe("ws://here/api/ws");
    shown.mockRestore();
  });

  test("a socket that was let go of is heard no more", () => {
    world.last.say(snapshot());
    const old = world.last;
    old.end(4000);
    old.say(event(1));
    old.end(4001);
    expect(world.state.position?.seq).toBe(0);
    expect(world.connection).toEqual({ kind: "live" });
  });
});

describe("silence", () => {
  test("means a dead line: it says so, since when, and resumes", () => {
    world.last.say(snapshot({ seq: 3 }));
    world.pass(14_000);
    world.last.say({ ...event(4), events: [] });
    world.pass(14_999);
    expect(world.connection).toEqual({ kind: "live" });
    const dead = world.last;
    world.pass(1);
    expect(world.connection).toEqual({ kind: "offline", since: 14_000, retryAt: 29_500 });
    expect(dead.closed).toBe(true);
    world.pass(500);
    expect(world.last.url).toContain("seq=3");
    world.last.say({ ...event(4), events: [] });
    expect(world.connection).toEqual({ kind: "live" });
  });

  test("of a handshake ends the attempt, and the pauses grow", () => {
    world.pass(9_999);
    expect(world.connection).toEqual({ kind: "connecting" });
    world.pass(1);
    expect(world.connection).toEqual({ kind: "offline", since: 10_000, retryAt: 10_500 });
    world.pass(500 + 10_000);
    expect(world.connection).toEqual({ kind: "offline", since: 10_000, retryAt: 21_500 });
  });

  test("after a handshake may be longer: a first snapshot is large", () => {
    world.pass(9_000);
    world.last.open();
    world.pass(29_000);
    expect(world.sockets).toHaveLength(1);
    world.last.say(snapshot());
    expect(world.connection).toEqual({ kind: "live" });
  });

  test("a nudge gives up an attempt that may have begun on a network that is gone", () => {
    world.last.say(snapshot({ seq: 3 }));
    world.pass(15_500);
    const hung = world.last;
    world.pass(1_999);
    world.live.nudge();
    expect(world.last).toBe(hung);
    world.pass(1);
    world.live.nudge();
    expect(hung.closed).toBe(true);
    expect(world.last).not.toBe(hung);
    expect(world.last.url).toContain("seq=3");
  });
});

test("stop ends it and its timers", () => {
  world.last.end(1006);
  world.live.stop();
  world.pass(100_000);
  expect(world.sockets).toHaveLength(1);
});
