/** A file that is dropped on the page, or chosen in the browser's own way. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Icon } from "./bits";

/** Files are taken anywhere on the page: beside a target, the browser would leave the page for the file. Tells whether one is held over it. */
export function useDrop(onFiles: (files: readonly File[]) => void): boolean {
  const [over, setOver] = useState(false);
  const newest = useRef(onFiles);
  newest.current = onFiles;
  useEffect(() => {
    const drag = (event: DragEvent) => {
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const dropped = (event: DragEvent) => {
      event.preventDefault();
      setOver(false);
      newest.current([...(event.dataTransfer?.files ?? [])]);
    };
    const end = new AbortController();
    window.addEventListener("dragover", drag, end);
    window.addEventListener("dragleave", leave, end);
    window.addEventListener("drop", dropped, end);
    return () => end.abort();
  }, []);
  return over;
}

interface Props {
  words: { drop: string; or: string; choose: string };
  accept: string;
  disabled?: boolean;
  /** What went wrong; else the hint stands there. */
  problem: string | null;
  hint: string;
  /** The field's and the hint's are `<it>-file` and `<it>-hint`. */
  testId: string;
  onFile: (file: File | undefined) => void;
  children?: ComponentChildren;
}

export function FileChoice({
  words,
  accept,
  disabled = false,
  problem,
  hint,
  testId,
  onFile,
  children,
}: Props): JSX.Element {
  const id = useId();
  return (
    <div class="upload-row">
      <Icon name="upload" />
      <div class="upload-text">
        <p>
          <strong>{words.drop}</strong> {words.or}{" "}
          <label for={id} class="file-label">
            {words.choose}
          </label>
          <input
            id={id}
            class="sr"
            type="file"
            accept={accept}
            data-testid={`${testId}-file`}
            disabled={disabled}
            onChange={(event) => {
              onFile(event.currentTarget.files?.[0]);
              event.currentTarget.value = "";
            }}
          />
        </p>
        <p
          class={problem === null ? "muted" : "field-error"}
          role={problem === null ? undefined : "alert"}
          data-testid={`${testId}-hint`}
        >
          {problem ?? hint}
        </p>
      </div>
      {children}
    </div>
  );
}
