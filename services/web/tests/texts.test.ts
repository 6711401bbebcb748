import { expect, test } from "vitest";
import { JOB_STATES } from "../src/contract";
import { texts } from "../src/texts";

test.each([
  [20, "under a minute"],
  [40, "about 1 min"],
  [59 * 60, "about 59 min"],
  [3600, "about 1 h"],
  [7500, "about 2 h 5 min"],
])("%i s is %s, roughly", (seconds, shown) => expect(texts.roughly(seconds)).toBe(shown));

test("each state that the contract has means something, and no two mean the same", () => {
  const meanings = JOB_STATES.map((state) => texts.meanings[state]);
  expect(meanings).not.toContain("");
  expect(new Set(meanings).size).toBe(JOB_STATES.length);
});

test.each([
  [0, "It gets no more jobs, and ends."],
  [1, "Its job saves a checkpoint and goes on elsewhere; then it ends. Nothing is lost."],
  [2, "Its 2 jobs save a checkpoint and go on elsewhere; then it ends. Nothing is lost."],
])("draining a trainer of %i jobs is told in English", (jobs, told) =>
  expect(texts.operators.drainText(jobs)).toBe(told),
);
