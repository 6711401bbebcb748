/** One of a few, all of them in sight. */
import type { JSX } from "preact";

interface Props<T extends string> {
  label: string;
  all: readonly T[];
  names: Readonly<Record<T, string>>;
  chosen: T;
  onChoose: (key: T) => void;
}

export function Segments<T extends string>({ label, all, names, chosen, onChoose }: Props<T>): JSX.Element {
  return (
    <div class="segments" role="group" aria-label={label}>
      {all.map((key) => (
        <button type="button" key={key} aria-pressed={key === chosen} onClick={() => onChoose(key)}>
          {names[key]}
        </button>
      ))}
    </div>
  );
}
