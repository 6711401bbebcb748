import { describe, expect, test } from "vitest";
import { bubbleAt } from "../src/bubble";

const view = { width: 390, height: 844 };
const button = (left: number, top: number) => ({ left, top, right: left + 120, bottom: top + 36 });

describe("a bubble", () => {
  test("stands over what it belongs to and begins where that begins", () => {
    expect(bubbleAt(button(49, 300), { width: 260, height: 56 }, view)).toEqual({ left: 49, top: 236 });
  });

  test("is moved left where it would leave the window at its right, but never beyond the left edge", () => {
    expect(bubbleAt(button(260, 300), { width: 260, height: 56 }, view).left).toBe(390 - 8 - 260);
    expect(bubbleAt(button(-30, 300), { width: 260, height: 56 }, view).left).toBe(8);
    expect(bubbleAt(button(40, 300), { width: 380, height: 56 }, view).left).toBe(8);
  });

  test("stands under it where there is no room above", () => {
    expect(bubbleAt(button(49, 64), { width: 260, height: 56 }, view).top).toBe(108);
    expect(bubbleAt(button(49, 72), { width: 260, height: 56 }, view).top).toBe(8);
  });
});
