/** Which announcements are in force, and which of them this browser's reader has dismissed. Pure but for what it is given. */
import type { Announcement } from "./contract";

const KEY = "trainyard.dismissed";

/** Those that aren't over by the server's clock (milliseconds). */
export function inForce(announcements: readonly Announcement[], now: number): Announcement[] {
  return announcements.filter((each) => each.until === null || Date.parse(each.until) > now);
}

export function dismissed(storage: Pick<Storage, "getItem">): ReadonlySet<string> {
  return new Set((storage.getItem(KEY) ?? "").split(" ").filter(Boolean));
}

/** Remembers one more; those that are announced no longer are forgotten. */
export function dismiss(storage: Storage, id: string, announced: readonly Announcement[]): ReadonlySet<string> {
  const known = dismissed(storage);
  const kept = announced.map((each) => each.id).filter((each) => each === id || known.has(each));
  storage.setItem(KEY, kept.join(" "));
  return new Set(kept);
}
