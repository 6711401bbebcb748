/** What is asked beside the stream: the newest answer, the last failure, and a way to ask again. */
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type ApiError, asApiError, isAbort } from "../api";
import { Following } from "../following";
import { usePage } from "./context";

export interface Fetched<T> {
  /** The last good answer; it stays while a newer one is asked for. */
  data: T | null;
  /** When that came, by the server's clock in milliseconds. */
  since: number | null;
  /** Why there is no newer one. */
  error: ApiError | null;
  problem: string | null;
  again: () => void;
  /** An answer that a command brought. */
  put: (data: T) => void;
}

/** Asks at once and whenever `key` changes: an answer to an older key is given up. */
export function useFetched<T>(ask: (signal: AbortSignal) => Promise<T>, key: string): Fetched<T> {
  const { answer, told, failed } = useAnswer<T>();
  const [tries, again] = useTries();
  useEffect(() => {
    const request = new AbortController();
    ask(request.signal).then(told, (error: unknown) => {
      if (!isAbort(error)) failed(error);
    });
    return () => request.abort();
  }, [key, tries]);
  return { ...answer, again, put: told };
}

/**
 * Asks at once and whenever `version` changes, one request at a time, while the page can be seen; with `everyMs`, also so
 * long after each answer.
 */
export function useFollowed<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  version: string,
  everyMs?: number,
): Fetched<T> {
  const { answer, told, failed } = useAnswer<T>();
  const [tries, again] = useTries();
  const visible = useVisible();
  const newest = useRef(ask);
  newest.current = ask;
  const following = useMemo(
    () => new Following<T>({ ask: (signal) => newest.current(signal), told, failed, everyMs }),
    [told, failed, everyMs],
  );
  useEffect(() => {
    if (visible) following.at(`${version} ${tries}`);
    else following.rest();
  }, [following, version, tries, visible]);
  useEffect(() => () => following.stop(), [following]);
  return { ...answer, again, put: told };
}

type Answer<T> = Pick<Fetched<T>, "data" | "since" | "error" | "problem">;

function useAnswer<T>() {
  const [answer, setAnswer] = useState<Answer<T>>({ data: null, since: null, error: null, problem: null });
  const { ticker } = usePage();
  const told = useCallback((data: T) => setAnswer({ data, since: ticker.now(), error: null, problem: null }), [ticker]);
  const failed = useCallback((problem: unknown) => {
    const error = asApiError(problem);
    setAnswer((before) => ({ ...before, error, problem: error.message }));
  }, []);
  return { answer, told, failed };
}

function useTries(): [number, () => void] {
  const [tries, setTries] = useState(0);
  return [tries, useCallback(() => setTries((count) => count + 1), [])];
}

/** Whether the page's tab is in front. */
export function useVisible(): boolean {
  const [visible, setVisible] = useState(!document.hidden);
  useEffect(() => {
    const changed = () => setVisible(!document.hidden);
    document.addEventListener("visibilitychange", changed);
    return () => document.removeEventListener("visibilitychange", changed);
  }, []);
  return visible;
}
