/** One input with its label and its hint, whose place an error takes: the form never jumps. */
import { cloneElement, type InputHTMLAttributes, type JSX, type VNode } from "preact";

interface Props {
  id: string;
  label: string;
  hint?: string | undefined;
  error: string | null;
  /** The input, select or the like; it is told its id, its note and whether it is in error. */
  input: VNode<InputHTMLAttributes<HTMLInputElement>>;
  /** What stands behind the input: a unit, a button. */
  after?: JSX.Element | string;
  class?: string;
}

export function Field({ id, label, hint, error, input, after, class: kind = "" }: Props): JSX.Element {
  const told = cloneElement(input, {
    id,
    "aria-invalid": error !== null,
    "aria-describedby": `${id}-note`,
  });
  return (
    <div class={`field ${kind}`}>
      <label for={id}>{label}</label>
      {after === undefined ? (
        told
      ) : (
        <span class="with-unit">
          {told}
          {typeof after === "string" ? <span>{after}</span> : after}
        </span>
      )}
      <p
        id={`${id}-note`}
        class={error === null ? "field-hint" : "field-error"}
        {...(error === null ? {} : { role: "alert" })}
      >
        {error ?? hint ?? "\u00a0"}
      </p>
    </div>
  );
}
