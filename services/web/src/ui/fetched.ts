/** What is asked beside the stream: the newest answer, the last failure, and a way to ask again. */
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { asApiError, isAbort } from "../api";
import { Following } from "../following";

export interface Fetched<T> {
  /** The last good answer; it stays while a newer one is asked for. */
  data: T | null;
  problem: string | null;
  again: () => void;
  /** An answer that a command brought. */
  put: (data: T) => void;
}

/** Asks at once, whenever `key` changes, and every so many milliseconds while the page can be seen. */
export function useFetched<T>(ask: (signal: AbortSignal) => Promise<T>, key: string, everyMs?: number): Fetched<T> {
  const [data, setData] = useState<T | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [tries, setTries] = useState(0);
  const again = useCallback(() => setTries((count) => count + 1), []);
  useEffect(() => {
    const request = new AbortController();
    ask(request.signal).then(
      (answer) => {
        setData(answer);
        setProblem(null);
      },
      (error: unknown) => {
        if (!isAbort(error)) setProblem(asApiError(error).message);
      },
    );
    return () => request.abort();
  }, [key, tries]);
  useEffect(() => {
    if (everyMs === undefined) return undefined;
    const timer = window.setInterval(() => {
      if (!document.hidden) again();
    }, everyMs);
    return () => window.clearInterval(timer);
  }, [everyMs, again]);
  return { data, problem, again, put: setData };
}

/** Asks at once and whenever `version` changes, one request at a time, while the page can be seen. */
export function useFollowed<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  version: string,
): Pick<Fetched<T>, "data" | "problem"> {
  const [data, setData] = useState<T | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const visible = useVisible();
  const following = useMemo(
    () =>
      new Following<T>({
        ask,
        told: (answer) => {
          setData(answer);
          setProblem(null);
        },
        failed: (error) => setProblem(asApiError(error).message),
      }),
    [],
  );
  useEffect(() => {
    if (visible) following.at(version);
  }, [following, version, visible]);
  useEffect(() => () => following.stop(), [following]);
  return { data, problem };
}

/** Whether the page's tab is in front. */
function useVisible(): boolean {
  const [visible, setVisible] = useState(!document.hidden);
  useEffect(() => {
    const changed = () => setVisible(!document.hidden);
    document.addEventListener("visibilitychange", changed);
    return () => document.removeEventListener("visibilitychange", changed);
  }, []);
  return visible;
}
