import { describe, expect, test } from "vitest";
import {
  calendarDay,
  clock,
  day,
  duration,
  signedMinutes,
  metric,
  minutes,
  precision,
  size,
  startingModelName,
  stateName,
  whole,
} from "../src/format";

describe("durations", () => {
  test.each([
    [0, "0:00"],
    [59.9, "0:59"],
    [873, "14:33"],
    [3600, "1:00:00"],
    [3723, "1:02:03"],
    [-4, "0:00"],
  ])("%f s is %s", (seconds, shown) => expect(duration(seconds)).toBe(shown));

  test("minutes that can be spent are never rounded up, nor debts down", () => {
    expect(minutes(26_999)).toBe("449");
    expect(minutes(-61)).toBe("-1");
  });
});

test("a time names its day, and its year, only where they differ", () => {
  const now = new Date(2026, 2, 1, 12, 0).getTime();
  expect(clock(new Date(2026, 2, 1, 9, 5).toISOString(), now)).toBe("09:05");
  expect(clock(new Date(2026, 1, 28, 9, 5).toISOString(), now)).toBe("28 Feb, 09:05");
  expect(clock(new Date(2025, 1, 28, 9, 5).toISOString(), now)).toBe("28 Feb 2025, 09:05");
});

describe("numbers", () => {
  test("whole ones are grouped", () => expect(whole(4100)).toBe("4,100"));

  test.each([
    [42, "42 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [18_412_000, "18.4 MB"],
    [99_960_000, "100 MB"],
    [999_600, "1.0 MB"],
    [3_000_000_000_000_000, "3000 TB"],
  ])("%i bytes are %s", (bytes, shown) => expect(size(bytes)).toBe(shown));

  test.each([
    [0, "0"],
    [0.02, "0.02000"],
    [1.23456, "1.235"],
    [0.000012, "1.20e-5"],
    [-0.5, "-0.5000"],
    [1234.5, "1,235"],
  ])("metric %f is %s", (value, shown) => expect(metric(value)).toBe(shown));

  test("a precision of -1 is none", () => {
    expect(precision(-1)).toBeNull();
    expect(precision(null)).toBeNull();
    expect(precision(0)).toBe("0.000");
    expect(precision(0.5534)).toBe("0.553");
  });
});

describe("names", () => {
  test("states are shown as ftc-ml showed them", () => expect(stateName("STOP_REQUESTED")).toBe("STOP REQUESTED"));

  test("a starting model that is newer than the page shows its key", () => {
    expect(startingModelName("ssd_mobilenet_v2_320x320")).toBe("SSD MobileNet v2 320x320");
    expect(startingModelName("new_one")).toBe("new_one");
  });
});

test.each([
  [750, "+12:30"],
  [-45, "\u22120:45"],
  [0, "0:00"],
  [-36_000, "\u2212600:00"],
])("%d s of a statement are %s", (seconds, shown) => expect(signedMinutes(seconds)).toBe(shown));

test("a day is the reader's, unless it was told as a day", () => {
  const now = new Date(2027, 5, 1).getTime();
  expect(day(new Date(2027, 1, 3, 0, 5).toISOString(), now)).toBe("3 Feb");
  expect(day(new Date(2026, 1, 3, 23, 55).toISOString(), now)).toBe("3 Feb 2026");
  expect(calendarDay("2027-02-03", now)).toBe("3 Feb");
  expect(calendarDay("2026-02-03", now)).toBe("3 Feb 2026");
});
