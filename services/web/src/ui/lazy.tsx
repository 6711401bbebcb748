/** Pages that are fetched when they are first shown, or before that when nothing else is to do. */
import { type ComponentType, createElement, type JSX } from "preact";
import { useEffect, useReducer, useState } from "preact/hooks";
import { texts } from "../texts";
import { Waiting } from "./bits";

interface Lazy<P extends object> {
  (props: P): JSX.Element;
  /** Fetches it ahead of time; a failure is told when it is shown. */
  prefetch: () => void;
}

export function lazy<P extends object>(load: () => Promise<ComponentType<P>>): Lazy<P> {
  let found: ComponentType<P> | null = null;
  const fetch = async () => {
    found ??= await load();
  };
  function Page(props: P): JSX.Element {
    const [, redraw] = useReducer((count: number) => count + 1, 0);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (found !== null) return;
      fetch().then(
        () => redraw(0),
        () => setFailed(true),
      );
    }, []);
    if (found !== null) return createElement(found, props);
    return <section class="card">{failed ? <Newer /> : <Waiting rows={6} />}</section>;
  }
  Page.prefetch = () => {
    fetch().catch(() => undefined);
  };
  return Page;
}

/** Its file is gone: the server has a newer page than this one, or can't be reached. */
function Newer(): JSX.Element {
  return (
    <div class="page-error" role="alert">
      <p>{texts.errors.newer}</p>
      <button type="button" class="button primary" onClick={() => location.reload()}>
        {texts.errors.reload}
      </button>
    </div>
  );
}
