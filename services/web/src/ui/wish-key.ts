/** The Idempotency-Key of a form that may be sent again. */
import { useRef } from "preact/hooks";
import { newKey } from "../api";

/**
 * One key per wish (what is asked for, as a text): pressing again after a broken connection makes no second one of what the
 * first request has made, wishing for another does. `done` ends it: the same wish is a new one from then on.
 */
export function useWishKey(): { of: (wish: string) => string; done: () => void } {
  const last = useRef({ wish: "", key: "" });
  return {
    of: (wish) => {
      if (last.current.wish !== wish) last.current = { wish, key: newKey() };
      return last.current.key;
    },
    done: () => {
      last.current = { wish: "", key: "" };
    },
  };
}
