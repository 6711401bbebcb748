import { describe, expect, test } from "vitest";
import type { Announcement, EventsFrame, Frame, Progress, StreamEvent } from "../src/contract";
import { EMPTY, fold, type State, toSnapshot, withMetrics, withModel } from "../src/store";
import { announcement, AT, dataset, job, place, point, progress, snapshot, team } from "./samples";

function folded(state: State, frame: Frame): State {
  const next = fold(state, frame);
  if (next === "gap") throw new Error("an unexpected gap");
  return next;
}

function events(
  list: StreamEvent[],
  progressed: Progress[] = [],
  epoch = "e1",
  room: Partial<Pick<EventsFrame, "room_moved_at" | "announcements">> = {},
): EventsFrame {
  const unchanged = { room_moved_at: null, announcements: null };
  return { kind: "events", epoch, time: AT, events: list, progress: progressed, ...unchanged, ...room };
}

const begun = folded(EMPTY, snapshot());
const running = folded(EMPTY, snapshot({ models: [job({ state: "RUNNING", attempt: 1 })] }));

describe("the sequence", () => {
  test("a snapshot sets the position", () => {
    expect(folded(EMPTY, snapshot({ epoch: "e7", seq: 41 })).position).toEqual({ epoch: "e7", seq: 41 });
  });

  test("events are applied in order and move the position", () => {
    const state = folded(
      begun,
      events([
        { kind: "dataset.put", seq: 1, dataset: dataset() },
        { kind: "model.put", seq: 2, model: job() },
      ]),
    );
    expect(state.position).toEqual({ epoch: "e1", seq: 2 });
    expect([...state.models.keys(), ...state.datasets.keys()]).toEqual(["m1", "d1"]);
  });

  test("an event that was sent twice counts once", () => {
    const once = folded(begun, events([{ kind: "dataset.put", seq: 1, dataset: dataset() }]));
    const gone = folded(once, events([{ kind: "dataset.gone", seq: 2, dataset_id: "d1" }]));
    const again = folded(gone, events([{ kind: "dataset.put", seq: 1, dataset: dataset() }]));
    expect(again).toBe(gone);
  });

  test("a missing event is a gap", () => {
    expect(fold(begun, events([{ kind: "model.put", seq: 2, model: job() }]))).toBe("gap");
  });

  test("another epoch is a gap", () => {
    expect(fold(begun, events([], [], "e2"))).toBe("gap");
  });

  test("events before any snapshot are a gap", () => {
    expect(fold(EMPTY, events([]))).toBe("gap");
  });

  test("a kind that this page doesn't know counts in the sequence and changes nothing", () => {
    const unknown = { kind: "badge.put", seq: 1 } as unknown as StreamEvent;
    const state = folded(begun, events([unknown]));
    expect(state.position?.seq).toBe(1);
    expect(state.models).toBe(begun.models);
  });
});

describe("replacing", () => {
  test("a model only by a higher version", () => {
    const state = folded(
      begun,
      events([
        { kind: "model.put", seq: 1, model: job({ version: 3, state: "RUNNING" }) },
        { kind: "model.put", seq: 2, model: job({ version: 2, state: "PREPARING" }) },
      ]),
    );
    expect(state.models.get("m1")?.state).toBe("RUNNING");
  });

  test("minutes by a version that is at least as high", () => {
    const state = folded(
      begun,
      events([
        { kind: "team.put", seq: 1, team: team({ version: 2, used_seconds: 60 }) },
        { kind: "team.put", seq: 2, team: team({ version: 1, used_seconds: 30 }) },
        { kind: "team.put", seq: 3, team: team({ version: 2, used_seconds: 61 }) },
      ]),
    );
    expect(state.minutes?.used_seconds).toBe(61);
  });

  test("the queue as a whole", () => {
    const state = folded(
      begun,
      events([
        { kind: "queue.put", seq: 1, places: [place("m1", 1), place("m2", 2)] },
        { kind: "queue.put", seq: 2, places: [place("m2", 1)] },
      ]),
    );
    expect([...state.queue.values()]).toEqual([place("m2", 1)]);
  });

  test("a command's answer neither undoes nor is undone by the stream", () => {
    const ahead = withModel(begun, job({ version: 4, state: "STOP_REQUESTED" }));
    const state = folded(ahead, events([{ kind: "model.put", seq: 1, model: job({ version: 3 }) }]));
    expect(state.models.get("m1")?.version).toBe(4);
    expect(withModel(state, job({ version: 3 }))).toBe(state);
  });
});

