import { describe, expect, test } from "vitest";
import { csvOf, graphsOf, smoothed } from "../src/graphs";
import { ancestorsOf, childrenOf } from "../src/lineage";
import { fileStem, snippets } from "../src/snippets";
import { job, point } from "./samples";

const source = (id: string, ...steps: number[]) => ({
  id,
  name: id,
  points: steps.map((step) => point({ model_id: id, step })),
});

describe("graphs", () => {
  test("there is one for each metric, evaluation dashed beside training, nothing for what can't be measured", () => {
    const graphs = graphsOf([source("a", 100, 200)], 0);
    expect(graphs.map((graph) => graph.name)).toEqual([
      "DetectionBoxes_Precision/mAP",
      "Loss/total_loss",
      "learning_rate",
    ]);
    const loss = graphs.find((graph) => graph.group === "loss");
    expect(loss?.steps).toEqual([100, 200]);
    expect(loss?.series.map(({ name, dashed, values }) => [name, dashed, values])).toEqual([
      ["Training", false, [1.2, 1.2]],
      ["Evaluation", true, [1.4, 1.4]],
    ]);
  });

  test("models that are compared have a colour each and their own steps", () => {
    const loss = graphsOf([source("a", 100, 200), source("b", 150)], 0).find((graph) => graph.group === "loss");
    expect(loss?.steps).toEqual([100, 150, 200]);
    expect(loss?.series.map(({ line, values }) => [line, values])).toEqual([
      [0, [1.2, null, 1.2]],
      [0, [1.4, null, 1.4]],
      [1, [null, 1.2, null]],
      [1, [null, 1.4, null]],
    ]);
  });
});

describe("smoothing", () => {
  test("none changes nothing", () => expect(smoothed([1, null, 3], 0)).toEqual([1, null, 3]));

  test("keeps what is constant as it is, from the first value on, and keeps gaps", () => {
    const values = smoothed([2, 2, null, 2], 0.9);
    expect(values[2]).toBeNull();
    for (const value of [values[0], values[1], values[3]]) expect(value).toBeCloseTo(2, 12);
  });

  test("follows slowly", () => {
    const [first, second] = smoothed([0, 1], 0.5);
    expect(first).toBe(0);
    expect(second).toBeCloseTo((0.5 * 1) / 0.75, 12);
  });
});

describe("a file of metrics", () => {
  test("has a line a checkpoint and a column a metric", () => {
    const [head, row, ...rest] = csvOf([source("a", 100)]).split("\r\n");
    expect(head).toBe(
      "model,step,saved_at,stepping_seconds,training Loss/total_loss,training learning_rate," +
        "evaluation DetectionBoxes_Precision/mAP,evaluation DetectionBoxes_Precision/mAP (small),evaluation Loss/total_loss",
    );
    expect(row).toBe("a,100,2026-03-01T12:00:00Z,50,1.2,0.02,0.3,-1,1.4");
    expect(rest).toEqual([""]);
  });

  test("holds no formula, and quotes what has to be", () => {
    const csv = csvOf([{ id: "a", name: '=HYPERLINK("x"), y', points: [point()] }]);
    expect(csv.split("\r\n")[1]).toContain(`"'=HYPERLINK(""x""), y",100`);
  });
});

describe("lineage", () => {
  const family = new Map(
    [
      job({ id: "a" }),
      job({ id: "b", parent_id: "a" }),
      job({ id: "c", parent_id: "b", created_at: "2026-03-02T12:00:00Z" }),
      job({ id: "d", parent_id: "b", created_at: "2026-03-01T13:00:00Z" }),
      job({ id: "e", parent_id: "gone" }),
    ].map((each) => [each.id, each] as const),
  );
  const of = (id: string) => family.get(id) ?? job();
  const ids = (jobs: { id: string }[]) => jobs.map((each) => each.id);

  test("goes back to the first of the line and on to the children, oldest first", () => {
    expect(ids(ancestorsOf(family, of("c")))).toEqual(["a", "b"]);
    expect(ids(childrenOf(family, "b"))).toEqual(["d", "c"]);
    expect(childrenOf(family, "c")).toEqual([]);
  });

  test("ends where a parent is gone, and never runs in a ring", () => {
    expect(ancestorsOf(family, of("e"))).toEqual([]);
    const ring = new Map([
      ["x", job({ id: "x", parent_id: "y" })],
      ["y", job({ id: "y", parent_id: "x" })],
    ]);
    expect(ids(ancestorsOf(ring, job({ id: "z", parent_id: "x" })))).toEqual(["y", "x"]);
  });
});

describe("code for a robot", () => {
  test.each(["ftc", "python"] as const)("%s names the file, the labels in their order, and the input", (key) => {
    const model = job({ description: "Balls & cubes #2", labels: ["Ball", 'Cube "red"'] });
    const code = snippets(model, 300).find((each) => each.key === key)?.code ?? "";
    expect(code).toContain("Balls-cubes-2-float32.tflite");
    expect(code).toContain('"Ball", "Cube \\"red\\""');
  });

  test("a description without a letter that a file may have still has a name", () => {
    expect(fileStem("¡¿!")).toBe("model");
    expect(fileStem("  v1.2_b ")).toBe("v1.2_b");
  });
});
