/** Where the stream's frames come from: a websocket of this tab's own, or one that all tabs share. */
import type { Frame } from "./contract";
import type { Position } from "./store";

export type Connection =
  { kind: "connecting" } | { kind: "live" } | { kind: "offline"; since: number; retryAt: number } | { kind: Refusal };

/** Why the token is no good: missing, wrong or expired; its person left the team; it was revoked itself. */
export type Refusal = "unauthorized" | "forbidden" | "revoked";

export const isRefusal = (kind: Connection["kind"]): kind is Refusal =>
  kind === "unauthorized" || kind === "forbidden" || kind === "revoked";

export interface LineOwner {
  /** Takes a frame; false where frames before it are missing. */
  onFrame: (frame: Frame) => boolean;
  onConnection: (connection: Connection) => void;
  /** Where to resume, or null to ask for a snapshot. */
  position: () => Position | null;
}

export interface Line {
  /** Begins; resumes from the owner's position where there is one. */
  start(): void;
  /** Begins anew, as somebody else perhaps: the session has changed. */
  restart(): void;
  /** Something suggests that it would work now: don't wait out the pause. */
  nudge(): void;
  /** Ends it for good. */
  stop(): void;
}