describe("progress", () => {
  test("the newest of an attempt wins", () => {
    const state = folded(running, events([], [progress({ step: 20 }), progress({ step: 19 })]));
    expect(state.progress.get("m1")?.step).toBe(20);
  });

  test("doesn't move the position", () => {
    expect(folded(running, events([], [progress()])).position).toEqual(running.position);
  });

  test("of an older attempt, of a model that makes no steps or that isn't there is ignored", () => {
    const second = folded(
      EMPTY,
      snapshot({ models: [job({ state: "RUNNING", attempt: 2 }), job({ id: "m2", state: "QUEUED" })] }),
    );
    const state = folded(
      second,
      events([], [progress({ attempt: 1 }), progress({ model_id: "m2" }), progress({ model_id: "m3" })]),
    );
    expect(state.progress.size).toBe(0);
  });

  test("goes when its model ends, is given to another trainer or is deleted", () => {
    const live = folded(running, events([], [progress()]));
    const after = (event: StreamEvent) => folded(live, events([event])).progress.size;
    expect(after({ kind: "model.put", seq: 1, model: job({ version: 2, state: "SUCCEEDED", attempt: 1 }) })).toBe(0);
    expect(after({ kind: "model.put", seq: 1, model: job({ version: 2, state: "RUNNING", attempt: 2 }) })).toBe(0);
    expect(after({ kind: "model.gone", seq: 1, model_id: "m1" })).toBe(0);
    expect(after({ kind: "model.put", seq: 1, model: job({ version: 2, state: "STOPPING", attempt: 1 }) })).toBe(1);
  });
});

describe("that the room has moved", () => {
  const later = "2026-03-01T12:00:07Z";
  const moved = folded(begun, events([], [], "e1", { room_moved_at: later }));

  test("is outside the sequence, and the newest counts", () => {
    expect(moved.roomMoved).toBe(later);
    expect(moved.position).toEqual(begun.position);
  });

  test("stays what it was where a frame doesn't tell, and where it tells the same", () => {
    expect(folded(moved, events([]))).toBe(moved);
    expect(folded(moved, events([], [], "e1", { room_moved_at: later }))).toBe(moved);
  });

  test("is what a snapshot says it is; an older service says nothing", () => {
    expect(folded(moved, snapshot()).roomMoved).toBeNull();
    const { room_moved_at: _, ...older } = snapshot();
    expect(folded(moved, older as Frame).roomMoved).toBeNull();
    const { room_moved_at: __, ...frame } = events([]);
    expect(folded(moved, frame as Frame)).toBe(moved);
  });
});

describe("announcements", () => {
  const told = folded(begun, events([], [], "e1", { announcements: [announcement(), announcement({ id: "a2" })] }));

  test("are replaced as a whole, outside the sequence", () => {
    expect(told.announcements.map((each) => each.id)).toEqual(["a1", "a2"]);
    expect(told.position).toEqual(begun.position);
    expect(folded(told, events([], [], "e1", { announcements: [] })).announcements).toEqual([]);
  });

  test("stay where a frame doesn't tell; an older service has none", () => {
    expect(folded(told, events([]))).toBe(told);
    const { announcements: _, ...frame } = events([]);
    expect(folded(told, frame as Frame)).toBe(told);
    const { announcements: __, ...older } = snapshot();
    expect(folded(told, older as Frame).announcements).toEqual([]);
  });
});

describe("metrics", () => {
  test("are kept by model and step; a later attempt replaces, an earlier doesn't", () => {
    const state = withMetrics(running, [
      point({ attempt: 2 }),
      point({ attempt: 1, best: true }),
      point({ step: 200 }),
    ]);
    expect(state.metrics.get("m1")?.get(100)?.attempt).toBe(2);
    expect([...(state.metrics.get("m1")?.keys() ?? [])]).toEqual([100, 200]);
  });

  test("fetched and streamed ones join, in either order", () => {
    const added: Frame = events([{ kind: "metrics.added", seq: 1, point: point({ step: 300 }) }]);
    const fetched = [point({ step: 100 }), point({ step: 300 })];
    const one = withMetrics(folded(running, added), fetched);
    const other = folded(withMetrics(running, fetched), added);
    const stepsOf = (state: State) => [...(state.metrics.get("m1")?.keys() ?? [])].sort();
    expect(stepsOf(one)).toEqual(stepsOf(other));
  });

  test("survive a new snapshot, unless their model is gone; and it says that they must be fetched again", () => {
    const known = withMetrics(running, [point()]);
    const still = folded(known, snapshot({ models: [job()] }));
    expect(still.metrics.get("m1")?.size).toBe(1);
    expect(still.snapshots).toBe(known.snapshots + 1);
    expect(folded(known, snapshot()).metrics.size).toBe(0);
  });
});

/** Park and Miller's generator: the same numbers each run. */
function generator(seed: number): (below: number) => number {
  let value = seed;
  return (below) => {
    value = (value * 48271) % 2147483647;
    return value % below;
  };
}

/** A server as simple as can be: it keeps what was last written and can tell it whole. */
class Server {
  private readonly models = new Map<string, ReturnType<typeof job>>();
  private readonly datasets = new Map<string, ReturnType<typeof dataset>>();
  private readonly progress = new Map<string, Progress>();
  private queue = [place("m1", 1)];
  private minutes = team();
  private moved = 0;
  private announced: Announcement[] = [];
  seq = 0;

  constructor(private readonly pick: (below: number) => number) {}

