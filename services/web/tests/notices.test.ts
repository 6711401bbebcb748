import { describe, expect, test } from "vitest";
import { prominent, remarked } from "../src/notices";
import { job } from "./samples";

const news = { code: "pretrained_backbone", message: "Training starts from ImageNet weights.", remedy: null };
const warning = { code: "small_evaluation_pool", message: "Few pictures.", remedy: "Add some." };

describe("notices", () => {
  test("all stand at the top until the job has ended, then news are among the details", () => {
    for (const state of ["PREPARING", "RUNNING", "STOPPING"] as const) {
      const active = job({ state, notices: [news, warning] });
      expect([prominent(active), remarked(active)]).toEqual([[news, warning], []]);
    }
    for (const state of ["SUCCEEDED", "STOPPED", "FAILED", "CANCELED"] as const) {
      const ended = job({ state, notices: [news, warning] });
      expect([prominent(ended), remarked(ended)]).toEqual([[warning], [news]]);
    }
  });
});
