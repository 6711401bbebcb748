import { describe, expect, test, vi } from "vitest";
import { Api, ApiError, asApiError, isAbort, newKey } from "../src/api";
import { job } from "./samples";

function answering(status: number, body: unknown) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return vi.fn<typeof fetch>(async () => new Response(status === 204 ? null : text, { status }));
}

async function errorOf(promise: Promise<unknown>): Promise<ApiError> {
  const error = await promise.catch((problem: unknown) => problem);
  if (!(error instanceof ApiError)) throw new Error(`expected an ApiError, got ${String(error)}`);
  return error;
}

const signal = new AbortController().signal;

describe("requests", () => {
  test("one that creates carries its key and returns the job", async () => {
    const fetcher = answering(201, { job: job({ description: "New" }) });
    const made = await new Api(fetcher).startJob({ dataset_ids: ["d1"], description: "New" }, "key-1");
    expect(made.description).toBe("New");
    const [path, options] = fetcher.mock.calls[0] ?? [];
    expect(path).toBe("/api/jobs");
    expect(options?.headers).toMatchObject({ "Idempotency-Key": "key-1", "Content-Type": "application/json" });
  });

  test("one without a body has no content type; nothing is an answer", async () => {
    const fetcher = answering(204, "");
    await expect(new Api(fetcher).deleteJob("a/b")).resolves.toBeUndefined();
    const [path, options] = fetcher.mock.calls[0] ?? [];
    expect(path).toBe("/api/jobs/a%2Fb");
    expect(options?.headers).not.toHaveProperty("Content-Type");
  });

  test("keys are 128 bits and don't repeat", () => {
    const keys = new Set(Array.from({ length: 50 }, newKey));
    expect(keys.size).toBe(50);
    for (const key of keys) expect(key).toMatch(/^[0-9a-f]{32}$/);
  });
});

describe("errors", () => {
  test("carry the server's code, words and field", async () => {
    const body = {
      error: {
        code: "steps_out_of_range",
        message: "steps must be between 200 and 8000, not 50.",
        field: "steps",
        details: { max: 8000 },
      },
    };
    const error = await errorOf(new Api(answering(400, body)).plan({ dataset_ids: ["d1"], steps: 50 }, signal));
    expect(error).toMatchObject({ status: 400, code: "steps_out_of_range", field: "steps", details: { max: 8000 } });
    expect(error.message).toContain("not 50");
  });

  test("of a proxy have its status", async () => {
    const error = await errorOf(new Api(answering(502, "<html>Bad Gateway</html>")).session());
    expect(error).toMatchObject({ status: 502, code: "http", field: null });
    expect(error.message).toContain("502");
  });

  test("of the network say so", async () => {
    const fetcher = vi.fn<typeof fetch>(async () => Promise.reject(new TypeError("Failed to fetch")));
    expect(await errorOf(new Api(fetcher).session())).toMatchObject({ status: 0, code: "unreachable" });
  });

  test("of time say how long", async () => {
    const timeout = vi
      .spyOn(AbortSignal, "timeout")
      .mockReturnValue(AbortSignal.abort(new DOMException("", "TimeoutError")));
    const fetcher = vi.fn<typeof fetch>(async (_, options) => Promise.reject(options?.signal?.reason));
    expect((await errorOf(new Api(fetcher).session())).code).toBe("timeout");
    timeout.mockRestore();
  });

  test("of a request that was given up are the caller's", async () => {
    const control = new AbortController();
    control.abort();
    const fetcher = vi.fn<typeof fetch>(async (_, options) => Promise.reject(options?.signal?.reason));
    const error = await new Api(fetcher).events("m1", control.signal).catch((problem: unknown) => problem);
    expect(isAbort(error)).toBe(true);
  });

  test("of any other kind are told in their own words", () => {
    expect(asApiError(new Error("boom"))).toMatchObject({ code: "unexpected", message: "boom" });
    expect(asApiError("odd").message).toBe("odd");
  });
});
