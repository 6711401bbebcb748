import { describe, expect, test } from "vitest";
import { clockOffset, remainingSeconds, steps, stepsWithin, trainingSeconds } from "../src/time";
import { job, progress } from "./samples";

const NOON = Date.parse("2026-03-01T12:00:00Z");

describe("training time", () => {
  test("of a running job: earlier attempts' durable steps plus the time since", () => {
    const running = job({ state: "RUNNING", running_since: "2026-03-01T11:58:00Z", stepping_seconds_before: 552.5 });
    expect(trainingSeconds(running, NOON)).toBe(672.5);
    expect(trainingSeconds(running, NOON + 1000)).toBe(673.5);
  });

  test("is the trainer's own word where there is one, and stands still while it evaluates", () => {
    const running = job({ state: "RUNNING", attempt: 2, running_since: "2026-03-01T11:58:00Z" });
    const told = progress({ attempt: 2, at: "2026-03-01T12:00:00Z", stepping_seconds: 80.5 });
    expect(trainingSeconds(running, NOON + 500, told)).toBe(81);
    expect(trainingSeconds(running, NOON + 60_000, told)).toBe(82.5);
    expect(trainingSeconds(running, NOON - 500, told)).toBe(80.5);
    expect(trainingSeconds(running, NOON, { ...told, attempt: 1 })).toBe(120);
  });

  test("goes on while stop is asked for, as steps are still made", () => {
    const stopping = job({ state: "STOP_REQUESTED", running_since: "2026-03-01T11:59:00Z" });
    expect(trainingSeconds(stopping, NOON)).toBe(60);
  });

  test("stands still where no steps are made", () => {
    const waiting = job({ state: "QUEUED", stepping_seconds_before: 41 });
    expect(trainingSeconds(waiting, NOON)).toBe(trainingSeconds(waiting, NOON + 60_000));
    expect(trainingSeconds(waiting, NOON)).toBe(41);
  });

  test("is what was used once the job has ended", () => {
    expect(trainingSeconds(job({ state: "STOPPED", used_seconds: 1200, stepping_seconds_before: 1199.6 }), NOON)).toBe(
      1200,
    );
    expect(trainingSeconds(job({ state: "CANCELED", used_seconds: 0 }), NOON)).toBe(0);
  });

  test("is never negative, should the clocks differ", () => {
    expect(trainingSeconds(job({ running_since: "2026-03-01T12:00:05Z", stepping_seconds_before: 3 }), NOON)).toBe(3);
  });
});

describe("the server's clock", () => {
  const frame = (seconds: number) => new Date(NOON + seconds * 1000).toISOString();

  test("is ahead by what the first frame says", () => {
    expect(clockOffset(null, frame(0), NOON - 5000)).toBe(5000);
  });

  test("is taken from the frame that came quickest", () => {
    const first = clockOffset(null, frame(0), NOON + 300);
    const better = clockOffset(first, frame(1), NOON + 1040);
    expect(better).toBe(-40);
    expect(clockOffset(better, frame(2), NOON + 2700)).toBe(-40);
  });

  test("follows when either clock is set", () => {
    expect(clockOffset(-40, frame(0), NOON + 60_000)).toBe(-60_000);
  });
});

describe("steps", () => {
  test("of the newest progress while an attempt makes them", () => {
    const running = job({ state: "RUNNING", attempt: 1, steps_completed: 100 });
    expect(steps(running, progress({ step: 142 }))).toEqual({ made: 142, saved: 100, requested: 3000 });
  });

  test("of the checkpoint otherwise, or where it is newer", () => {
    expect(steps(job({ steps_completed: 100 }), undefined).made).toBe(100);
    expect(steps(job({ state: "RUNNING", steps_completed: 200 }), progress({ step: 199 })).made).toBe(200);
  });

  test("left at the present speed", () => {
    const running = job({ state: "RUNNING", attempt: 1 });
    expect(remainingSeconds(running, progress({ step: 1000, steps_per_second: 2 }))).toBe(1000);
    expect(remainingSeconds(running, progress({ step: 3100 }))).toBe(0);
    expect(remainingSeconds(running, progress({ steps_per_second: 0 }))).toBeNull();
    expect(remainingSeconds(running, undefined)).toBeNull();
    expect(remainingSeconds(job({ state: "STOP_REQUESTED" }), progress())).toBeNull();
  });
});

test("whole steps fit into a time", () => {
  expect(stepsWithin(600, 0.7)).toBe(857);
  expect(stepsWithin(600, 0)).toBe(0);
});
