/**
 * A websocket: keeps it open, resumes where it broke off, and says how it fares.
 *
 * It knows nothing of what the frames mean: the owner folds them and tells whether one was missing.
 */
import {
  CLOSE_FORBIDDEN,
  CLOSE_RESUME,
  CLOSE_UNAUTHORIZED,
  type Frame,
  REASON_REVOKED,
  SILENCE_SECONDS,
} from "./contract";
import type { Line, LineOwner } from "./line";
import type { Position } from "./store";

/** What a browser gives; a test gives others. */
export interface SocketParts {
  open: (url: string) => WebSocket;
  url: string;
  now: () => number;
  random: () => number;
  setTimer: (run: () => void, milliseconds: number) => number;
  clearTimer: (timer: number) => void;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** A network that died says no word: no frame for so long, and the line is taken for dead. */
const SILENCE_MS = SILENCE_SECONDS * 1000;
/** A handshake is a few bytes: where it takes longer, nobody hears it. */
const HANDSHAKE_MS = 10_000;
/** The first frame may be a whole season's snapshot on a slow net. */
const FIRST_FRAME_MS = 30_000;
/** An attempt this old may have begun on a network that is gone: a nudge makes a new one. */
const STALE_ATTEMPT_MS = 2_000;

export class LiveSocket implements Line {
  private socket: WebSocket | null = null;
  private timer: number | null = null;
  private watchdog: number | null = null;
  private failures = 0;
  private openedAt = 0;
  private heardAt: number | null = null;
  private offlineSince: number | null = null;
  private ended = false;

  constructor(
    private readonly parts: SocketParts,
    private readonly owner: LineOwner,
  ) {}

  start(): void {
    this.begin(this.owner.position());
  }

  restart(): void {
    this.begin(null);
  }

  stop(): void {
    this.ended = true;
    this.drop();
  }

  nudge(): void {
    if (this.ended) return;
    const trying = this.offlineSince !== null && this.parts.now() - this.openedAt >= STALE_ATTEMPT_MS;
    if (this.socket !== null && !trying) return;
    this.connect(this.owner.position());
  }

  private begin(from: Position | null): void {
    this.ended = false;
    this.owner.onConnection({ kind: "connecting" });
    this.connect(from);
  }

  private connect(from: Position | null): void {
    this.drop();
    const query = from === null ? "" : `?epoch=${encodeURIComponent(from.epoch)}&seq=${from.seq}`;
    const socket = this.parts.open(this.parts.url + query);
    this.socket = socket;
    this.openedAt = this.parts.now();
    socket.onopen = () => this.watch(FIRST_FRAME_MS);
    socket.onmessage = (message) => this.received(message);
    socket.onclose = (close) => this.closed(close.code, close.reason);
    this.watch(HANDSHAKE_MS);
  }

  private received(message: MessageEvent<unknown>): void {
    let complete: boolean;
    try {
      complete = this.owner.onFrame(JSON.parse(String(message.data)) as Frame);
    } catch (error) {
      // A frame that can't be read or folded: what we show may be wrong from here on, so begin afresh, not at once.
      console.error("stream: unreadable frame", error);
      this.drop();
      this.pause(null);
      return;
    }
    if (!complete) {
      this.again(null); // a gap: nothing can be trusted but a new snapshot
      return;
    }
    this.failures = 0;
    this.offlineSince = null;
    this.heardAt = this.parts.now();
    this.owner.onConnection({ kind: "live" });
    this.watch(SILENCE_MS);
  }

  private closed(code: number, reason: string): void {
    this.drop();
    if (code === CLOSE_UNAUTHORIZED) {
      this.ended = true;
      this.owner.onConnection({ kind: "unauthorized" });
    } else if (code === CLOSE_FORBIDDEN) {
      this.ended = true;
      this.owner.onConnection({ kind: reason === REASON_REVOKED ? "revoked" : "forbidden" });
    } else if (code === CLOSE_RESUME) {
      this.again(this.owner.position());
    } else {
      this.pause(this.owner.position());
    }
  }

  /** At once, but only once: without a good frame in between it waits, so as not to storm the server. */
  private again(from: Position | null): void {
    if (this.failures > 0) {
      this.drop();
      this.pause(from);
    } else {
      this.failures = 1;
      this.connect(from);
    }
  }

  private pause(from: Position | null): void {
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.failures);
    const pause = longest * (0.5 + 0.5 * this.parts.random());
    this.failures += 1;
    this.offlineSince ??= this.parts.now();
    this.owner.onConnection({ kind: "offline", since: this.offlineSince, retryAt: this.parts.now() + pause });
    this.timer = this.parts.setTimer(() => this.connect(from), pause);
  }

  private watch(milliseconds: number): void {
    if (this.watchdog !== null) this.parts.clearTimer(this.watchdog);
    this.watchdog = this.parts.setTimer(() => this.silent(), milliseconds);
  }

  /** Nothing has come in time. What is shown is as old as the last frame. */
  private silent(): void {
    this.drop();
    this.offlineSince ??= this.heardAt;
    this.pause(this.owner.position());
  }

  /** Lets go of the socket and the timers; a socket that was let go of can't call back. */
  private drop(): void {
    for (const timer of [this.timer, this.watchdog]) if (timer !== null) this.parts.clearTimer(timer);
    this.timer = this.watchdog = null;
    if (this.socket !== null) {
      this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
      this.socket.close();
      this.socket = null;
    }
  }
}

/** What a window or a worker gives. */
export function browserParts(
  scope: WindowOrWorkerGlobalScope & { location: { href: string; protocol: string } },
): SocketParts {
  const address = new URL("/api/ws", scope.location.href);
  address.protocol = scope.location.protocol === "https:" ? "wss:" : "ws:";
  return {
    open: (url) => new WebSocket(url),
    url: address.href,
    now: () => Date.now(),
    random: () => Math.random(),
    setTimer: (run, milliseconds) => scope.setTimeout(run, milliseconds) as unknown as number,
    clearTimer: (timer) => scope.clearTimeout(timer),
  };
}
