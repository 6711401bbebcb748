import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Api } from "../src/api";
import { type Leftover, type Sending, Uploader } from "../src/sending";
import { dataset } from "./samples";

const LEFT: Leftover = {
  key: "tus::1",
  url: "/api/datasets/uploads/u1",
  name: "Gym",
  evalPercent: 20,
  size: 90,
  sent: 90,
  expires: 0,
};
const IMPORTED = { dataset: dataset(), report: {} };
const refusal = (status: number, code: string) =>
  Response.json({ error: { code, message: `It is ${code}.`, field: null } }, { status });

/** An uploader whose server answers an import as `answers` say, one by one and the last for ever; waiting takes no time. */
function open(...answers: ((pass: (minutes: number) => void) => Response | Promise<Response>)[]) {
  let minutes = 0;
  const pass = (more: number) => void (minutes += more);
  const asked: string[] = [];
  const states: Sending[] = [];
  const imported: unknown[] = [];
  const fetcher: typeof fetch = async (_, options) => {
    asked.push(options?.method ?? "GET");
    if (options?.method === "DELETE") return new Response(null, { status: 204 });
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer === undefined) throw new Error("nobody answers");
    return answer(pass);
  };
  const uploader = new Uploader({
    api: new Api(fetcher),
    onImported: (one) => imported.push(one),
    wait: async () => pass(0.05),
    now: () => minutes * 60_000,
  });
  uploader.subscribe(() => states.push(uploader.state));
  return { uploader, asked, states, imported, minutes: () => minutes };
}

const unreachable = (): Response => {
  throw new TypeError("Failed to fetch");
};
const reading = (waiting: boolean): Sending => ({ kind: "reading", name: "Gym", waiting });

beforeEach(() => {
  vi.stubGlobal("location", { href: "http://yard/", origin: "http://yard" });
  vi.stubGlobal("window", globalThis);
  const kept = new Map([[LEFT.key, JSON.stringify({ uploadUrl: LEFT.url, metadata: {} })]]);
  vi.stubGlobal("localStorage", {
    get length() {
      return kept.size;
    },
    key: (index: number) => [...kept.keys()][index] ?? null,
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  });
});
afterEach(() => void vi.unstubAllGlobals());

describe("an import", () => {
  test("says that the server doesn't answer, and no longer once it does", async () => {
    const { uploader, states, imported } = open(
      unreachable,
      () => refusal(409, "import_in_progress"),
      () => refusal(503, "unavailable"),
      () => Response.json(IMPORTED),
    );
    await uploader.finish(LEFT);
    expect(states).toEqual([
      reading(false),
      reading(true),
      reading(false),
      reading(true),
      { kind: "done", imported: IMPORTED },
    ]);
    expect(imported).toEqual([IMPORTED]);
    expect(localStorage.length).toBe(0); // nothing is left to go on with
  });

  test("is given up after minutes without a word, and can go on", async () => {
    const { uploader, asked, minutes } = open(unreachable);
    await uploader.finish(LEFT);
    expect(uploader.state).toMatchObject({ kind: "broken", name: "Gym", error: { code: "unreachable" } });
    expect(minutes()).toBeGreaterThanOrEqual(5);
    expect(minutes()).toBeLessThan(6);
    expect(asked).not.toContain("DELETE"); // what was sent is kept
  });

  test("is given up soon too where each try hangs until its time is up", async () => {
    const { uploader, minutes } = open((pass) => {
      pass(1);
      return unreachable();
    });
    await uploader.finish(LEFT);
    expect(uploader.state.kind).toBe("broken");
    expect(minutes()).toBeLessThan(7);
  });

  test("that the server is at takes half an hour at the most", async () => {
    const { uploader, asked, minutes } = open(() => refusal(409, "import_in_progress"));
    await uploader.finish(LEFT);
    expect(uploader.state).toMatchObject({ kind: "broken", error: { code: "import_in_progress" } });
    expect(minutes()).toBeGreaterThanOrEqual(30);
    expect(minutes()).toBeLessThan(31);
    expect(asked).not.toContain("DELETE");
  });

  test.each(["cancel", "reset"] as const)("that is left by %s shows nothing of its end", async (leave) => {
    let answer: (response: Response) => void = () => {};
    const { uploader, asked, states } = open(() => new Promise<Response>((given) => (answer = given)));
    const import_ = uploader.finish(LEFT);
    expect(uploader.state).toEqual(reading(false));
    await uploader[leave]();
    answer(refusal(422, "too_few_pictures"));
    await import_;
    expect(states).toEqual([reading(false), { kind: "idle" }]);
    // Who cancels gives it up there, too; who signs out finds it again.
    expect(asked.filter((method) => method === "DELETE").length).toBe(leave === "cancel" ? 1 : 0);
  });
});
