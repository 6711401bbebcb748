/** Why a button can't be pressed: a bubble beside it, on hover and on focus, until Escape. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { bubbleAt } from "../bubble";

/** Belongs to the element that it stands in. In the browser's top layer, so that no table or dialog around it cuts it off. */
export function Hint({ id, text }: { id: string; text: string }): JSX.Element {
  const bubble = useRef<HTMLSpanElement>(null);
  const [shown, setShown] = useState(false);

  useEffect(() => {
    const around = bubble.current?.parentElement;
    if (around == null) return undefined;
    const over = () => setShown(true);
    const focused = ({ target }: FocusEvent) => setShown(target instanceof Element && target.matches(":focus-visible"));
    const left = () => setShown(false);
    const end = new AbortController();
    around.addEventListener("mouseenter", over, end);
    around.addEventListener("mouseleave", left, end);
    around.addEventListener("focusin", focused, end);
    around.addEventListener("focusout", left, end);
    return () => end.abort();
  }, []);

  useLayoutEffect(() => {
    const element = bubble.current;
    if (!shown || element === null) return undefined;
    const place = () => {
      const around = element.parentElement?.getBoundingClientRect();
      if (around === undefined) return;
      const { clientWidth: width, clientHeight: height } = document.documentElement;
      const { left, top } = bubbleAt(around, element.getBoundingClientRect(), { width, height });
      element.style.left = `${left}px`;
      element.style.top = `${top}px`;
    };
    element.showPopover();
    place();
    const end = new AbortController();
    window.addEventListener("scroll", place, { signal: end.signal, capture: true, passive: true });
    window.addEventListener("resize", place, end);
    // Whatever it hides can be seen all the same.
    const escaped = ({ key }: KeyboardEvent) => key === "Escape" && setShown(false);
    window.addEventListener("keydown", escaped, end);
    return () => {
      end.abort();
      element.hidePopover();
    };
  }, [shown, text]);

  return (
    <span ref={bubble} class="hint-bubble" role="tooltip" id={id} popover="manual">
      {text}
    </span>
  );
}
