import { expect, test } from "vitest";
import type { LineOwner } from "../src/line";
import { Live } from "../src/live";

test("an arrival is each time that the line is live after it wasn't", () => {
  let owner: LineOwner | undefined;
  const live = new Live({
    open: (given) => {
      owner = given;
      return { start: () => {}, restart: () => {}, nudge: () => {}, stop: () => {} };
    },
    now: () => 0,
    soon: (run) => run(),
  });
  const arrivals: number[] = [];
  live.subscribe(() => arrivals.push(live.view.arrivals));
  const offline = { kind: "offline", since: 0, retryAt: 0 } as const;
  for (const connection of [{ kind: "live" }, { kind: "live" }, offline, offline, { kind: "live" }] as const) {
    owner?.onConnection(connection);
  }
  expect(arrivals).toEqual([1, 1, 1, 1, 2]);
});
