import { describe, expect, test } from "vitest";
import type { Line, LineOwner } from "../src/line";
import { Live } from "../src/live";
import { dataset, job, snapshot } from "./samples";

/** The page's data on a line that the test speaks on. */
function open(): { live: Live; line: LineOwner } {
  let line!: LineOwner;
  const silent: Line = { start() {}, restart() {}, nudge() {}, stop() {} };
  const live = new Live({
    open: (given) => {
      line = given;
      return silent;
    },
    now: () => 0,
    soon: (run) => run(),
  });
  return { live, line };
}

describe("the page's data", () => {
  test("of a team is gone once the session has ended, but not while the network is", () => {
    const { live, line } = open();
    line.onFrame(snapshot({ models: [job()], datasets: [dataset()] }));
    line.onConnection({ kind: "offline", since: 0, retryAt: 0 });
    expect(live.view.state.models.size).toBe(1);
    line.onConnection({ kind: "unauthorized" });
    const { position, team, minutes, models, datasets, snapshots } = live.view.state;
    expect({ position, team, minutes }).toEqual({ position: null, team: null, minutes: null });
    expect([models.size, datasets.size]).toEqual([0, 0]);
    expect(snapshots).toBe(1); // so that what is fetched beside the stream is fetched anew with the next one
  });

  test("takes no answer that comes after another team has signed in", () => {
    const { live, line } = open();
    line.onFrame(snapshot());
    live.addModel(job({ id: "late", version: 9 }));
    expect(live.view.state.models.has("late")).toBe(true);
    line.onConnection({ kind: "unauthorized" });
    live.addModel(job({ id: "late", version: 9 }));
    line.onFrame(snapshot({ team: "guests", models: [], datasets: [] }));
    live.addModel(job({ id: "late", version: 9 }));
    live.addDataset(dataset({ id: "late" }));
    expect([live.view.state.models.size, live.view.state.datasets.size]).toEqual([0, 0]);
    live.addDataset(dataset({ id: "own", team: "guests" }));
    expect([...live.view.state.datasets.keys()]).toEqual(["own"]);
  });
});
