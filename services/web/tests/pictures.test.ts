import { describe, expect, test, vi } from "vitest";
import { Api } from "../src/api";
import { beside, mosaic, turn } from "../src/mosaic";
import { Ranges, rangesOf } from "../src/ranges";
import { ALL_PICTURES, hashOf, parseRoute } from "../src/route";
import { Slots } from "../src/slots";

describe("mosaic", () => {
  test.each([
    [343, 2, 166.5],
    [900, 5, 172],
    [1500, 8, 178.75],
  ])("a grid %i wide has %i columns of %d that fill it", (width, columns, cell) => {
    const grid = mosaic(width, 10, 168, 26);
    expect(grid).toEqual({ columns, cellWidth: cell, rowHeight: Math.round(cell * 0.75) + 26 });
    expect(grid.columns * grid.cellWidth + (columns - 1) * 10).toBeCloseTo(width);
  });

  test("a width that isn't known yet breaks nothing", () => {
    expect(mosaic(0, 10, 168, 26)).toMatchObject({ columns: 2, cellWidth: 1 });
  });

  test("neighbours stay within the list", () => {
    expect(beside(0, "previous", 5)).toBe(0);
    expect(beside(3, "previous", 5)).toBe(2);
    expect(beside(4, "next", 5)).toBe(4);
    expect(beside(2, "first", 5)).toBe(0);
    expect(beside(2, "last", 5)).toBe(4);
    expect(beside(0, "last", 0)).toBe(0);
  });

  test("arrow keys go round the boxes by way of none", () => {
    expect([turn(null, 1, 2), turn(0, 1, 2), turn(1, 1, 2)]).toEqual([0, 1, null]);
    expect([turn(null, -1, 2), turn(0, -1, 2)]).toEqual([1, null]);
    expect(turn(null, 1, 0)).toBeNull();
  });
});

describe("slots", () => {
  test("only so many run; the next begins when one ends, and who has left never does", () => {
    const slots = new Slots(2);
    const begun: string[] = [];
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => slots.enter(() => begun.push(name)));
    expect(begun).toEqual(["a", "b"]);
    c?.();
    a?.();
    expect(begun).toEqual(["a", "b", "d"]);
    a?.(); // again: it makes no more room
    slots.enter(() => begun.push("e"));
    expect(begun).toEqual(["a", "b", "d"]);
    b?.();
    d?.();
    expect(begun).toEqual(["a", "b", "d", "e"]);
  });
});

describe("ranges", () => {
  interface Asked {
    offset: number;
    signal: AbortSignal;
    answer: (items: number[]) => Promise<void>;
    fail: () => Promise<void>;
  }

  function list(total: number) {
    const asked: Asked[] = [];
    const changed = vi.fn();
    const settled = () => new Promise<void>((done) => setTimeout(done, 0));
    const ranges = new Ranges<number>({
      size: 10,
      atOnce: 2,
      changed,
      fetch: (offset, _limit, signal) =>
        new Promise((resolve, reject) => {
          asked.push({
            offset,
            signal,
            answer: (items) => (resolve({ items, total }), settled()),
            fail: () => (reject(new Error("away")), settled()),
          });
        }),
    });
    return { ranges, asked, changed };
  }

  const tens = (from: number) => Array.from({ length: 10 }, (_, index) => from + index);

  test("what is looked at is fetched once, two ranges at a time", async () => {
    const { ranges, asked, changed } = list(100);
    ranges.want(5, 35);
    expect(asked.map((one) => one.offset)).toEqual([0, 10]);
    await asked[0]?.answer(tens(0));
    expect(asked.map((one) => one.offset)).toEqual([0, 10, 20]);
    expect([ranges.get(7), ranges.get(17), ranges.total]).toEqual([7, undefined, 100]);
    expect(changed).toHaveBeenCalledTimes(1);
    await asked[1]?.answer(tens(10));
    await asked[2]?.answer(tens(20));
    ranges.want(5, 35);
    expect(asked.map((one) => one.offset)).toEqual([0, 10, 20, 30]);
  });

  test("what was scrolled past before it came is given up, and its late answer ignored", async () => {
    const { ranges, asked, changed } = list(5000);
    ranges.want(0, 10);
    ranges.want(4000, 4010);
    expect(asked[0]?.signal.aborted).toBe(true);
    await asked[0]?.answer(tens(0));
    expect(ranges.get(0)).toBeUndefined();
    await asked[1]?.answer(tens(4000));
    expect(ranges.get(4003)).toBe(4003);
    expect(changed).toHaveBeenCalledTimes(1);
  });

  test("a failure stops it until it is asked again", async () => {
    const { ranges, asked } = list(30);
    ranges.want(0, 30);
    await asked[0]?.fail();
    expect(ranges.problem).toBeInstanceOf(Error);
    expect(asked).toHaveLength(2);
    ranges.again();
    expect(asked.map((one) => one.offset)).toEqual([0, 10, 0]);
    await asked[2]?.answer(tens(0));
    expect([ranges.problem, ranges.get(3)]).toEqual([null, 3]);
  });

  test("nothing past the end is asked for, and nothing comes after its end", async () => {
    const { ranges, asked, changed } = list(12);
    ranges.want(0, 1);
    await asked[0]?.answer(tens(0));
    ranges.want(0, 500);
    expect(asked.map((one) => one.offset)).toEqual([0, 10]);
    ranges.end();
    await asked[1]?.answer([10, 11]);
    expect(changed).toHaveBeenCalledTimes(1);
  });

  test("which ranges hold items", () => {
    expect(rangesOf(-3, 1, 10)).toEqual([0]);
    expect(rangesOf(9, 11, 10)).toEqual([0, 1]);
    expect(rangesOf(10, 20, 10)).toEqual([1]);
    expect(rangesOf(4, 4, 10)).toEqual([0]);
    expect(rangesOf(20, 10, 10)).toEqual([]);
  });
});

