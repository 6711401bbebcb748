/** Short messages about what a command did. Errors stay until they are dismissed; the rest goes by itself. */
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { texts } from "../texts";
import { Icon } from "./bits";
import type { Tone } from "./context";

export interface Toast {
  id: number;
  tone: Tone;
  message: string;
}

const SHOWN_MS = 6_000;

export function Toasts({ toasts, onDismiss }: { toasts: Toast[]; onDismiss: (id: number) => void }): JSX.Element {
  return (
    <div class="toasts" aria-live="polite" data-testid="messages">
      {toasts.map((toast) => (
        <Message key={toast.id} toast={toast} onDismiss={onDismiss} />
      ))}
    </div>
  );
}

function Message({ toast, onDismiss }: { toast: Toast; onDismiss: (id: number) => void }): JSX.Element {
  useEffect(() => {
    if (toast.tone === "bad") return undefined;
    const timer = window.setTimeout(() => onDismiss(toast.id), SHOWN_MS);
    return () => window.clearTimeout(timer);
  }, [toast, onDismiss]);
  return (
    <div class={`toast tone-${toast.tone}`} role={toast.tone === "bad" ? "alert" : "status"}>
      <Icon name={toast.tone === "bad" ? "alert" : "check"} />
      <p>{toast.message}</p>
      <button type="button" class="button ghost square" aria-label={texts.dismiss} onClick={() => onDismiss(toast.id)}>
        <Icon name="cross" />
      </button>
    </div>
  );
}
