/** What is asked beside the stream: the newest answer, the last failure, and a way to ask again. */
import { useCallback, useEffect, useState } from "preact/hooks";
import { asApiError, isAbort } from "../api";

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
