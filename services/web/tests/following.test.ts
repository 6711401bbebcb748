import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Following, type FollowingParts } from "../src/following";

/** A server whose answers come when the test says so. */
function follow(paces: Pick<FollowingParts<string>, "restMs" | "everyMs"> = {}) {
  const asked: { answer: (value: string) => void; fail: (error: unknown) => void; signal: AbortSignal }[] = [];
  const told: string[] = [];
  const failed: unknown[] = [];
  const following = new Following<string>({
    ask: (signal) => new Promise((answer, fail) => asked.push({ answer, fail, signal })),
    told: (answer) => told.push(answer),
    failed: (error) => failed.push(error),
    ...paces,
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

describe("following by the clock", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("an answer that takes longer than the pause is waited for, and the pause begins after it", async () => {
    const { asked, told, following } = follow({ everyMs: 3_000 });
    following.at("1");
    await vi.advanceTimersByTimeAsync(20_000);
    expect(asked.length).toBe(1);
    expect(asked[0]?.signal.aborted).toBe(false);
    asked[0]?.answer("slow");
    await vi.advanceTimersByTimeAsync(2_999);
    expect(told).toEqual(["slow"]);
    expect(asked.length).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked.length).toBe(2);
  });

  test("after a failure it asks again too, and at once where the thing has moved", async () => {
    const { asked, failed, following } = follow({ everyMs: 3_000 });
    following.at("1");
    asked[0]?.fail("down");
    await vi.advanceTimersByTimeAsync(3_000);
    expect(failed).toEqual(["down"]);
    asked[1]?.fail("down");
    await vi.advanceTimersByTimeAsync(1_000);
    following.at("2");
    expect(asked.length).toBe(3);
    asked[2]?.answer("two");
    await vi.advanceTimersByTimeAsync(2_999);
    expect(asked.length).toBe(3);
  });

  test("while nobody looks nothing is asked for; what was open is told, and whoever comes back asks at once", async () => {
    const { asked, told, following } = follow({ everyMs: 3_000 });
    following.at("1");
    following.rest();
    asked[0]?.answer("one");
    await vi.advanceTimersByTimeAsync(60_000);
    expect([told, asked.length]).toEqual([["one"], 1]);
    following.at("1");
    expect(asked.length).toBe(2);
  });

  test("however often it moves, requests are as far apart as they must be, and the last move is asked for", async () => {
    const { asked, told, following } = follow({ restMs: 2_000 });
    following.at("0");
    asked[0]?.answer("0");
    for (let move = 1; move <= 30; move += 1) {
      await vi.advanceTimersByTimeAsync(100);
      following.at(String(move));
      asked[1]?.answer("some");
    }
    expect(asked.length).toBe(2);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked.length).toBe(3);
    asked[2]?.answer("last");
    await vi.advanceTimersByTimeAsync(60_000);
    expect([told, asked.length]).toEqual([["0", "some", "last"], 3]);
  });

  test("another thing needn't wait for the pause of the one before, whose timer is gone", async () => {
    const { asked, following } = follow({ restMs: 2_000 });
    following.at("1");
    asked[0]?.answer("one");
    await vi.advanceTimersByTimeAsync(100);
    following.at("2");
    following.stop();
    following.at("other");
    expect(asked.length).toBe(2);
    asked[1]?.answer("other");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked.length).toBe(2);
  });
});
