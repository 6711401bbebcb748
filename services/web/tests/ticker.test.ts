import { expect, test } from "vitest";
import { Ticker } from "../src/ticker";

test("tells each of the server's seconds once, and rests while nobody listens", () => {
  let now = 10_400;
  const timers: { run: () => void; at: number }[] = [];
  const ticker = new Ticker({
    now: () => now,
    setTimer: (run, milliseconds) => timers.push({ run, at: now + milliseconds }),
    clearTimer: () => timers.splice(0),
  });
  const heard: number[] = [];
  const end = ticker.subscribe(() => heard.push(Math.floor(ticker.now() / 1000)));
  for (let tick = 0; tick < 3; tick += 1) {
    const due = timers.shift();
    if (due === undefined) throw new Error("no timer");
    now = due.at + 30; // timers are late
    due.run();
  }
  expect(heard).toEqual([11, 12, 13]);
  end();
  expect(timers).toEqual([]);
});
