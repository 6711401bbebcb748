/** Shown in place of a page while there is no valid session. The token goes to the server, which keeps it in a cookie. */
import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { asApiError } from "../api";
import type { Refusal } from "../line";
import { texts } from "../texts";
import { useFocus, usePage } from "./context";

interface Props {
  why: Refusal;
  onDone: () => void;
}

export function SignIn({ why, onDone }: Props): JSX.Element {
  const { api } = usePage();
  const [error, setError] = useState<string | null>(null);
  const field = useFocus<HTMLInputElement>();
  const id = useId();

  const submit = async (event: Event) => {
    event.preventDefault();
    try {
      await api.signIn(field.current?.value.trim() ?? "");
    } catch (problem) {
      setError(asApiError(problem).message);
      return;
    }
    onDone();
  };

  return (
    <form class="card sign-in" onSubmit={(event) => void submit(event)}>
      <h1>{texts.signIn.title}</h1>
      <p class="muted">{texts.signIn.why[why]}</p>
      <label for={id}>{texts.signIn.token}</label>
      <input id={id} ref={field} type="password" autocomplete="off" required aria-invalid={error !== null} />
      {error !== null && (
        <p class="field-error" role="alert">
          {error}
        </p>
      )}
      <button type="submit" class="button primary">
        {texts.signIn.submit}
      </button>
    </form>
  );
}
