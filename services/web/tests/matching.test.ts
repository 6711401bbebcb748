import { describe, expect, test } from "vitest";
import { COLOURS, DASHES, lookOf, looksOf } from "../src/colours";
import type { EvaluationPicture, FoundBox, TrueBox } from "../src/contract";
import {
  confusionOf,
  type Corners,
  figuresOf,
  iou,
  judge,
  judgeAll,
  labelsOf,
  shows,
  worstFirst,
} from "../src/matching";

/** Corners of a box that is an eighth high, from x to x + width. */
const at = (x: number, width = 0.1): Corners => ({ ymin: 0, xmin: x, ymax: 0.125, xmax: x + width });
const drawn = (label: string, x: number, width?: number): TrueBox => ({ label, ...at(x, width) });
const found = (label: string, score: number, x: number, width?: number): FoundBox => ({
  label,
  score,
  ...at(x, width),
});
const picture = (boxes: TrueBox[], number = 0): EvaluationPicture => ({
  number,
  dataset_id: "d1",
  dataset: "Gym",
  file: `${number}.jpg`,
  width: 640,
  height: 480,
  boxes,
});
const matches = (judged: readonly { match: string | null }[]) => judged.map(({ match }) => match);

describe("IoU", () => {
  test.each([
    ["the same box", at(0.2), at(0.2), 1],
    ["half of it", at(0.2), at(0.2, 0.05), 0.5],
    ["shifted by half", at(0.2), at(0.25), 1 / 3],
    ["side by side", at(0.2), at(0.3), 0],
    ["far away", at(0), at(0.8), 0],
    ["a box without an area", at(0.2, 0), at(0.2, 0), 0],
    ["corners the wrong way round", at(0.3, -0.1), at(0.2), 0],
  ])("%s", (_, a, b, expected) => {
    expect(iou(a, b)).toBeCloseTo(expected, 9);
    expect(iou(b, a)).toBeCloseTo(expected, 9);
  });
});

describe("a picture", () => {
  test("without any box is right", () => {
    const judged = judge(picture([]), [], 0.5);
    expect([judged.truth, judged.found, judged.missed, judged.wrong]).toEqual([[], [], 0, 0]);
  });

  test("a box that is found is a hit from just half an overlap on", () => {
    expect(judge(picture([drawn("Ball", 0.25, 0.25)]), [found("Ball", 0.9, 0.25, 0.125)], 0.5).missed).toBe(0);
    const less = judge(picture([drawn("Ball", 0.25, 0.25)]), [found("Ball", 0.9, 0.25, 0.12)], 0.5);
    expect([less.missed, less.wrong]).toEqual([1, 1]);
  });

  test("only the threshold and what is above it counts", () => {
    const boxes = [found("Ball", 0.49, 0.1), found("Ball", 0.5, 0.3)];
    const judged = judge(picture([drawn("Ball", 0.1), drawn("Ball", 0.3)]), boxes, 0.5);
    expect(judged.found.map(({ box }) => box.score)).toEqual([0.5]);
    expect(matches(judged.truth)).toEqual([null, "Ball"]);
    expect([judged.missed, judged.wrong]).toEqual([1, 0]);
  });

  test("of duplicates the one with the highest score is the hit, however much the others overlap", () => {
    const judged = judge(picture([drawn("Ball", 0.1)]), [found("Ball", 0.6, 0.1), found("Ball", 0.9, 0.11)], 0.5);
    expect(judged.found.map(({ box, match }) => [box.score, match])).toEqual([
      [0.9, "Ball"],
      [0.6, null],
    ]);
    expect([judged.missed, judged.wrong]).toEqual([0, 1]);
  });

  test("of equal scores the one that comes first chooses first", () => {
    const boxes = [found("Ball", 0.9, 0.12), found("Ball", 0.9, 0.1)];
    const judged = judge(picture([drawn("Ball", 0.1)]), boxes, 0.5);
    expect(judged.found.map(({ box, match }) => [box.xmin, match])).toEqual([
      [0.12, "Ball"],
      [0.1, null],
    ]);
  });

  test("a box takes the true one that it overlaps most, and the next one what is left", () => {
    const truth = [drawn("Ball", 0.1, 0.2), drawn("Ball", 0.15, 0.2)];
    const judged = judge(picture(truth), [found("Ball", 0.9, 0.15, 0.2), found("Ball", 0.8, 0.14, 0.2)], 0.5);
    expect([judged.missed, judged.wrong]).toEqual([0, 0]);
  });

  test("the right label goes before a higher score with a wrong one", () => {
    const judged = judge(picture([drawn("Ball", 0.1)]), [found("Cube", 0.9, 0.1), found("Ball", 0.6, 0.1)], 0.5);
    expect(judged.found.map(({ box, match }) => [box.label, match])).toEqual([
      ["Cube", null],
      ["Ball", "Ball"],
    ]);
  });

  test("what is found under another label is missed and wrong, and told as a mix-up", () => {
    const judged = judge(picture([drawn("Ball", 0.1)]), [found("Cube", 0.9, 0.1)], 0.5);
    expect(matches(judged.truth)).toEqual(["Cube"]);
    expect(matches(judged.found)).toEqual(["Ball"]);
    expect([judged.missed, judged.wrong]).toEqual([1, 1]);
  });

  test("the given boxes stay as they are", () => {
    const boxes = Object.freeze([found("Ball", 0.5, 0.1), found("Ball", 0.9, 0.3)]);
    expect(judge(picture([]), boxes, 0).found.map(({ box }) => box.score)).toEqual([0.9, 0.5]);
    expect(boxes[0]?.score).toBe(0.5);
  });
});

