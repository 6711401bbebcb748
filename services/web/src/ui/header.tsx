/** The bar at the top: product, sections, the team's minutes, the connection. */
import type { JSX } from "preact";
import type { Connection } from "../line";
import { hashOf, type Route } from "../route";
import { texts } from "../texts";
import { THEMES } from "../theme";
import { Icon } from "./bits";
import { useNow, usePage, useThemes, useView } from "./context";

/** A short break isn't worth a banner. */
const BANNER_AFTER_MS = 4_000;

type Section = "datasets" | "start" | "models" | "team" | "operators";

const TARGETS: Record<Section, string> = {
  datasets: hashOf({ page: "datasets" }),
  start: hashOf({ page: "start", datasets: [], more: null }),
  models: hashOf({ page: "models" }),
  team: hashOf({ page: "team", tab: "minutes" }),
  operators: hashOf({ page: "operators", tab: "trainers" }),
};

interface Props {
  current: Route["page"] | null;
  /** Then nothing of a team is shown. */
  signedOut: boolean;
}

export function Header({ current, signedOut }: Props): JSX.Element {
  const { session } = usePage();
  const known = useView((view) => view.state.position !== null) && !signedOut;
  const named = useView((view) => view.state.team) ?? session?.team;
  const team = signedOut ? undefined : named;
  const connection = useView((view) => view.connection);
  const section = current === "model" ? "models" : current === "dataset" ? "datasets" : current;
  return (
    <header class="top">
      <div class="top-row">
        <a class="brand" href={hashOf({ page: "models" })}>
          <img src="/icon.svg" alt="" width="28" height="28" />
          {texts.product}
        </a>
        <nav class="tabs" aria-label={texts.tabs.label}>
          <Tab section="datasets" current={section} count={useView((view) => view.state.datasets.size)} known={known} />
          <Tab section="start" current={section} />
          <Tab section="models" current={section} count={useView((view) => view.state.models.size)} known={known} />
          <Tab section="team" current={section} />
          {session?.role === "admin" && <Tab section="operators" current={section} />}
        </nav>
        <div class="top-right">
          <Minutes shown={!signedOut} />
          <span class="team">{team === undefined ? "" : texts.header.team(team, session?.name)}</span>
          <ThemeChoice />
          <Marker connection={connection} />
        </div>
      </div>
      {connection.kind === "offline" && <Banner since={connection.since} known={known} />}
    </header>
  );
}

interface TabProps {
  section: Section;
  current: string | null;
  count?: number;
  known?: boolean;
}

function Tab({ section, current, count, known = false }: TabProps): JSX.Element {
  return (
    <a href={TARGETS[section]} aria-current={current === section ? "page" : undefined}>
      {texts.tabs[section]}
      {count !== undefined && <span class="count">{known ? count : ""}</span>}
    </a>
  );
}

function Minutes({ shown }: { shown: boolean }): JSX.Element {
  const minutes = useView((view) => view.state.minutes);
  if (minutes === null || !shown) return <span class="minutes" data-testid="minutes-left" />;
  const title = texts.header.minutesTitle(minutes.granted_seconds, minutes.used_seconds, minutes.reserved_seconds);
  const part = (seconds: number) =>
    `scaleX(${minutes.granted_seconds > 0 ? Math.min(1, Math.max(0, seconds / minutes.granted_seconds)) : 0})`;
  return (
    <a class="minutes" title={title} href={TARGETS.team}>
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
    </a>
  );
}

/** The browser's own list, behind an icon: it takes no room, and keyboards and phones have their ways with it. */
function ThemeChoice(): JSX.Element {
  const themes = useThemes();
  return (
    <span class="theme" title={texts.header.themeIs(themes.chosen)}>
      <Icon name={themes.dark ? "moon" : "sun"} />
      <select
        aria-label={texts.header.theme}
        value={themes.chosen}
        onChange={({ currentTarget }) => {
          const theme = THEMES.find((each) => each === currentTarget.value);
          if (theme !== undefined) themes.choose(theme);
        }}
      >
        {THEMES.map((theme) => (
          <option key={theme} value={theme}>
            {texts.header.themes[theme]}
          </option>
        ))}
      </select>
    </span>
  );
}

function Marker({ connection }: { connection: Connection }): JSX.Element {
  const { live } = usePage();
  const offline = connection.kind === "offline";
  useNow(offline); // drawn anew each second, for the countdown
  const retry = offline ? texts.connection.retry(secondsTo(connection.retryAt)) : undefined;
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

function Banner({ since, known }: { since: number; known: boolean }): JSX.Element | null {
  useNow();
  if (Date.now() - since < BANNER_AFTER_MS) return null;
  return (
    <p class="banner" role="status">
      {known ? texts.connection.stale(since) : texts.connection.never}
    </p>
  );
}

function secondsTo(at: number): number {
  return Math.max(0, Math.ceil((at - Date.now()) / 1000));
}