describe("a dataset's address", () => {
  test.each([
    ["#/datasets/d1", ALL_PICTURES],
    ["#/datasets/d1?label=Red+ball&pool=eval", { label: "Red ball", pool: "eval", negatives: false }],
    ["#/datasets/d1?negatives=true", { label: null, pool: null, negatives: true }],
  ] as const)("%s is a route and comes from it", (hash, filter) => {
    const route = parseRoute(hash);
    expect(route).toEqual({ page: "dataset", id: "d1", filter });
    expect(route === null ? null : hashOf(route)).toBe(hash);
  });

  test("what makes no sense in it is left out; an id that is none is no page", () => {
    const route = parseRoute("#/datasets/d1?pool=test&label=Ball&negatives=true");
    expect(route).toMatchObject({ filter: { label: null, pool: null, negatives: true } });
    expect(parseRoute("#/datasets/d%2F1")).toBeNull();
    expect(parseRoute("#/datasets/d1/pictures")).toBeNull();
  });
});

describe("requests about pictures and uploads", () => {
  const signal = new AbortController().signal;

  test("a range names what is wanted and nothing else", async () => {
    const answer = { pictures: [], offset: 200, total: 0 };
    const fetcher = vi.fn<typeof fetch>(async () => Response.json(answer));
    const api = new Api(fetcher);
    await api.pictures("d1", { label: "Red ball", pool: "eval", negatives: false }, 200, 100, signal);
    await api.pictures("d1", { label: null, pool: null, negatives: true }, 0, 100, signal);
    expect(fetcher.mock.calls.map(([path]) => path)).toEqual([
      "/api/datasets/d1/pictures?offset=200&limit=100&label=Red+ball&pool=eval",
      "/api/datasets/d1/pictures?offset=0&limit=100&negative=true",
    ]);
    expect(api.pictureUrl("d1", 7, "thumb")).toBe("/api/datasets/d1/pictures/7.jpg?size=thumb");
    expect(api.pictureUrl("d1", 7, "full")).toBe("/api/datasets/d1/pictures/7.jpg");
  });

  test("an import is asked for with its upload as the key, so that asking again is harmless", async () => {
    const fetcher = vi.fn<typeof fetch>(async () => Response.json({}));
    await new Api(fetcher).importUpload("0".repeat(32), "Field & hall", 25, signal);
    const [path, options] = fetcher.mock.calls[0] ?? [];
    expect(path).toBe(`/api/datasets?upload=${"0".repeat(32)}&name=Field+%26+hall&eval_percent=25&seed=0`);
    expect(options?.headers).toMatchObject({ "Idempotency-Key": "0".repeat(32) });
  });

  test("how far an upload is, that it is gone, and that nobody knows", async () => {
    const headers = {
      "Upload-Offset": "30",
      "Upload-Length": "90",
      "Upload-Expires": "Sat, 20 Sep 2025 14:00:00 GMT",
    };
    const here = new Api(async () => new Response(null, { status: 200, headers }));
    const expires = Date.UTC(2025, 8, 20, 14);
    await expect(here.lookAtUpload("/u")).resolves.toEqual({ sent: 30, size: 90, expires });
    const statuses = { 404: "gone", 410: "gone", 503: "unknown" };
    for (const [status, outcome] of Object.entries(statuses)) {
      const api = new Api(async () => new Response(null, { status: Number(status) }));
      await expect(api.lookAtUpload("/u")).resolves.toBe(outcome);
    }
    const away = new Api(() => Promise.reject(new TypeError("failed")));
    await expect(away.lookAtUpload("/u")).resolves.toBe("unknown");
  });

  test("giving up an upload that is gone is no error; one that is busy says so", async () => {
    const answering = (status: number, body: unknown) =>
      new Api(async () => new Response(body === null ? null : JSON.stringify(body), { status }));
    await expect(answering(204, null).removeUpload("/u")).resolves.toBeUndefined();
    await expect(answering(404, {}).removeUpload("/u")).resolves.toBeUndefined();
    const busy = { error: { code: "upload_busy", message: "Another request is at this upload." } };
    await expect(answering(423, busy).removeUpload("/u")).rejects.toMatchObject({ code: "upload_busy" });
  });
});