describe("many pictures", () => {
  const pictures = [
    picture([drawn("Ball", 0.1)], 0),
    picture([drawn("Ball", 0.1), drawn("Cube", 0.5)], 1),
    picture([], 2),
    picture([drawn("Cube", 0.5)], 3),
  ];
  const predictions = [
    { number: 0, boxes: [found("Ball", 0.9, 0.1)] },
    { number: 1, boxes: [found("Cube", 0.8, 0.1)] },
    { number: 2, boxes: [found("Ball", 0.7, 0.1)] },
  ];
  const judged = judgeAll(pictures, predictions, 0.5);
  const labels = ["Ball", "Cube"];

  test("one that the predictions don't name has nothing found in it", () => {
    expect(judged[3]).toMatchObject({ found: [], missed: 1, wrong: 0 });
  });

  test("the worst come first; those as bad stay in order", () => {
    expect(worstFirst(judged).map((each) => each.picture.number)).toEqual([1, 2, 3, 0]);
    expect(judged.map((each) => each.picture.number)).toEqual([0, 1, 2, 3]);
  });

  test("the matrix counts each object once: rows are true labels, the background comes last", () => {
    expect(confusionOf(judged, labels).counts).toEqual([
      [1, 1, 0],
      [0, 0, 2],
      [1, 0, 0],
    ]);
  });

  test("its cells say which pictures are concerned", () => {
    const of = (truth: string | null, what: string | null) =>
      judged.filter((each) => shows(each, { truth, found: what })).map((each) => each.picture.number);
    expect(of("Ball", "Cube")).toEqual([1]);
    expect(of("Cube", null)).toEqual([1, 3]);
    expect(of(null, "Ball")).toEqual([2]);
    expect(of("Cube", "Cube")).toEqual([]);
  });

  test("precision and recall of each label; none where there is nothing to divide by", () => {
    expect(figuresOf(confusionOf(judged, labels))).toEqual([
      { label: "Ball", truth: 2, found: 2, hits: 1, precision: 0.5, recall: 0.5 },
      { label: "Cube", truth: 2, found: 1, hits: 0, precision: 0, recall: 0 },
    ]);
    const empty = figuresOf(confusionOf([], ["Ball"]));
    expect(empty).toEqual([{ label: "Ball", truth: 0, found: 0, hits: 0, precision: null, recall: null }]);
    expect(confusionOf([], []).counts).toEqual([[0]]);
  });

  test("a label that only boxes have comes after those of the model", () => {
    const odd = [{ number: 0, boxes: [found("Zebra", 0.9, 0.1), found("Ant", 0.2, 0.1)] }];
    expect(labelsOf(["Cube", "Ball", "Cube"], pictures, odd)).toEqual(["Cube", "Ball", "Ant", "Zebra"]);
    expect(() => confusionOf(judgeAll(pictures, odd, 0.5), labels)).toThrow("not among the labels: Ball or Zebra");
  });
});

describe("looks of labels", () => {
  test("are the same in any order", () => {
    const one = looksOf(["Cube", "Ball"]);
    const other = looksOf(["Ball", "Cube", "Ball"]);
    expect([...one]).toEqual([...other]);
    expect(lookOf(one, "Ball")).not.toEqual(lookOf(one, "Cube"));
    expect(lookOf(one, "Cone")).toEqual(lookOf(one, "Ball"));
  });

  test("differ by colour, then by dashes, and begin again after both", () => {
    const many = Array.from({ length: COLOURS * DASHES + 1 }, (_, place) => `label ${String(place).padStart(2, "0")}`);
    const looks = [...looksOf(many).values()];
    expect(new Set(looks.map((look) => JSON.stringify(look))).size).toBe(COLOURS * DASHES);
    expect(looks[COLOURS - 1]).toEqual({ colour: COLOURS - 1, dash: 0 });
    expect(looks[COLOURS]).toEqual({ colour: 0, dash: 1 });
    expect(looks.at(-1)).toEqual(looks[0]);
  });
});
