/** The frame around every page: header, navigation, notices, and what a reader who doesn't look should hear. */
import type { ComponentChildren, JSX } from "preact";
import { useCallback, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError } from "../api";
import { REASON_REVOKED, type Session } from "../contract";
import { isRefusal, type Refusal } from "../line";
import type { Live } from "../live";
import { news } from "../news";
import { hashOf, parseRoute, type Route } from "../route";
import { EMPTY, type State } from "../store";
import { texts } from "../texts";
import type { Uploader } from "../sending";
import { AnnouncementBanners } from "./announcements";
import { type Page, PageContext, type Tone, useLive, useRoute } from "./context";
import { DatasetsPage } from "./datasets";
import { Header } from "./header";
import { lazy } from "./lazy";
import { ModelsPage } from "./models";
import { SignIn } from "./sign-in";
import { StartPage } from "./start";
import { type Toast, Toasts } from "./toasts";

/** What a first visit doesn't show isn't in its way. */
const ModelPage = lazy(async () => (await import("./model")).ModelPage);
const DatasetPage = lazy(async () => (await import("./dataset")).DatasetPage);
const TeamPage = lazy(async () => (await import("./team")).TeamPage);
const OperatorsPage = lazy(async () => (await import("./operators")).OperatorsPage);

const PREFETCH_AFTER_MS = 2_000;

type Props = Omit<Page, "session" | "tell">;

export function App({ api, live, ticker, sight, themes, uploader }: Props): JSX.Element {
  const connection = useLive(live, (view) => view.connection.kind);
  const route = useRoute();
  const [session, setSession] = useState<Session | null>(null);
  const [refused, setRefused] = useState<Refusal | null>(null);
  const [toasts, setToasts] = useState<Toast[]>([]);
  const team = useLive(live, (view) => view.state.team);
  const signedOut = isRefusal(connection) ? connection : refused;
  const sitting = useSitting(team, signedOut !== null, () => {
    setSession(null);
    setToasts([]);
    uploader.reset();
  });

  const current = useRef(sitting);
  current.current = sitting;
  const tell = useCallback(
    (tone: Tone, message: string) => {
      if (sitting !== current.current) return; // of what somebody began who has left
      setToasts((shown) => [...shown.slice(-3), { id: (shown.at(-1)?.id ?? 0) + 1, tone, message }]);
    },
    [sitting],
  );

  const dismiss = useCallback((id: number) => setToasts((shown) => shown.filter((toast) => toast.id !== id)), []);

  const who = useCallback(async () => {
    try {
      setSession(await api.session());
      setRefused(null);
    } catch (error) {
      // Only the name and the role are missing then: the stream tells the team, the server guards what is allowed.
      if (!(error instanceof ApiError)) return;
      if (error.status === 401) setRefused(error.code === REASON_REVOKED ? "revoked" : "unauthorized");
      if (error.status === 403) setRefused("forbidden");
    }
  }, [api]);
  // Also when the stream comes back: somebody may have signed in in another tab.
  useEffect(() => {
    if (connection !== "offline") void who();
  }, [who, connection, team]);

  useUploadNews(uploader, tell);
  useFirstRoute(live, route);
  useArrival(route);
  useTitle(live, signedOut === null ? route : null);

  useEffect(() => {
    const timer = window.setTimeout(
      () => [ModelPage, DatasetPage, TeamPage].forEach((each) => each.prefetch()),
      PREFETCH_AFTER_MS,
    );
    return () => window.clearTimeout(timer);
  }, []);

  const theirs = signedOut === null && (team === null || session?.team === team) ? session : null;
  const page = useMemo<Page>(
    () => ({ api, live, ticker, sight, themes, uploader, session: theirs, tell }),
    [api, live, ticker, sight, themes, uploader, theirs, tell],
  );
  return (
    <PageContext.Provider value={page}>
      <a class="skip" href="#main" onClick={focusMain}>
        {texts.skip}
      </a>
      <Header current={route?.page ?? null} signedOut={signedOut !== null} />
      <main id="main" tabIndex={-1}>
        {signedOut !== null ? (
          <SignIn
            why={signedOut}
            onDone={() => {
              void who();
              live.restart();
            }}
          />
        ) : (
          <Boundary key={`${sitting} ${route?.page}`}>
            <CurrentPage route={route} />
          </Boundary>
        )}
      </main>
      {signedOut === null && <AnnouncementBanners current={route?.page ?? null} />}
      <Toasts toasts={toasts} onDismiss={dismiss} />
      <News key={sitting} live={live} />
    </PageContext.Provider>
  );
}

