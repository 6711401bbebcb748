/** Closing training, for some teams or for everybody: a question first, with what the teams are told and until when. */
import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { type ApiError, asApiError } from "../api";
import type { PauseRequest } from "../contract";
import { texts } from "../texts";
import { Dialog, DialogFoot } from "./bits";
import { Field } from "./field";

interface Props {
  /** Null: everybody. */
  teams: string[] | null;
  /** Does it; what it throws stands at its field. */
  onPause: (wanted: PauseRequest) => Promise<void>;
  onClose: () => void;
}

export function CloseTraining({ teams, onPause, onClose }: Props): JSX.Element {
  const [message, setMessage] = useState("");
  const [until, setUntil] = useState("");
  const [error, setError] = useState<ApiError | null>(null);
  const id = useId();
  const submit = async (event: Event) => {
    event.preventDefault();
    try {
      const end = until === "" ? null : new Date(until).toISOString();
      await onPause({ teams, paused: true, message: message.trim(), until: end });
    } catch (problem) {
      return setError(asApiError(problem));
    }
    onClose();
  };
  return (
    <Dialog title={texts.operators.closeTitle(teams)} onClose={onClose} class="small">
      <form onSubmit={(event) => void submit(event)} noValidate>
        <div class="dialog-text stack">
          <p>{texts.operators.closeText}</p>
          <Field
            id={`${id}m`}
            label={texts.operators.reason}
            hint={texts.operators.closeReasonHint}
            error={error !== null && error.field !== "until" ? error.message : null}
            input={
              <input
                value={message}
                autocomplete="off"
                data-testid="pause-message"
                onInput={(event) => setMessage(event.currentTarget.value)}
              />
            }
          />
          <Field
            id={`${id}u`}
            label={texts.operators.closeUntil}
            hint={texts.operators.closeUntilHint}
            error={error?.field === "until" ? error.message : null}
            input={
              <input
                type="datetime-local"
                value={until}
                data-testid="pause-until"
                onInput={(event) => setUntil(event.currentTarget.value)}
              />
            }
          />
        </div>
        <DialogFoot
          action={teams === null ? texts.operators.pauseAll : texts.operators.pause}
          danger
          onClose={onClose}
        />
      </form>
    </Dialog>
  );
}
