/** Uploads that an earlier visit left half done: they go on with the same file, or are given up. */
import type { JSX } from "preact";
import { useCallback, useEffect, useId, useState } from "preact/hooks";
import { asApiError } from "../api";
import { clock } from "../format";
import type { Leftover, Sending } from "../sending";
import { texts } from "../texts";
import { Icon } from "./bits";
import { usePage } from "./context";

/** What earlier visits left; looked at when nothing is under way. */
export function useLeftovers(kind: Sending["kind"]): [Leftover[], () => void] {
  const { uploader } = usePage();
  const [left, setLeft] = useState<Leftover[]>([]);
  const idle = kind === "idle";
  const look = useCallback(() => void uploader.leftovers().then(setLeft), [uploader]);
  useEffect(() => {
    if (idle) look();
  }, [idle, look]);
  return [left, look];
}

interface LeftoversProps {
  left: readonly Leftover[];
  onGone: () => void;
  onFile: (one: Leftover, file: File) => void;
}

export function Leftovers({ left, onGone, onFile }: LeftoversProps): JSX.Element {
  const { uploader, tell, live } = usePage();
  const id = useId();
  const giveUp = async (one: Leftover) => {
    try {
      await uploader.discard(one);
    } catch (error) {
      tell("bad", asApiError(error).message);
    }
    onGone();
  };
  return (
    <ul class="leftovers" aria-label={texts.sending.left} data-testid="leftovers">
      {left.map((one) => {
        const whole = one.sent >= one.size;
        const until = clock(new Date(one.expires).toISOString(), live.serverNow());
        const percent = Math.floor((100 * one.sent) / Math.max(1, one.size));
        return (
          <li key={one.key} class="upload-row" data-testid="leftover">
            <Icon name="again" />
            <div class="upload-text">
              <p>
                <strong>{one.name}</strong>
              </p>
              <p class="muted small-text">
                {whole ? texts.sending.leftWhole(until) : texts.sending.leftPart(percent, until)}
              </p>
            </div>
            {whole ? (
              <button
                type="button"
                class="button primary"
                aria-label={`${texts.sending.import}: ${one.name}`}
                onClick={() => void uploader.finish(one)}
              >
                {texts.sending.import}
              </button>
            ) : (
              <span class="file-button">
                <input
                  id={`${id}${one.key}`}
                  class="sr"
                  type="file"
                  accept=".zip,application/zip"
                  aria-label={texts.sending.goOn(one.name)}
                  data-testid="leftover-file"
                  onChange={(event) => {
                    const file = event.currentTarget.files?.[0];
                    event.currentTarget.value = "";
                    if (file === undefined) return;
                    if (file.size === one.size) onFile(one, file);
                    else tell("bad", texts.sending.otherFile(one.name));
                  }}
                />
                <label class="button primary" for={`${id}${one.key}`}>
                  {texts.upload.choose}
                </label>
              </span>
            )}
            <button
              type="button"
              class="button"
              aria-label={texts.sending.giveUpOf(one.name)}
              onClick={() => void giveUp(one)}
            >
              {texts.sending.giveUp}
            </button>
          </li>
        );
      })}
    </ul>
  );
}
