import { Builder } from "flatbuffers";
import { describe, expect, test } from "vitest";
import { above, fromOutputs, inPixels, toInput } from "../src/detections";
import { cameraProblem } from "../src/looking";
import { CUSTOMARY, isModelFile, normalisation } from "../src/model-file";
import { resize } from "../src/resize";
import { texts } from "../src/texts";

describe("resize", () => {
  const from = { width: 5, height: 4 };
  const rgba = new Uint8ClampedArray(
    Array.from({ length: 20 }, (_, place) => {
      const [x, y] = [place % 5, Math.floor(place / 5)];
      return [(37 * x + 11 * y + 5 * x * y) % 256, (91 * x + 53 * y) % 256, (13 * x * x + 29 * y) % 256, 255];
    }).flat(),
  );

  // What Pillow 12 makes of the same picture: Image.resize(size, Image.Resampling.BILINEAR).
  test.each([
    [3, 2, "25 77 27 89 143 79 153 107 169 46 160 72 122 124 124 198 128 110"],
    [
      2,
      7,
      "37 79 22 111 87 126 43 98 32 120 106 136 52 128 49 135 136 153 61 130 66 150 138 129 70 131 82 165 133 105 79 161 99 180 116 122 85 180 109 189 106 132",
    ],
  ])("to %i × %i is what Pillow makes of it", (width, height, expected) => {
    expect([...resize(rgba, from, { width, height })].join(" ")).toBe(expected);
  });

  test("to a larger size is too", () => {
    const larger = resize(rgba, from, { width: 8, height: 6 });
    expect([...larger.slice(0, 24)]).toEqual([
      0, 0, 0, 16, 40, 6, 39, 97, 15, 62, 154, 40, 86, 130, 72, 109, 27, 113, 132, 68, 168, 148, 108, 208,
    ]);
    expect([...larger.slice(-6)]).toEqual([218, 83, 111, 241, 11, 39]);
  });

  test("to its own size changes nothing but drops the opacity", () => {
    expect([...resize(rgba, from, from)]).toEqual([...rgba].filter((_, place) => place % 4 !== 3));
  });
});

test("pixels become what the model takes", () => {
  expect([...toInput(new Uint8ClampedArray([0, 255, 51]), CUSTOMARY)]).toEqual([-1, 1, Math.fround(-0.6)]);
  expect([...toInput(new Uint8ClampedArray([10, 30]), { mean: 10, std: 20 })]).toEqual([0, 1]);
});

describe("detections", () => {
  const outputs = {
    boxes: [0.1, 0.2, 0.5, 0.6, -0.1, 0, 0.4, 1.2, 0, 0, 1, 1],
    classes: [1, 0, 7],
    scores: [0.4, 0.9, 0.3],
    count: 2,
  };
  const found = fromOutputs(outputs, ["ball", "cube"], (index) => `class ${index}`);

  test("are the valid ones, best first, cut off at the edges", () => {
    expect(found).toEqual([
      { label: "ball", score: 0.9, ymin: 0, xmin: 0, ymax: 0.4, xmax: 1 },
      { label: "cube", score: 0.4, ymin: 0.1, xmin: 0.2, ymax: 0.5, xmax: 0.6 },
    ]);
  });

  test("of a class without a label are named all the same", () => {
    const all = fromOutputs({ ...outputs, count: 9 }, ["ball"], texts.tryIt.unnamed);
    expect(all.map((each) => each.label)).toEqual(["ball", "class 1", "class 7"]);
  });

  test("above a score include those that have just that", () => {
    expect(above(found, 0.4)).toHaveLength(2);
    expect(above(found, 0.41)).toHaveLength(1);
    expect(above(found, 1)).toHaveLength(0);
  });

  test("in pixels of the picture", () => {
    expect(inPixels({ ymin: 0.1, xmin: 0.2, ymax: 0.5, xmax: 0.6 }, 640, 480)).toEqual({
      ymin: 48,
      xmin: 128,
      ymax: 240,
      xmax: 384,
    });
  });
});

describe("the model's file", () => {
  test("begins as TFLite files do", () => {
    expect(isModelFile(modelFile())).toBe(true);
    expect(isModelFile(new TextEncoder().encode("a text"))).toBe(false);
    expect(isModelFile(new Uint8Array())).toBe(false);
  });

  test("says how pixels are normalised", () => {
    expect(normalisation(modelFile({ mean: 10, std: 20 }))).toEqual({ mean: 10, std: 20 });
  });

  test("is taken as is the custom where it doesn't", () => {
    expect(normalisation(modelFile())).toEqual(CUSTOMARY);
    expect(normalisation(modelFile("no unit"))).toEqual(CUSTOMARY);
  });

  interface Given {
    mean: number;
    std: number;
  }

  /** A TFLite file without a graph, but with metadata as our exporter writes them. */
  function modelFile(given?: Given | "no unit"): Uint8Array {
    const made = new Builder(1024);
    const buffers = [table(made, 1, [])];
    const entries: number[] = [];
    if (given !== undefined) {
      const content = made.createByteVector(metadata(given));
      buffers.push(table(made, 1, [[0, content]]));
      const name = made.createString("TFLITE_METADATA");
      made.startObject(2);
      made.addFieldOffset(0, name, 0);
      made.addFieldInt32(1, 1, 0);
      entries.push(made.endObject());
    }
    const [bufferList, entryList] = [offsets(made, buffers), offsets(made, entries)];
    const root = table(made, 7, [
      [4, bufferList],
      [6, entryList],
    ]);
    made.finish(root, "TFL3");
    return made.asUint8Array().slice();
  }

  function metadata(given: Given | "no unit"): Uint8Array {
    const made = new Builder(256);
    const units: number[] = [];
    if (given !== "no unit") {
      const [mean, std] = [given.mean, given.std].map((value) => {
        made.startVector(4, 1, 4);
        made.addFloat32(value);
        return made.endVector();
      });
      const options = table(made, 2, [
        [0, mean ?? 0],
        [1, std ?? 0],
      ]);
      made.startObject(2);
      made.addFieldInt8(0, 1, 0);
      made.addFieldOffset(1, options, 0);
      units.push(made.endObject());
    }
    const image = table(made, 7, [[4, offsets(made, units)]]);
    const graph = table(made, 10, [[2, offsets(made, [image])]]);
    made.finish(table(made, 8, [[3, offsets(made, [graph])]]), "M001");
    return made.asUint8Array().slice();
  }

  function table(made: Builder, slots: number, fields: [slot: number, offset: number][]): number {
    made.startObject(slots);
    for (const [slot, offset] of fields) made.addFieldOffset(slot, offset, 0);
    return made.endObject();
  }

  function offsets(made: Builder, items: number[]): number {
    made.startVector(4, items.length, 4);
    for (const item of items.toReversed()) made.addOffset(item);
    return made.endVector();
  }
});

test.each([
  ["NotAllowedError", texts.tryIt.cameraRefused],
  ["NotFoundError", texts.tryIt.cameraMissing],
  ["NotReadableError", texts.tryIt.cameraMissing],
  ["AbortError", texts.tryIt.cameraFailed("why")],
])("the webcam's %s in plain words", (name, said) => {
  expect(cameraProblem(new DOMException("why", name))).toBe(said);
});
