/** A button that copies a text, and says whether it did. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { texts } from "../texts";
import { Icon } from "./bits";

const TOLD_MS = 2_000;

export function CopyButton({ text }: { text: string }): JSX.Element {
  const [told, setTold] = useState<string | null>(null);
  useEffect(() => {
    if (told === null) return undefined;
    const timer = window.setTimeout(() => setTold(null), TOLD_MS);
    return () => window.clearTimeout(timer);
  }, [told]);
  const copy = async () => {
    try {
      // Only there where the page came by HTTPS or from this machine.
      await navigator.clipboard.writeText(text);
      setTold(texts.copy.done);
    } catch {
      setTold(texts.copy.failed);
    }
  };
  return (
    <button type="button" class="button small copy" onClick={() => void copy()}>
      <Icon name="copy" />
      <span aria-live="polite">{told ?? texts.copy.copy}</span>
    </button>
  );
}
