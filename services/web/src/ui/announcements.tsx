/** What operators tell all teams: quiet banners that can be dismissed, on every page; in full on the Team page. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { dismiss, dismissed, inForce } from "../announcements";
import type { Announcement } from "../contract";
import { hashOf } from "../route";
import { texts } from "../texts";
import { Icon } from "./bits";
import { useNow, useView } from "./context";

/** More than these are counted alone: they must not cover the page. */
const MOST_BANNERS = 2;

/** Those in force, newest first. */
export function useAnnouncements(): { announcements: Announcement[]; now: number } {
  const all = useView(({ state }) => state.announcements);
  const now = useNow(all.some((each) => each.until !== null));
  return { announcements: inForce(all, now), now };
}

/** They lie over the page, so that it doesn't move when one comes; the Team page, which has them in full, has none. */
export function AnnouncementBanners({ current }: { current: string | null }): JSX.Element {
  const { announcements } = useAnnouncements();
  const [gone, setGone] = useState(() => dismissed(localStorage));
  useEffect(() => {
    const look = () => setGone(dismissed(localStorage)); // another tab's reader is the same one
    addEventListener("storage", look);
    return () => removeEventListener("storage", look);
  }, []);
  const shown = current === "team" ? [] : announcements.filter((each) => !gone.has(each.id));
  const rest = shown.length - MOST_BANNERS;
  return (
    <div class="banners" role="status" aria-label={texts.announcements.title} data-testid="banners">
      {shown.slice(0, MOST_BANNERS).map((each) => (
        <div key={each.id} class={`toast ${toneOf(each)}`}>
          <Mark announcement={each} />
          <p>{each.text}</p>
          <button
            type="button"
            class="button ghost square"
            aria-label={texts.announcements.dismiss(each.text)}
            onClick={() => setGone(dismiss(localStorage, each.id, announcements))}
          >
            <Icon name="cross" />
          </button>
        </div>
      ))}
      {rest > 0 && (
        <a class="more-banners" href={hashOf({ page: "team", tab: "minutes" })}>
          {texts.announcements.more(rest)}
        </a>
      )}
    </div>
  );
}

/** All in force, also those that were dismissed. */
export function Announcements(): JSX.Element | null {
  const { announcements } = useAnnouncements();
  if (announcements.length === 0) return null;
  return (
    <section class="card pad" data-testid="announcements">
      <h2>{texts.announcements.title}</h2>
      <AnnouncementList />
    </section>
  );
}

interface ListProps {
  /** What stands behind each. */
  action?: (announcement: Announcement) => JSX.Element;
}

export function AnnouncementList({ action }: ListProps): JSX.Element {
  const { announcements, now } = useAnnouncements();
  return (
    <ul class="announcements">
      {announcements.map((each) => (
        <li key={each.id} class={toneOf(each)}>
          <Mark announcement={each} />
          <div class="grow">
            <p>{each.text}</p>
            <p class="muted small-text">{texts.announcements.about(each.by, each.at, each.until, now)}</p>
          </div>
          {action?.(each)}
        </li>
      ))}
    </ul>
  );
}

/** The kind as a picture, and in words for whoever doesn't see it. */
function Mark({ announcement }: { announcement: Announcement }): JSX.Element {
  return (
    <>
      <Icon name={announcement.kind === "warning" ? "alert" : "info"} />
      <span class="sr">{texts.announcements.kinds[announcement.kind]}: </span>
    </>
  );
}

function toneOf(announcement: Announcement): string {
  return announcement.kind === "warning" ? "tone-warn" : "tone-active";
}