/**
 * A number for whoever sits here, until they sign out or another team's data comes: nothing of theirs is left for the next
 * one, and `onLeave` takes it away.
 */
function useSitting(team: string | null, signedOut: boolean, onLeave: () => void): number {
  const [sitting, setSitting] = useState(0);
  const last = useRef(team);
  // Before anything is painted: the next one sees no moment of it.
  useLayoutEffect(() => {
    const other = team !== null && last.current !== null && team !== last.current;
    last.current = signedOut ? null : (team ?? last.current);
    if (!signedOut && !other) return;
    setSitting((number) => number + 1);
    onLeave();
  }, [team, signedOut]);
  return sitting;
}

function CurrentPage({ route }: { route: Route | null }): JSX.Element {
  switch (route?.page) {
    case "start":
      return <StartPage key={route.more ?? ""} datasets={route.datasets} more={route.more} />;
    case "models":
      return <ModelsPage />;
    case "model":
      return <ModelPage key={route.id} id={route.id} tab={route.tab} />;
    case "dataset":
      return <DatasetPage key={route.id} id={route.id} filter={route.filter} />;
    case "team":
      return <TeamPage tab={route.tab} />;
    case "operators":
      return <OperatorsPage tab={route.tab} />;
    default:
      return <DatasetsPage />;
  }
}

/** A page that breaks says so and leaves the header usable. */
function Boundary({ children }: { children: ComponentChildren }): JSX.Element {
  const [error] = useErrorBoundary((problem: unknown) => console.error("page", problem));
  if (error === undefined) return <>{children}</>;
  return (
    <div class="card page-error" role="alert">
      <p>{texts.errors.page}</p>
      <button type="button" class="button primary" onClick={() => location.reload()}>
        {texts.errors.reload}
      </button>
    </div>
  );
}

/** How an upload ended, for somebody who looks at another page meanwhile. */
function useUploadNews(uploader: Uploader, tell: Page["tell"]): void {
  useEffect(
    () =>
      uploader.subscribe(() => {
        if (parseRoute(location.hash)?.page === "datasets") return;
        const { state } = uploader;
        if (state.kind === "done") tell("good", texts.upload.done(state.imported.dataset.name));
        else if (state.kind === "broken") tell("bad", `${texts.upload.failed(state.name)}: ${state.error.message}`);
        else if (state.kind === "refused")
          tell("bad", `${texts.upload.failed(state.wish.name)}: ${state.error.message}`);
      }),
    [uploader, tell],
  );
}

/** Where the address names no page: only with the first snapshot is it known what a newcomer wants to see first. */
function useFirstRoute(live: Live, route: Route | null): void {
  const loaded = useLive(live, (view) => view.state.position !== null);
  useEffect(() => {
    // Looked at anew: the address may have changed since this was drawn.
    if (!loaded || parseRoute(location.hash) !== null) return;
    // Replaced, so that Back leaves the page.
    location.replace(hashOf({ page: live.view.state.models.size > 0 ? "models" : "datasets" }));
  }, [loaded, route, live]);
}

/** A new page is seen from its top, and read from there; the first one is the browser's own matter. */
function useArrival(route: Route | null): void {
  const shown = route === null ? "" : "id" in route ? `${route.page} ${route.id}` : route.page;
  const before = useRef("");
  useEffect(() => {
    const first = before.current === "";
    before.current = shown;
    if (first) return;
    window.scrollTo(0, 0);
    // What had the focus is gone with the page that it was on.
    if (document.activeElement === document.body) document.getElementById("main")?.focus({ preventScroll: true });
  }, [shown]);
}

function useTitle(live: Live, route: Route | null): void {
  const name = useLive(live, ({ state }) => {
    if (route?.page === "model") return state.models.get(route.id)?.description;
    return route?.page === "dataset" ? state.datasets.get(route.id)?.name : undefined;
  });
  const section = route === null || "id" in route ? undefined : texts.tabs[route.page];
  const title = name ?? section;
  useEffect(() => {
    document.title = title === undefined ? texts.product : `${title} · ${texts.product}`;
  }, [title]);
}

/** What a screen reader should say of the last change. */
function News({ live }: { live: Live }): JSX.Element {
  const state = useLive(live, (view) => view.state);
  const before = useRef<State>(EMPTY);
  const [sentence, setSentence] = useState("");
  useEffect(() => {
    const sentences = news(before.current, state);
    before.current = state;
    if (sentences.length > 0) setSentence(sentences.join(" "));
  }, [state]);
  return (
    <div class="sr" aria-live="polite">
      {sentence}
    </div>
  );
}

function focusMain(event: Event): void {
  event.preventDefault(); // the hash is the route
  document.getElementById("main")?.focus();
}
