/** Exactly which labels differ in which dataset. */
import type { JSX } from "preact";
import type { Difference } from "../contract";
import { texts } from "../texts";

export function Differences({ differences }: { differences: readonly Difference[] }): JSX.Element {
  return (
    <>
      <p class="warn-text">{texts.start.different}</p>
      <ul>
        {differences
          .filter((each) => each.message !== "") // the others have what most have
          .map((each) => (
            <li key={each.dataset_id}>{[each.message, ...each.hints].join(" ")}</li>
          ))}
      </ul>
    </>
  );
}
