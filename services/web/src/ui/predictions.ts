/** What the Images tab fetches beside the stream: a checkpoint's predictions, once each. */
import { useEffect, useState } from "preact/hooks";
import { asApiError, isAbort } from "../api";
import type { Predicted } from "../checkpoints";
import type { FoundBoxes } from "../contract";
import { Wishes } from "../wishes";
import { usePage } from "./context";

/** What a checkpoint's model found, by picture. */
export interface Shown {
  readonly step: number;
  readonly pictures: readonly FoundBoxes[];
}

export interface Predictions {
  /** The last that came. */
  shown: Shown | null;
  /** They are of another checkpoint: the wanted one's are on their way. */
  stale: boolean;
  problem: string | null;
  again: () => void;
}

/** Of 100 pictures with 50 boxes each, a checkpoint is about a megabyte. */
const MOST_KEPT = 24;
// A slider that is dragged over many checkpoints asks for those where it rests.
const REST_MS = 60;

export function usePredictions(id: string, point: Predicted): Predictions {
  const { api } = usePage();
  const [wishes] = useState(() => new Wishes<readonly FoundBoxes[]>(MOST_KEPT));
  const [last, setLast] = useState<(Shown & { key: string }) | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [tries, setTries] = useState(0);
  const key = `${id} ${point.step} ${point.attempt}`;
  useEffect(() => {
    const known = wishes.get(key);
    if (known !== undefined) {
      setLast({ key, step: point.step, pictures: known });
      setProblem(null);
      return undefined;
    }
    const ask = async () => {
      try {
        const pictures = await wishes.want(
          key,
          async (signal) => (await api.predictions(id, point.step, signal)).pictures,
        );
        setLast({ key, step: point.step, pictures });
        setProblem(null);
      } catch (error) {
        if (!isAbort(error)) setProblem(asApiError(error).message);
      }
    };
    const timer = window.setTimeout(() => void ask(), REST_MS);
    return () => {
      window.clearTimeout(timer);
      wishes.drop();
    };
  }, [key, tries]);
  return { shown: last, stale: last?.key !== key, problem, again: () => setTries(tries + 1) };
}
