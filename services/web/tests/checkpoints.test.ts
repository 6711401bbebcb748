import { describe, expect, test } from "vitest";
import { chosenOf, missing, nearest, nextCheckpoint, predicted } from "../src/checkpoints";
import { labelPrecision } from "../src/series";
import { graphsOf } from "../src/graphs";
import { Wishes } from "../src/wishes";
import { AT, job, point, progress } from "./samples";

const kept = (...steps: number[]) =>
  predicted(steps.map((step) => point({ step, predictions: { prefix: `p/${step}`, pictures: "p" } })));

describe("why there are no metrics", () => {
  const saved = {
    step: 100,
    stepping_seconds: 9,
    saved_at: AT,
    prefix: "p",
    map: null,
    best_step: null,
    best_map: null,
  };
  const waits = { known: false, problem: null };

  test("without a checkpoint it depends on whether one may come, however asking fares", () => {
    for (const asked of [waits, { known: true, problem: null }, { known: false, problem: "down" }]) {
      expect(missing(job({ state: "RUNNING" }), asked)).toBe("due");
      expect(missing(job({ state: "CANCELED" }), asked)).toBe("never");
    }
  });

  test("with one, an end tells nothing: they are asked for, or that failed", () => {
    for (const state of ["RUNNING", "SUCCEEDED"] as const) {
      const model = job({ state, checkpoint: saved });
      expect(missing(model, waits)).toBe("asked");
      expect(missing(model, { known: false, problem: "down" })).toBe("failed");
    }
  });

  test("where none have come, those of a model that trains are on their way, those of one that has ended are lost", () => {
    const known = { known: true, problem: null };
    expect(missing(job({ state: "RUNNING", checkpoint: saved }), known)).toBe("due");
    expect(missing(job({ state: "SUCCEEDED", checkpoint: saved }), known)).toBe("lost");
  });
});

describe("checkpoints that have pictures", () => {
  test("are those with predictions", () => {
    const points = [point({ step: 100 }), ...kept(200), point({ step: 300 })];
    expect(predicted(points).map((each) => each.step)).toEqual([200]);
  });

  test("the chosen one, else the last: also where the chosen one is gone", () => {
    expect(chosenOf(kept(100, 200, 300), 200)?.step).toBe(200);
    expect(chosenOf(kept(100, 200, 300), null)?.step).toBe(300);
    expect(chosenOf(kept(100, 200, 300), 150)?.step).toBe(300);
    expect(chosenOf([], null)).toBeUndefined();
  });

  test("the nearest of a step, the earlier of two", () => {
    expect([0, 149, 150, 151, 999].map((step) => nearest(kept(100, 200), step)?.step)).toEqual([
      100, 100, 100, 200, 200,
    ]);
    expect(nearest([], 100)).toBeUndefined();
  });
});

describe("the next checkpoint", () => {
  const running = job({ state: "RUNNING", steps_requested: 250 });

  test("is due after the steps that are missing, at the pace of now", () => {
    expect(nextCheckpoint(running, progress({ step: 40, steps_per_second: 2 }), 100)).toEqual({
      step: 100,
      seconds: 30,
    });
    expect(nextCheckpoint(running, progress({ step: 100, steps_per_second: 2 }), 100)).toEqual({
      step: 200,
      seconds: 50,
    });
  });

  test("is the last step at the end", () => {
    expect(nextCheckpoint(running, progress({ step: 240, steps_per_second: 2 }), 100)).toEqual({
      step: 250,
      seconds: 5,
    });
  });

  test("has no time while no steps are made; goes on from the last checkpoint", () => {
    expect(nextCheckpoint(job({ state: "QUEUED" }), undefined, 100)).toEqual({ step: 100, seconds: null });
    expect(nextCheckpoint(running, progress({ step: 1, steps_per_second: 0 }), 100).seconds).toBeNull();
    const resumed = job({
      state: "QUEUED",
      checkpoint: {
        step: 200,
        stepping_seconds: 1,
        saved_at: AT,
        prefix: "",
        map: null,
        best_step: null,
        best_map: null,
      },
    });
    expect(nextCheckpoint(resumed, undefined, 100)).toEqual({ step: 300, seconds: null });
  });
});

describe("the precision of a label", () => {
  const name = "DetectionBoxes_PerformanceByCategory/mAP/red / Cube";

  test("is a metric; -1 is none", () => {
    expect(labelPrecision(point({ evaluation: { [name]: 0.25 } }), "red / Cube")).toBe(0.25);
    expect(labelPrecision(point({ evaluation: { [name]: -1 } }), "red / Cube")).toBeNull();
    expect(labelPrecision(point(), "red / Cube")).toBeNull();
  });

  test("has graphs in a group of their own, with the label for a title", () => {
    const points = [point({ evaluation: { [name]: 0.25, "DetectionBoxes_Precision/mAP": 0.5 } })];
    const graphs = graphsOf([{ id: "m1", name: "Balls", points }], 0);
    expect(graphs.map(({ group, title }) => [group, title])).toEqual([
      ["precision", "mAP"],
      ["label", "red / Cube"],
      ["loss", "total_loss"],
      ["rate", "learning_rate"],
    ]);
  });
});

describe("wishes", () => {
  /** Requests that end when the test says so. */
  function line() {
    const asked: { key: string; signal: AbortSignal; answer: (text: string) => void }[] = [];
    const ask = (key: string) => (signal: AbortSignal) =>
      new Promise<string>((resolve, reject) => {
        asked.push({ key, signal, answer: resolve });
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    return { asked, ask };
  }

  test("what is known isn't asked for again", async () => {
    const wishes = new Wishes<string>(3);
    const { asked, ask } = line();
    const first = wishes.want("a", ask("a"));
    asked[0]?.answer("A");
    expect(await first).toBe("A");
    expect(await wishes.want("a", ask("a"))).toBe("A");
    expect(asked.map(({ key }) => key)).toEqual(["a"]);
  });

  test("the newest wins: an earlier one is given up", async () => {
    const wishes = new Wishes<string>(3);
    const { asked, ask } = line();
    const first = expect(wishes.want("a", ask("a"))).rejects.toThrow("abort");
    const second = wishes.want("b", ask("b"));
    expect(asked.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    asked[1]?.answer("B");
    expect(await second).toBe("B");
    await first;
  });

  test("an answer that came too late is kept, and answers nobody", async () => {
    const wishes = new Wishes<string>(3);
    let answer = (_: string) => {};
    const late = expect(wishes.want("a", () => new Promise((resolve) => (answer = resolve)))).rejects.toThrow("abort");
    wishes.drop();
    answer("A");
    await late;
    expect(wishes.get("a")).toBe("A");
  });

  test("a failure is told and can be tried again", async () => {
    const wishes = new Wishes<string>(3);
    await expect(wishes.want("a", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await wishes.want("a", () => Promise.resolve("A"))).toBe("A");
  });

  test("those that were looked at last are kept", async () => {
    const wishes = new Wishes<string>(2);
    for (const key of ["a", "b"]) await wishes.want(key, () => Promise.resolve(key));
    expect(wishes.get("a")).toBe("a");
    await wishes.want("c", () => Promise.resolve("c"));
    expect(["a", "b", "c"].map((key) => wishes.get(key))).toEqual(["a", undefined, "c"]);
  });
});
