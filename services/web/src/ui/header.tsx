/** The bar at the top: product, tabs, the team's minutes, the connection. */
import type { JSX } from "preact";
import type { Connection } from "../socket";
import { hashOf } from "../route";
import { texts } from "../texts";
import { usePage } from "./context";

/** A short break isn't worth a banner. */
const BANNER_AFTER_MS = 4_000;

export function Header({ current }: { current: "datasets" | "models" | null }): JSX.Element {
  const { view, session } = usePage();
  const { state } = view;
  const team = state.team ?? session?.team;
  const tab = (page: "datasets" | "models", count: number) => (
    <a href={hashOf({ page })} aria-current={current === page ? "page" : undefined}>
      {texts.tabs[page]}
      <span class="count">{state.position === null ? "" : count}</span>
    </a>
  );
  return (
    <header class="top">
      <div class="top-row">
        <a class="brand" href={hashOf({ page: "models" })}>
          <img src="/icon.svg" alt="" width="28" height="28" />
          {texts.product}
        </a>
        <nav class="tabs" aria-label={texts.tabs.label}>
          {tab("datasets", state.datasets.size)}
          {tab("models", state.models.size)}
        </nav>
        <div class="top-right">
          <Minutes />
          <span class="team">{team === undefined ? "" : texts.header.team(team, session?.name)}</span>
          <Marker connection={view.connection} />
        </div>
      </div>
      <Banner connection={view.connection} known={state.position !== null} />
    </header>
  );
}

function Minutes(): JSX.Element {
  const { minutes } = usePage().view.state;
  if (minutes === null) return <span class="minutes" data-testid="minutes-left" />;
  const title = texts.header.minutesTitle(minutes.granted_seconds, minutes.used_seconds, minutes.reserved_seconds);
  const part = (seconds: number) =>
    `scaleX(${minutes.granted_seconds > 0 ? Math.min(1, Math.max(0, seconds / minutes.granted_seconds)) : 0})`;
  return (
    <span class="minutes" title={title}>
      <span class="minutes-text">
        <strong data-testid="minutes-left" data-seconds={minutes.balance_seconds}>
          {texts.header.minutesLeft(minutes.balance_seconds)}
        </strong>
        {minutes.reserved_seconds > 0 && <span> · {texts.header.reserved(minutes.reserved_seconds)}</span>}
      </span>
      <span class="minutes-bar" aria-hidden="true">
        <span
          class="minutes-reserved"
          style={{ transform: part(minutes.balance_seconds + minutes.reserved_seconds) }}
        />
        <span class="minutes-balance" style={{ transform: part(minutes.balance_seconds) }} />
      </span>
    </span>
  );
}

function Marker({ connection }: { connection: Connection }): JSX.Element {
  const { now, live } = usePage();
  const retry = connection.kind === "offline" ? texts.connection.retry(secondsTo(connection.retryAt)) : undefined;
  void now; // drawn anew each second, for the countdown
  return (
    <button
      type="button"
      class={`connection is-${connection.kind}`}
      data-testid="connection"
      data-connection={connection.kind}
      title={retry ?? (connection.kind === "live" ? texts.connection.liveTitle : undefined)}
      onClick={() => live.nudge()}
    >
      <span class="dot" aria-hidden="true" />
      <span role="status">{texts.connection[connection.kind]}</span>
    </button>
  );
}

function Banner({ connection, known }: { connection: Connection; known: boolean }): JSX.Element | null {
  if (connection.kind !== "offline" || Date.now() - connection.since < BANNER_AFTER_MS) return null;
  return (
    <p class="banner" role="status">
      {known ? texts.connection.stale(connection.since) : texts.connection.never}
    </p>
  );
}

function secondsTo(at: number): number {
  return Math.max(0, Math.ceil((at - Date.now()) / 1000));
}
