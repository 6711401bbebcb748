/** The frame around every page: header, tabs, notices, and the dialog that any page may open. */
import type { ComponentChildren, JSX } from "preact";
import { useCallback, useEffect, useErrorBoundary, useMemo, useRef, useState } from "preact/hooks";
import { type Api, ApiError } from "../api";
import type { Session } from "../contract";
import type { Live } from "../live";
import { news } from "../news";
import { hashOf } from "../route";
import { EMPTY } from "../store";
import { texts } from "../texts";
import { type Page, PageContext, type Preset, type Tone, useLive, useRoute, useServerClock } from "./context";
import { DatasetsPage } from "./datasets";
import { Header } from "./header";
import { ModelPage } from "./model";
import { ModelsPage } from "./models";
import { SignIn } from "./sign-in";
import { StartTraining } from "./start-training";
import { type Toast, Toasts } from "./toasts";

export function App({ api, live }: { api: Api; live: Live }): JSX.Element {
  const view = useLive(live);
  const now = useServerClock(live);
  const route = useRoute();
  const [session, setSession] = useState<Session | null>(null);
  const [refused, setRefused] = useState<"unauthorized" | "forbidden" | null>(null);
  const [toasts, setToasts] = useState<Toast[]>([]);
  const [preset, setPreset] = useState<Preset | null>(null);
  const spoken = useNews(view.state);

  const tell = useCallback((tone: Tone, message: string) => {
    setToasts((shown) => [...shown.slice(-3), { id: (shown.at(-1)?.id ?? 0) + 1, tone, message }]);
  }, []);

  const dismiss = useCallback((id: number) => setToasts((shown) => shown.filter((toast) => toast.id !== id)), []);

  const who = useCallback(async () => {
    try {
      setSession(await api.session());
      setRefused(null);
    } catch (error) {
      // Only the name and the role are missing then: the stream tells the team, the server guards what is allowed.
      if (!(error instanceof ApiError)) return;
      if (error.status === 401) setRefused("unauthorized");
      if (error.status === 403) setRefused("forbidden");
    }
  }, [api]);
  useEffect(() => void who(), [who]);

  const loaded = view.state.position !== null;
  useEffect(() => {
    // Only now is it known what a newcomer wants to see first. Replaced, so that Back leaves the page.
    if (!loaded || route !== null) return;
    location.replace(hashOf({ page: live.view.state.models.size > 0 ? "models" : "datasets" }));
  }, [loaded, route, live]);

  const shown = route === null ? "" : hashOf(route);
  useEffect(() => {
    window.scrollTo(0, 0);
    // What had the focus is gone with the page that it was on.
    if (document.activeElement === document.body) document.getElementById("main")?.focus({ preventScroll: true });
  }, [shown]);

  const startTraining = useCallback((wanted: Preset) => setPreset(wanted), []);
  const page = useMemo<Page>(
    () => ({ api, live, view, session, now, tell, startTraining }),
    [api, live, view, session, now, tell, startTraining],
  );
  const kind = view.connection.kind;
  const signedOut = kind === "unauthorized" || kind === "forbidden" ? kind : refused;
  const title = route?.page === "model" ? view.state.models.get(route.id)?.description : undefined;
  useEffect(() => {
    document.title = title === undefined ? texts.product : `${title} · ${texts.product}`;
  }, [title]);

  return (
    <PageContext.Provider value={page}>
      <a class="skip" href="#main" onClick={focusMain}>
        {texts.skip}
      </a>
      <Header current={route?.page === "model" ? "models" : (route?.page ?? null)} />
      <main id="main" tabIndex={-1}>
        {signedOut !== null ? (
          <SignIn
            removed={signedOut === "forbidden"}
            onDone={() => {
              void who();
              live.start();
            }}
          />
        ) : (
          <Boundary>
            {(route === null || route.page === "datasets") && <DatasetsPage />}
            {route?.page === "models" && <ModelsPage />}
            {route?.page === "model" && <ModelPage key={route.id} id={route.id} />}
          </Boundary>
        )}
      </main>
      {preset !== null && <StartTraining preset={preset} onClose={() => setPreset(null)} />}
      <Toasts toasts={toasts} onDismiss={dismiss} />
      <div class="sr" aria-live="polite">
        {spoken}
      </div>
    </PageContext.Provider>
  );
}

/** A page that breaks says so and leaves header and dialogs usable. */
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

/** What a screen reader should say of the last change. */
function useNews(state: Page["view"]["state"]): string {
  const before = useRef(EMPTY);
  const [sentence, setSentence] = useState("");
  useEffect(() => {
    const sentences = news(before.current, state);
    before.current = state;
    if (sentences.length > 0) setSentence(sentences.join(" "));
  }, [state]);
  return sentence;
}

function focusMain(event: Event): void {
  event.preventDefault(); // the hash is the route
  document.getElementById("main")?.focus();
}