  snapshot(): Frame {
    const { seq, queue, minutes } = this;
    const shown = [...this.progress.values()].filter((each) => {
      const model = this.models.get(each.model_id);
      return model?.state === "RUNNING" && model.attempt === each.attempt;
    });
    return snapshot({
      seq,
      minutes,
      queue,
      models: [...this.models.values()],
      datasets: [...this.datasets.values()],
      progress: shown,
      room_moved_at: this.movedAt(),
      announcements: this.announced,
    });
  }

  private movedAt(): string | null {
    return this.moved === 0 ? null : new Date(Date.parse(AT) + 1000 * this.moved).toISOString();
  }

  frame(): EventsFrame {
    const due = Array.from({ length: this.pick(4) }, () => this.change());
    const progressed = [...this.models.values()]
      .filter((model) => model.state === "RUNNING" && this.pick(2) === 0)
      .map((model) => {
        const known = this.progress.get(model.id);
        const step = (known?.attempt === model.attempt ? known.step : 0) + this.pick(5);
        const next = progress({ model_id: model.id, attempt: model.attempt, step });
        this.progress.set(model.id, next);
        return next;
      });
    const room: Partial<EventsFrame> = {};
    if (this.pick(3) === 0) {
      this.moved += 1;
      room.room_moved_at = this.movedAt();
    }
    if (this.pick(5) === 0) {
      this.announced = Array.from({ length: this.pick(3) }, () => announcement({ text: `${this.pick(100)}` }));
      room.announcements = this.announced;
    }
    return events(due, progressed, "e1", room);
  }

  private change(): StreamEvent {
    const seq = ++this.seq;
    const id = `m${this.pick(4)}`;
    const known = this.models.get(id);
    switch (this.pick(7)) {
      case 0:
        this.models.delete(id);
        this.progress.delete(id);
        return { kind: "model.gone", seq, model_id: id };
      case 1:
        this.datasets.delete(id);
        return { kind: "dataset.gone", seq, dataset_id: id };
      case 2: {
        const put = dataset({ id, bytes: this.pick(1000) });
        this.datasets.set(id, put);
        return { kind: "dataset.put", seq, dataset: put };
      }
      case 3:
        this.queue = Array.from({ length: this.pick(3) }, (_, index) => place(`m${index}`, index + 1));
        return { kind: "queue.put", seq, places: this.queue };
      case 4:
        this.minutes = team({ version: this.minutes.version + 1, used_seconds: this.pick(9000) });
        return { kind: "team.put", seq, team: this.minutes };
      default: {
        const state = (["QUEUED", "RUNNING", "RUNNING", "SUCCEEDED"] as const)[this.pick(4)] ?? "QUEUED";
        const put = job({
          id,
          version: (known?.version ?? 0) + 1,
          state,
          attempt: (known?.attempt ?? 0) + this.pick(2),
        });
        this.models.set(id, put);
        if (state !== "RUNNING" || put.attempt !== this.progress.get(id)?.attempt) this.progress.delete(id);
        return { kind: "model.put", seq, model: put };
      }
    }
  }
}

describe("the law", () => {
  test.each([1, 2, 3, 5, 8, 13, 21, 34])(
    "a snapshot folded with every later event equals a fresh snapshot (seed %i)",
    (seed) => {
      const server = new Server(generator(seed * 7919));
      let state = folded(EMPTY, server.snapshot());
      for (let frames = 0; frames < 200; frames += 1) {
        const frame = server.frame();
        state = folded(state, frame);
        if (frames % 3 === 0) state = folded(state, frame); // sent again after a resume
        const fresh = folded(EMPTY, server.snapshot());
        expect({
          ...state,
          metrics: null,
          models: sorted(state.models),
          datasets: sorted(state.datasets),
          progress: sorted(state.progress),
        }).toEqual({
          ...fresh,
          metrics: null,
          models: sorted(fresh.models),
          datasets: sorted(fresh.datasets),
          progress: sorted(fresh.progress),
        });
      }
    },
  );
});

function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => a.localeCompare(b));
}

describe("a snapshot made of a state", () => {
  test("there is none before the first", () => expect(toSnapshot(EMPTY, AT)).toBeNull());

  test("brings somebody who knows nothing to the same state, metrics apart", () => {
    const full = folded(
      EMPTY,
      snapshot({
        seq: 3,
        models: [job({ state: "RUNNING", attempt: 1 }), job({ id: "m2" })],
        datasets: [dataset()],
        queue: [place("m2", 1)],
        progress: [progress()],
        room_moved_at: AT,
        announcements: [announcement()],
      }),
    );
    const made = toSnapshot(withMetrics(full, [point()]), AT);
    if (made === null) throw new Error("no snapshot");
    expect(folded(EMPTY, made)).toEqual(full);
  });
});

test("a frame that changes nothing leaves the very same state", () => {
  expect(fold(running, events([]))).toBe(running);
});

test("a frame with many changes copies a map once, and leaves the old one alone", () => {
  const many = Array.from({ length: 50 }, (_, index) => job({ id: `m${index}` }));
  const before = folded(EMPTY, snapshot());
  const after = folded(before, events(many.map((model, index) => ({ kind: "model.put", seq: index + 1, model }))));
  expect(before.models.size).toBe(0);
  expect(after.models.size).toBe(50);
});
