import { describe, expect, test } from "vitest";
import { Following } from "../src/following";

/** A server whose answers come when the test says so. */
function follow() {
  const asked: { answer: (value: string) => void; fail: (error: unknown) => void; signal: AbortSignal }[] = [];
  const told: string[] = [];
  const failed: unknown[] = [];
  const following = new Following<string>({
    ask: (signal) => new Promise((answer, fail) => asked.push({ answer, fail, signal })),
    told: (answer) => told.push(answer),
    failed: (error) => failed.push(error),
  });
  return { asked, told, failed, following };
}

const soon = () => new Promise((done) => setTimeout(done, 0));

describe("following", () => {
  test("asks once for each version", async () => {
    const { asked, told, following } = follow();
    following.at("1");
    following.at("1");
    asked[0]?.answer("one");
    await soon();
    following.at("1");
    expect(told).toEqual(["one"]);
    expect(asked.length).toBe(1);
    following.at("2");
    expect(asked.length).toBe(2);
  });

  test("what moves faster than answers come is answered all the same, and asked for once more at the end", async () => {
    const { asked, told, following } = follow();
    for (const version of ["1", "2", "3", "4"]) following.at(version);
    expect(asked.length).toBe(1);
    asked[0]?.answer("one");
    await soon();
    expect(told).toEqual(["one"]);
    expect(asked.length).toBe(2);
    asked[1]?.answer("four");
    await soon();
    expect(told).toEqual(["one", "four"]);
    expect(asked.length).toBe(2);
  });

  test("a failure is told, and the next version is asked for", async () => {
    const { asked, failed, following } = follow();
    following.at("1");
    asked[0]?.fail("down");
    await soon();
    expect(failed).toEqual(["down"]);
    following.at("2");
    expect(asked.length).toBe(2);
  });

  test("whoever stops hears nothing more, and may begin anew", async () => {
    const { asked, told, failed, following } = follow();
    following.at("1");
    following.stop();
    expect(asked[0]?.signal.aborted).toBe(true);
    following.at("1");
    asked[0]?.fail("aborted");
    asked[1]?.answer("one");
    await soon();
    expect([told, failed]).toEqual([["one"], []]);
  });
});
