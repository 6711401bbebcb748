/** What every component may use: the server's interface, the live data, the present, and a way to tell the user something. */
import { createContext } from "preact";
import { useContext, useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";
import type { Api } from "../api";
import type { Progress, Session } from "../contract";
import type { Live, View } from "../live";
import { parseRoute, type Route } from "../route";
import type { Uploader } from "../sending";
import type { Sight } from "../sight";
import type { Themes } from "../theme";
import type { Ticker } from "../ticker";

export type Tone = "good" | "bad" | "plain";

/** It changes with the session alone: what moves is read by `useView` and `useNow`, part by part. */
export interface Page {
  api: Api;
  live: Live;
  ticker: Ticker;
  sight: Sight;
  themes: Themes;
  uploader: Uploader;
  session: Session | null;
  tell: (tone: Tone, message: string) => void;
}

export const PageContext = createContext<Page | null>(null);

/** False around what is out of sight: there, nothing moves each second. */
export const InSight = createContext(true);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (page === null) throw new Error("usePage outside of PageContext");
  return page;
}

/** The themes; renders again when another one is shown. */
export function useThemes(): Themes {
  const { themes } = usePage();
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => themes.subscribe(() => redraw(0)), [themes]);
  return themes;
}

/** A part of the live data: renders again when that part has changed, at most once per drawn frame. */
export function useView<T>(select: (view: View) => T): T {
  const { live } = usePage();
  return useLive(live, select);
}

export function useLive<T>(live: Live, select: (view: View) => T, enabled = true): T {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const value = select(live.view);
  const drawn = useRef({ select, value });
  drawn.current = { select, value };
  useEffect(() => {
    if (!enabled) return undefined;
    const look = () => {
      if (!Object.is(drawn.current.select(live.view), drawn.current.value)) redraw(0);
    };
    look();
    return live.subscribe(look);
  }, [live, enabled]);
  return value;
}

/** Changes with each connection and each snapshot: what is fetched beside the stream is then fetched again. */
export function useArrivals(): string {
  return useView(({ state, arrivals }) => `${state.snapshots} ${arrivals}`);
}

/** Changes with each of these, and when what runs or waits in the room has moved. */
export function useRoomVersion(): string {
  const moved = useView(({ state }) => state.roomMoved);
  return `${moved} ${useArrivals()}`;
}

/** The newest figures of a running model; they stand still while the component is out of sight. */
export function useProgress(id: string): Progress | undefined {
  const { live } = usePage();
  return useLive(live, (view) => view.state.progress.get(id), useContext(InSight));
}

/** The server's clock in milliseconds, anew each second, unless `moving` is false or the component is out of sight. */
export function useNow(moving = true): number {
  const { ticker } = usePage();
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const enabled = useContext(InSight) && moving;
  useEffect(() => (enabled ? ticker.subscribe(() => redraw(0)) : undefined), [ticker, enabled]);
  return ticker.now();
}

/** Whether an element is on the screen or near it. */
export function useInSight<T extends Element>(): [{ current: T | null }, boolean] {
  const { sight } = usePage();
  const target = useRef<T>(null);
  const [seen, setSeen] = useState(true);
  useEffect(() => (target.current === null ? undefined : sight.watch(target.current, setSeen)), [sight]);
  return [target, seen];
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

/** Keys pressed anywhere on the page, heard by the newest render: `pressed` says whether it took the key. */
export function useKeys(pressed: (event: KeyboardEvent) => boolean): void {
  const latest = useRef(pressed);
  latest.current = pressed;
  // Not after the next paint, as useEffect would: a key pressed before that would be lost.
  useLayoutEffect(() => {
    const heard = (event: KeyboardEvent) => {
      if (latest.current(event)) event.preventDefault();
    };
    document.addEventListener("keydown", heard);
    return () => document.removeEventListener("keydown", heard);
  }, []);
}
