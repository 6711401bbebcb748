import { describe, expect, test } from "vitest";
import {
  approveRefusal,
  deleteRefusal,
  downloadRefusal,
  jointRefusal,
  moreRefusal,
  retryRefusal,
  roleRefusal,
  stopConsequence,
  stopRefusal,
} from "../src/actions";
import { JOB_STATES, STOPPABLE, TERMINAL } from "../src/contract";
import { news } from "../src/news";
import { hashOf, parseRoute, type Route } from "../src/route";
import { inOrder, lossChart, metricNames, precisionChart } from "../src/series";
import { EMPTY, fold, type State, withMetrics } from "../src/store";
import { texts } from "../src/texts";
import { job, place, point, progress, snapshot } from "./samples";

const exported = {
  step: 100,
  prefix: "p",
  checks: {},
  files: [{ format: "float32", name: "m.tflite", bytes: 1, sha256: "0" }],
};
const checkpoint = {
  step: 100,
  stepping_seconds: 50,
  saved_at: "2026-03-01T12:00:00Z",
  prefix: "p",
  map: 0.3,
  best_step: 100,
  best_map: 0.3,
};

describe("actions", () => {
  test.each(JOB_STATES)("in %s stop, delete and their reasons agree with the table", (state) => {
    expect(stopRefusal(job({ state })) === null).toBe(STOPPABLE.has(state));
    expect(deleteRefusal(job({ state })) === null).toBe(TERMINAL.has(state));
  });

  test("a download needs an export, and says why there is none", () => {
    expect(downloadRefusal(job({ state: "SUCCEEDED", export: exported }))).toBeNull();
    expect(downloadRefusal(job({ state: "RUNNING" }))).toBe(texts.models.downloadLater);
    expect(downloadRefusal(job({ state: "SUCCEEDED", checkpoint }))).toBe(texts.models.downloadMaking);
    expect(downloadRefusal(job({ state: "CANCELED" }))).toBe(texts.models.downloadNothing);
  });

  test("stopping says what becomes of the work", () => {
    expect(stopConsequence(job({ state: "QUEUED" }))).toBe(texts.models.stopWaiting);
    expect(stopConsequence(job({ state: "QUEUED", checkpoint }))).toBe(texts.models.stopWaitingSaved);
    expect(stopConsequence(job({ state: "RUNNING" }))).toBe(texts.models.stopRunning);
  });

  test("more training takes one that has ended with a checkpoint, also one that failed", () => {
    expect(moreRefusal(job({ state: "FAILED", checkpoint }))).toBeNull();
    expect(moreRefusal(job({ state: "RUNNING", checkpoint }))).toBe(texts.models.moreRunning);
    expect(moreRefusal(job({ state: "CANCELED" }))).toBe(texts.models.moreNothing);
  });

  test.each(JOB_STATES)("in %s a retry is possible only where it has to be tried again", (state) => {
    expect(retryRefusal(job({ state })) === null).toBe(state === "TRY_AGAIN_LATER");
  });

  test("a mentor approves what needs approval, and nobody else does", () => {
    const capped = job({ state: "TRY_AGAIN_LATER", reason: { code: "needs_approval", message: "m", remedy: null } });
    expect(approveRefusal(capped, "mentor")).toBeNull();
    expect(approveRefusal(capped, "admin")).toBeNull();
    expect(approveRefusal(capped, "member")).toBe(texts.models.approveMentor);
    const full = { ...capped, reason: { code: "queue_full", message: "m", remedy: null } };
    expect(approveRefusal(full, "mentor")).toBe(texts.models.approveOnly);
  });

  test("a parent can't be deleted before its children, which are named", () => {
    expect(deleteRefusal(job({ state: "SUCCEEDED" }), [job({ description: "Child" })])).toContain("“Child”");
  });

  test("together: none, one, several, and whose fault it is", () => {
    const ended = job({ id: "a", description: "A", state: "SUCCEEDED" });
    const runs = job({ id: "b", description: "B", state: "RUNNING" });
    expect(jointRefusal([], stopRefusal)).toBe(texts.models.selectSome);
    expect(jointRefusal([], stopRefusal, { one: true })).toBe(texts.models.selectOne);
    expect(jointRefusal([runs, runs], stopRefusal)).toBeNull();
    expect(jointRefusal([runs, runs], stopRefusal, { one: true })).toBe(texts.models.onlyOne);
    expect(jointRefusal([ended], stopRefusal)).toBe(texts.models.stopEnded);
    expect(jointRefusal([runs, ended], stopRefusal)).toBe(texts.models.reasonOf("A", texts.models.stopEnded));
  });

  test("a viewer may only look", () => {
    expect(roleRefusal("viewer")).toBe(texts.errors.viewer);
    expect(roleRefusal("member")).toBeNull();
    expect(roleRefusal(undefined)).toBeNull();
  });
});

