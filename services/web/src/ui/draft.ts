/** A field that shows what is so, live, and lets somebody write something else. */
import { useEffect, useState } from "preact/hooks";

/**
 * The text in the field, and how it is written. It follows `live` until somebody writes, and again once what they wrote is so:
 * what somebody else changed meanwhile is never put back by saving a field that nobody touched.
 */
export function useDraft(live: string): [text: string, write: (text: string) => void] {
  const [draft, setDraft] = useState<string | null>(null);
  useEffect(() => {
    if (draft === live) setDraft(null);
  }, [draft, live]);
  return [draft ?? live, setDraft];
}
