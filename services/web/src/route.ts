/** The part of the address after #: which page is shown. Pure. */

export type Route = { page: "datasets" } | { page: "models" } | { page: "model"; id: string };

/** The route that a hash names, or null where it names none. */
export function parseRoute(hash: string): Route | null {
  const [page, id, ...rest] = hash.replace(/^#\/?/, "").split("/");
  if (rest.length > 0) return null;
  if (page === "datasets" && id === undefined) return { page };
  if (page === "models" && id === undefined) return { page };
  if (page === "models" && id !== undefined && /^[\w.-]+$/.test(id)) return { page: "model", id };
  return null;
}

export function hashOf(route: Route): string {
  return route.page === "model" ? `#/models/${route.id}` : `#/${route.page}`;
}
