/** What every component may use: the server's interface, the live data, the present, and a way to tell the user something. */
import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import type { Api } from "../api";
import type { JobView, Session } from "../contract";
import type { Live, View } from "../live";
import { parseRoute, type Route } from "../route";

export type Tone = "good" | "bad" | "plain";

/** What the Start Training dialog begins with. */
export interface Preset {
  datasetIds: string[];
  from?: JobView;
}

export interface Page {
  api: Api;
  live: Live;
  view: View;
  session: Session | null;
  /** The server's clock in milliseconds; a new value each second. */
  now: number;
  tell: (tone: Tone, message: string) => void;
  startTraining: (preset: Preset) => void;
}

export const PageContext = createContext<Page | null>(null);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (page === null) throw new Error("usePage outside of PageContext");
  return page;
}

/** The live data: renders again after each change, at most once per drawn frame. */
export function useLive(live: Live): View {
  const [view, setView] = useState(live.view);
  useEffect(() => {
    let asked: number | null = null;
    const draw = () => {
      asked = null;
      setView(live.view);
    };
    const end = live.subscribe(() => {
      // A hidden tab draws no frames: its title and announcements still have to follow.
      if (document.hidden) draw();
      else asked ??= requestAnimationFrame(draw);
    });
    draw();
    return () => {
      end();
      if (asked !== null) cancelAnimationFrame(asked);
    };
  }, [live]);
  return view;
}

/** The server's clock in milliseconds, anew each time its second changes. */
export function useServerClock(live: Live): number {
  const [now, setNow] = useState(() => live.serverNow());
  useEffect(() => {
    let timer = 0;
    const tick = () => {
      const present = live.serverNow();
      setNow(present);
      timer = window.setTimeout(tick, 1000 - (present % 1000) + 5);
    };
    tick();
    return () => window.clearTimeout(timer);
  }, [live]);
  return now;
}

/** The route in the address, null where it names none. */
export function useRoute(): Route | null {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parseRoute(location.hash));
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return route;
}

/** A ref to what gets the focus when the component appears. */
export function useFocus<T extends HTMLElement>() {
  const target = useRef<T>(null);
  useEffect(() => target.current?.focus(), []);
  return target;
}
