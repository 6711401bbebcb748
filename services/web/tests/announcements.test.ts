import { describe, expect, test } from "vitest";
import { dismiss, dismissed, inForce } from "../src/announcements";
import { announcement, AT } from "./samples";

const NOW = Date.parse(AT);
const at = (seconds: number) => new Date(NOW + 1000 * seconds).toISOString();

describe("announcements", () => {
  test("are over at their time, or never", () => {
    const all = [announcement({ id: "ever" }), announcement({ id: "soon", until: at(60) })];
    expect(inForce(all, NOW + 59_000).map((each) => each.id)).toEqual(["ever", "soon"]);
    expect(inForce(all, NOW + 60_000).map((each) => each.id)).toEqual(["ever"]);
  });

  test("that were dismissed are remembered, as long as they are announced", () => {
    const kept = new Map<string, string>();
    const storage = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
    } as Storage;
    const [one, two, three] = ["1", "2", "3"].map((id) => announcement({ id })) as [
      ReturnType<typeof announcement>,
      ReturnType<typeof announcement>,
      ReturnType<typeof announcement>,
    ];
    expect(dismissed(storage)).toEqual(new Set());
    dismiss(storage, "1", [one, two]);
    expect(dismissed(storage)).toEqual(new Set(["1"]));
    expect(dismiss(storage, "3", [two, three])).toEqual(new Set(["3"]));
    expect(dismissed(storage)).toEqual(new Set(["3"]));
  });
});
