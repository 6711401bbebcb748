/** The part of the address after #: which page is shown. Pure. */

export const MODEL_TABS = ["details", "graphs", "images", "export", "try"] as const;
export type ModelTab = (typeof MODEL_TABS)[number];

export const OPERATOR_TABS = ["trainers", "queue", "teams", "announcements", "audit"] as const;
export type OperatorTab = (typeof OPERATOR_TABS)[number];

export const TEAM_TABS = ["minutes", "queue"] as const;
export type TeamTab = (typeof TEAM_TABS)[number];

/** Which of a dataset's pictures are shown; null is all. Negatives are those without a box, so they have no label. */
export interface PictureFilter {
  label: string | null;
  pool: "train" | "eval" | null;
  negatives: boolean;
}

export const ALL_PICTURES: PictureFilter = { label: null, pool: null, negatives: false };

export type Route =
  | { page: "datasets" }
  | { page: "dataset"; id: string; filter: PictureFilter }
  /** `more` is the model to train more; without it, training starts from a starting model. */
  | { page: "start"; datasets: readonly string[]; more: string | null }
  | { page: "models" }
  | { page: "model"; id: string; tab: ModelTab }
  | { page: "team"; tab: TeamTab }
  | { page: "operators"; tab: OperatorTab };

const ID = /^[\w.-]+$/;

/** The route that a hash names, or null where it names none. */
export function parseRoute(hash: string): Route | null {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split("?");
  const [page, first, second, ...rest] = path.split("/");
  if (rest.length > 0) return null;
  if (page === "start" && first === undefined) {
    const query = new URLSearchParams(search);
    const more = query.get("more");
    const datasets = (query.get("datasets") ?? "").split(",").filter((id) => ID.test(id));
    return { page, datasets, more: more !== null && ID.test(more) ? more : null };
  }
  if (page === "models" && first !== undefined && ID.test(first)) {
    const tab = second === undefined ? "details" : oneOf(MODEL_TABS, second);
    return tab === null ? null : { page: "model", id: first, tab };
  }
  if (second !== undefined) return null;
  if (page === "datasets" && first !== undefined) {
    return ID.test(first) ? { page: "dataset", id: first, filter: filterOf(new URLSearchParams(search)) } : null;
  }
  if (page === "operators") {
    const tab = first === undefined ? "trainers" : oneOf(OPERATOR_TABS, first);
    return tab === null ? null : { page, tab };
  }
  if (page === "team") {
    const tab = first === undefined ? "minutes" : oneOf(TEAM_TABS, first);
    return tab === null ? null : { page, tab };
  }
  if (first !== undefined) return null;
  return page === "datasets" || page === "models" ? { page } : null;
}

export function hashOf(route: Route): string {
  switch (route.page) {
    case "model":
      return `#/models/${route.id}${route.tab === "details" ? "" : `/${route.tab}`}`;
    case "dataset": {
      const { label, pool, negatives } = route.filter;
      const query = new URLSearchParams();
      if (label !== null) query.set("label", label);
      if (pool !== null) query.set("pool", pool);
      if (negatives) query.set("negatives", "true");
      return `#/datasets/${route.id}${query.size === 0 ? "" : `?${query}`}`;
    }
    case "operators":
      return `#/operators${route.tab === "trainers" ? "" : `/${route.tab}`}`;
    case "team":
      return `#/team${route.tab === "minutes" ? "" : `/${route.tab}`}`;
    case "start": {
      const parts = [
        ...(route.more === null ? [] : [`more=${route.more}`]),
        ...(route.datasets.length === 0 ? [] : [`datasets=${route.datasets.join(",")}`]),
      ];
      return `#/start${parts.length === 0 ? "" : `?${parts.join("&")}`}`;
    }
    default:
      return `#/${route.page}`;
  }
}

function filterOf(query: URLSearchParams): PictureFilter {
  const negatives = query.get("negatives") === "true";
  return {
    label: negatives ? null : query.get("label"),
    pool: oneOf(["train", "eval"], query.get("pool") ?? ""),
    negatives,
  };
}

function oneOf<T extends string>(known: readonly T[], word: string): T | null {
  return known.find((each) => each === word) ?? null;
}
