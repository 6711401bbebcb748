/** What the Start Training page asks the server while somebody fills it in: models, plan, whether datasets go together. */
import { useEffect, useState } from "preact/hooks";
import { type ApiError, asApiError, isAbort } from "../api";
import type { DatasetView, Difference, Plan, PlanRequest, StartingModels } from "../contract";
import { texts } from "../texts";
import { usePage } from "./context";

const TYPING_PAUSE_MS = 250;

/** The starting models with their batch sizes for so many training pictures, and the installation's limits. */
export function useStartingModels(frames: number): [StartingModels | null, ApiError | null] {
  const { api } = usePage();
  const [offer, setOffer] = useState<StartingModels | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  useEffect(() => {
    const request = new AbortController();
    api.startingModels(frames, request.signal).then(
      (answer) => {
        setOffer(answer);
        setError(null);
      },
      (problem: unknown) => {
        if (!isAbort(problem)) setError(asApiError(problem));
      },
    );
    return () => request.abort();
  }, [api, frames]);
  return [offer, error];
}

export interface Planned {
  plan: Plan | null;
  error: ApiError | null;
  /** The plan isn't (yet) for what the form says. */
  stale: boolean;
}

/** The plan for a wish (null: nothing to plan), asked shortly after the last keystroke. The last good one stays meanwhile. */
export function usePlan(wish: PlanRequest | null): Planned {
  const { api } = usePage();
  const [plan, setPlan] = useState<Plan | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [pending, setPending] = useState(true);
  const wanted = JSON.stringify(wish);
  useEffect(() => {
    setPending(true);
    setError(null);
    const asked = JSON.parse(wanted) as PlanRequest | null;
    if (asked === null) return undefined;
    const request = new AbortController();
    const ask = async () => {
      try {
        setPlan(await api.plan(asked, request.signal));
      } catch (problem) {
        if (isAbort(problem)) return;
        setError(asApiError(problem));
      }
      setPending(false);
    };
    const timer = window.setTimeout(() => void ask(), TYPING_PAUSE_MS);
    return () => {
      window.clearTimeout(timer);
      request.abort();
    };
  }, [api, wanted]);
  return { plan, error, stale: pending || error !== null };
}

export type Readiness =
  { kind: "ready" } | { kind: "refused"; reason: string } | { kind: "different"; differences: Difference[] };

/** Whether the selected datasets can be trained on together; asks the server where it takes a comparison. */
export function useReadiness(selected: readonly DatasetView[]): Readiness {
  const { api } = usePage();
  const ids = selected
    .map((dataset) => dataset.id)
    .sort()
    .join(",");
  const [answer, setAnswer] = useState<{ ids: string; readiness: Readiness } | null>(null);
  const several = selected.length >= 2;
  useEffect(() => {
    if (!several) return undefined;
    const request = new AbortController();
    const settle = (readiness: Readiness) => setAnswer({ ids, readiness });
    api.compatibility(ids.split(","), request.signal).then(
      ({ compatible, differences }) => settle(compatible ? { kind: "ready" } : { kind: "different", differences }),
      (error: unknown) => {
        if (!isAbort(error)) settle({ kind: "refused", reason: texts.start.notChecked(asApiError(error).message) });
      },
    );
    return () => request.abort();
  }, [api, ids, several]);
  if (selected.length === 0) return { kind: "refused", reason: texts.start.noneSelected };
  if (!several) return { kind: "ready" };
  return answer?.ids === ids ? answer.readiness : { kind: "refused", reason: texts.start.checking };
}
