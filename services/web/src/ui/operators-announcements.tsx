/** Telling all teams something, for a while or until it is removed. */
import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { type ApiError, asApiError } from "../api";
import type { AnnounceRequest } from "../contract";
import { LONGEST_ANNOUNCEMENT } from "../contract";
import { texts } from "../texts";
import { AnnouncementList, useAnnouncements } from "./announcements";
import { Button, Empty } from "./bits";
import { carryOut } from "./commands";
import { usePage } from "./context";
import { Field } from "./field";
import { useWishKey } from "./wish-key";

type Kind = NonNullable<AnnounceRequest["kind"]>;
const KINDS: readonly Kind[] = ["info", "warning"];

export function AnnouncementsTab(): JSX.Element {
  const page = usePage();
  const { announcements } = useAnnouncements();
  return (
    <div class="columns">
      <section class="card pad" data-testid="announced">
        <h2>{texts.announcements.title}</h2>
        {announcements.length === 0 ? (
          <Empty title={texts.announcements.none}>
            <p>{texts.announcements.noneHint}</p>
          </Empty>
        ) : (
          <AnnouncementList
            action={({ id, text }) => (
              <Button
                aria-label={texts.announcements.removeOf(text)}
                onClick={() => void carryOut(page, () => page.api.removeAnnouncement(id))}
              >
                {texts.announcements.remove}
              </Button>
            )}
          />
        )}
      </section>
      <Announce />
    </div>
  );
}

function Announce(): JSX.Element {
  const page = usePage();
  const [text, setText] = useState("");
  const [kind, setKind] = useState<Kind>("info");
  const [until, setUntil] = useState("");
  const [error, setError] = useState<ApiError | null>(null);
  const wishKey = useWishKey();
  const id = useId();
  const submit = async (event: Event) => {
    event.preventDefault();
    if (text.trim() === "") return setError(asApiError(new Error(texts.announcements.textMissing)));
    try {
      const wish = { text, kind, until: until === "" ? null : new Date(until).toISOString() };
      await page.api.announce(wish, wishKey.of(JSON.stringify(wish)));
    } catch (problem) {
      return setError(asApiError(problem));
    }
    wishKey.done();
    setText("");
    setKind("info");
    setUntil("");
    setError(null);
  };
  return (
    <form class="card pad stack" onSubmit={(event) => void submit(event)} noValidate>
      <h2>{texts.announcements.form}</h2>
      <Field
        id={`${id}t`}
        label={texts.announcements.text}
        hint={texts.announcements.left(Math.max(0, LONGEST_ANNOUNCEMENT - text.length))}
        error={error !== null && error.field !== "until" ? error.message : null}
        input={
          <input
            value={text}
            maxLength={LONGEST_ANNOUNCEMENT}
            autocomplete="off"
            data-testid="announce-text"
            onInput={(event) => setText(event.currentTarget.value)}
          />
        }
      />
      <div class="side-by-side">
        <div class="field">
          <label for={`${id}k`}>{texts.announcements.kind}</label>
          <select
            id={`${id}k`}
            value={kind}
            data-testid="announce-kind"
            onChange={(event) => setKind(event.currentTarget.value as Kind)}
          >
            {KINDS.map((each) => (
              <option key={each} value={each}>
                {texts.announcements.kinds[each]}
              </option>
            ))}
          </select>
        </div>
        <Field
          id={`${id}u`}
          class="grow"
          label={texts.announcements.until}
          hint={texts.announcements.untilHint}
          error={error?.field === "until" ? error.message : null}
          input={<input type="datetime-local" value={until} onInput={(event) => setUntil(event.currentTarget.value)} />}
        />
      </div>
      <button type="submit" class="button" data-testid="announce">
        {texts.announcements.publish}
      </button>
    </form>
  );
}
