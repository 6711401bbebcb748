/** What the Start Training page asks the server while somebody fills it in: models, plan, whether datasets go together. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type ApiError, asApiError, isAbort } from "../api";
import type { DatasetView, Difference, Plan, PlanRequest, StartingModels } from "../contract";
import { Following } from "../following";
import { texts } from "../texts";
import { useArrivals, usePage, useRoomVersion, useView } from "./context";
import { type Fetched, useFetched, useVisible } from "./fetched";

const TYPING_PAUSE_MS = 250;
/** However much moves in the room. */
const PLAN_REST_MS = 2_000;

/** The starting models with their batch sizes for so many training pictures, and the installation's limits. */
export function useStartingModels(frames: number): Fetched<StartingModels> {
  const { api } = usePage();
  const arrivals = useArrivals();
  return useFetched((signal) => api.startingModels(frames, signal), `${frames} ${arrivals}`);
}

export interface Planned {
  plan: Plan | null;
  /** The first plan for what the form says: what it proposes doesn't change under somebody's hands as the room moves. */
  proposal: Plan | null;
  error: ApiError | null;
  /** The plan isn't (yet) for what the form says. */
  stale: boolean;
}

/**
 * The plan for a wish (null: nothing to plan), asked shortly after the last keystroke, and again when the room, the team's
 * minutes or the connection have changed. The last good one stays meanwhile.
 */
export function usePlan(wish: PlanRequest | null): Planned {
  const { api } = usePage();
  const [plan, setPlan] = useState<Plan | null>(null);
  const [proposal, setProposal] = useState<Plan | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [pending, setPending] = useState(true);
  const wanted = JSON.stringify(wish);
  /** What the form said when nobody had typed for a moment. */
  const [settled, setSettled] = useState<string | null>(null);
  const first = useRef(true);
  const minutes = useView(({ state }) => state.minutes?.version);
  const moved = `${useRoomVersion()} ${minutes}`;
  const visible = useVisible();
  const newest = useRef(wish);
  newest.current = wish;
  const following = useMemo(
    () =>
      new Following<Plan | null>({
        ask: async (signal) => (newest.current === null ? null : api.plan(newest.current, signal)),
        told: (answer) => {
          if (answer === null) return;
          setPlan(answer);
          if (first.current) setProposal(answer);
          first.current = false;
          setError(null);
          setPending(false);
        },
        failed: (problem) => {
          setError(asApiError(problem));
          setPending(false);
        },
        restMs: PLAN_REST_MS,
      }),
    [api],
  );
  useEffect(() => {
    setPending(true);
    setError(null);
    first.current = true;
    const timer = window.setTimeout(() => setSettled(wanted), TYPING_PAUSE_MS);
    return () => {
      window.clearTimeout(timer);
      following.stop(); // whatever is under way is for another wish
    };
  }, [following, wanted]);
  useEffect(() => {
    if (settled !== wanted) return;
    if (visible) following.at(moved);
    else following.rest();
  }, [following, settled, wanted, moved, visible]);
  return { plan, proposal, error, stale: pending || error !== null };
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
