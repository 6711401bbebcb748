import { describe, expect, test } from "vitest";
import { placeAfter, spanOf } from "../src/zoom";

describe("a part of the steps", () => {
  test.each([
    [150, 450, [150, 450]],
    [450, 150, [150, 450]],
    [149.6, 450.4, [150, 450]],
    [-20, 300, [0, 300]],
    [300, 9000, [300, 600]],
    [300, 300, [300, 301]],
    [600, 600, [599, 600]],
    [0, 0, [0, 1]],
    [0, 600, null],
    [-5, 700, null],
  ])("between %d and %d of 600 is %o", (one, other, span) => expect(spanOf(one, other, 600)).toEqual(span));

  test("of no steps at all is all", () => expect(spanOf(0, 0, 0)).toBeNull());
});

describe("keys among 100, 200, 300, 400", () => {
  const steps = [100, 200, 300, 400];

  test.each([
    ["ArrowRight", 0, 1],
    ["ArrowRight", 3, 3],
    ["ArrowLeft", 1, 0],
    ["ArrowLeft", 0, 0],
    ["ArrowLeft", null, 2],
    ["ArrowRight", null, 3],
    ["Home", 2, 0],
    ["End", 0, 3],
    ["Enter", 1, null],
  ])("%s leads from %s to %s", (key, at, place) => expect(placeAfter(key, steps, at)).toBe(place));

  test.each([
    ["Home", 3, 1],
    ["End", 0, 2],
    ["ArrowRight", 2, 2],
    ["ArrowLeft", 3, 2],
  ])("%s stays in the part that is shown", (key, at, place) =>
    expect(placeAfter(key, steps, at, [150, 350])).toBe(place),
  );

  test("lead nowhere where no step is shown", () => {
    expect(placeAfter("End", steps, null, [410, 600])).toBeNull();
    expect(placeAfter("Home", steps, null, [210, 290])).toBeNull();
    expect(placeAfter("Home", [], null)).toBeNull();
  });
});
