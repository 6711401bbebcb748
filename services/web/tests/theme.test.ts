import { describe, expect, test, vi } from "vitest";
import { type Theme, Themes } from "../src/theme";

function opened({ dark = false, theme, storage }: { dark?: boolean; theme?: Theme; storage?: () => Storage } = {}) {
  const kept = new Map<string, string>();
  const root = { dataset: (theme === undefined ? {} : { theme }) as DOMStringMap };
  const system = Object.assign(new EventTarget(), { matches: dark });
  const tabs = new EventTarget();
  const themes = new Themes({
    root,
    system: system as unknown as MediaQueryList,
    storage:
      storage ??
      (() =>
        ({
          setItem: (key: string, value: string) => kept.set(key, value),
          removeItem: (key: string) => kept.delete(key),
        }) as unknown as Storage),
    window: tabs,
  });
  const told = vi.fn();
  const end = themes.subscribe(told);
  return { themes, root, system, tabs, kept, told, end };
}

describe("the theme", () => {
  test("is the system's until one is chosen, and again when that is taken back", () => {
    const { themes, root, kept } = opened({ dark: true });
    expect([themes.chosen, themes.dark]).toEqual(["system", true]);
    themes.choose("light");
    expect([themes.chosen, themes.dark, root.dataset["theme"]]).toEqual(["light", false, "light"]);
    expect([...kept.values()]).toEqual(["light"]);
    themes.choose("system");
    expect([themes.chosen, themes.dark, root.dataset["theme"]]).toEqual(["system", true, undefined]);
    expect(kept.size).toBe(0);
  });

  test("is the one that was set before the first paint; a word that is none is the system's", () => {
    expect(opened({ theme: "dark" }).themes.dark).toBe(true);
    expect(opened({ theme: "pink" as Theme }).themes.chosen).toBe("system");
  });

  test("is told of when the system's changes, and not after the end", () => {
    const { system, told, themes, end } = opened();
    system.matches = true;
    system.dispatchEvent(new Event("change"));
    expect([told.mock.calls.length, themes.dark]).toEqual([1, true]);
    end();
    themes.choose("light");
    expect(told).toHaveBeenCalledTimes(1);
  });

  test("follows what another tab chose, and nothing else that it keeps", () => {
    const { tabs, themes, told } = opened();
    const says = (key: string | null, newValue: string | null) =>
      tabs.dispatchEvent(Object.assign(new Event("storage"), { key, newValue }));
    says("theme", "dark");
    says("another", "light");
    expect([themes.chosen, told.mock.calls.length]).toEqual(["dark", 1]);
    says(null, null);
    expect(themes.chosen).toBe("system");
  });

  test("is chosen for now where a browser keeps nothing", () => {
    const { themes } = opened({
      storage: () => {
        throw new DOMException("denied", "SecurityError");
      },
    });
    themes.choose("dark");
    expect(themes.chosen).toBe("dark");
  });
});