describe("a queue's forecast", () => {
  const now = Date.parse("2026-03-01T12:00:00Z");
  const at = (minutes: number) => new Date(now + minutes * 60_000).toISOString();
  const starts = (from: number | null, to: number | null) =>
    texts.models.starts(
      { ...place("m1", 1), start_from: from === null ? null : at(from), start_to: to === null ? null : at(to) },
      now,
    );

  test("is a range, a time or nothing, and never in the past", () => {
    expect(starts(11, 19)).toMatch(/^starts \d\d:11 to \d\d:19$/);
    expect(starts(11, 11)).toMatch(/^starts about \d\d:11$/);
    expect(starts(-3, 19)).toMatch(/^starts by \d\d:19$/);
    expect(starts(-9, -1)).toBe("starts any moment");
    expect(starts(null, null)).toBe("");
  });
});

describe("routes", () => {
  const routes: Route[] = [
    { page: "datasets" },
    { page: "start", datasets: [], more: null },
    { page: "start", datasets: ["d1", "d2"], more: "m1" },
    { page: "models" },
    { page: "model", id: "0b1c-2", tab: "details" },
    { page: "model", id: "0b1c-2", tab: "graphs" },
    { page: "team", tab: "minutes" },
    { page: "team", tab: "queue" },
    { page: "operators", tab: "trainers" },
    { page: "operators", tab: "audit" },
  ];

  test.each(routes.map((route) => [hashOf(route), route] as const))("%s comes back from its hash", (hash, route) => {
    expect(parseRoute(hash)).toEqual(route);
  });

  test.each([
    "",
    "#",
    "#/",
    "#/nothing",
    "#/models/a/b",
    "#/models/a/graphs/b",
    "#/models/%zz",
    "#/datasets/d1/x",
    "#/team/x",
    "#/operators/x",
  ])("%s names no page", (hash) => {
    expect(parseRoute(hash)).toBeNull();
  });

  test("ids that are none are left out of a start", () => {
    expect(parseRoute("#/start?datasets=a,<b>,c&more=%3Cscript%3E")).toEqual({
      page: "start",
      datasets: ["a", "c"],
      more: null,
    });
  });
});

describe("news", () => {
  const of = (state: "RUNNING" | "FAILED") => {
    const folded = fold(
      EMPTY,
      snapshot({
        models: [
          job({ state, reason: state === "FAILED" ? { code: "x", message: "Out of memory.", remedy: null } : null }),
        ],
      }),
    );
    return folded as State;
  };

  test("tell a changed state with its reason", () => {
    expect(news(of("RUNNING"), of("FAILED"))).toEqual(["Balls: FAILED. Out of memory."]);
  });

  test("tell nothing of the first snapshot or of an unchanged state", () => {
    expect(news(EMPTY, of("RUNNING"))).toEqual([]);
    expect(news(of("RUNNING"), of("RUNNING"))).toEqual([]);
  });
});

describe("charts", () => {
  const points = inOrder(withMetrics(EMPTY, [point({ step: 200 }), point({ step: 100 })]).metrics.get("m1"));

  test("are in the order of steps, whatever came first", () => {
    expect(points.map((each) => each.step)).toEqual([100, 200]);
    expect(inOrder(undefined)).toEqual([]);
  });

  test("losses end with the newest progress, if it is beyond the last checkpoint", () => {
    const chart = lossChart(points, progress({ step: 230 }));
    expect(chart.steps).toEqual([100, 200, 230]);
    expect(chart.series[0]?.values).toEqual([1.2, 1.2, 1.5]);
    expect(chart.series.at(-1)?.values).toEqual([1.4, 1.4, null]);
    for (const series of chart.series) expect(series.values).toHaveLength(3);
    expect(lossChart(points, progress({ step: 200 })).steps).toEqual([100, 200]);
    expect(lossChart([], undefined)).toMatchObject({ steps: [] });
  });

  test("a precision of -1 is no point", () => {
    const chart = precisionChart([point({ evaluation: { "DetectionBoxes_Precision/mAP": -1 } })]);
    expect(chart.series.map((series) => series.values)).toEqual([[null], [null], [null]]);
  });

  test("metrics are listed precision first, then recall, losses and rates", () => {
    expect(metricNames(points, "evaluation")).toEqual([
      "DetectionBoxes_Precision/mAP",
      "DetectionBoxes_Precision/mAP (small)",
      "Loss/total_loss",
    ]);
    expect(metricNames(points, "training")).toEqual(["Loss/total_loss", "learning_rate"]);
  });
});
