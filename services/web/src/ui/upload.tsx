/** Bringing a dataset in: choose or drop a zip, watch it go, read what was made of it; and what an earlier visit left. */
import type { JSX } from "preact";
import { useEffect, useId, useReducer, useRef, useState } from "preact/hooks";
import { type ApiError, asApiError } from "../api";
import type { Imported } from "../contract";
import { ALL_PICTURES, hashOf } from "../route";
import type { Sending } from "../sending";
import { texts } from "../texts";
import { Icon } from "./bits";
import { usePage } from "./context";
import { FileChoice, useDrop } from "./file-drop";
import { ImportSummary } from "./import-report";
import { Leftovers, useLeftovers } from "./leftovers";

const DEFAULT_EVAL_PERCENT = 20;

export function Upload({ refusal }: { refusal: string | null }): JSX.Element {
  const { uploader, tell } = usePage();
  const [file, setFile] = useState<File | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const sending = useSending();
  const [left, lookAgain] = useLeftovers(sending.kind);

  const take = (files: readonly File[]) => {
    const chosen = files.find(isZip) ?? files[0];
    if (chosen === undefined) return;
    if (refusal !== null) return tell("bad", refusal);
    if (sending.kind === "sending" || sending.kind === "reading") {
      return tell("bad", texts.upload.busy(chosen.name, sending.name));
    }
    setProblem(isZip(chosen) ? null : texts.upload.notZip(chosen.name));
    if (!isZip(chosen)) return;
    if (files.length > 1) tell("bad", texts.upload.oneAtATime(chosen.name));
    uploader.close();
    setFile(chosen);
  };
  const send = (chosen: File, name: string, evalPercent: number) => {
    setFile(null);
    void uploader.send({ file: chosen, name, evalPercent });
  };

  const over = useDrop(take);
  const cancel = async () => {
    if (sending.kind === "reading") tell("plain", texts.sending.mayAppear(sending.name));
    await uploader.cancel().catch((error: unknown) => tell("bad", asApiError(error).message));
  };

  const naming = file ?? (sending.kind === "refused" ? sending.wish.file : null);
  return (
    <section class={`card upload ${over ? "is-over" : ""}`} aria-label={texts.upload.title}>
      {naming !== null ? (
        <Naming
          key={naming.name}
          file={naming}
          refused={file === null && sending.kind === "refused" ? sending : null}
          onSend={(name, percent) => send(naming, name, percent)}
          onCancel={() => {
            setFile(null);
            uploader.close();
          }}
        />
      ) : sending.kind === "sending" || sending.kind === "reading" ? (
        <Progress sending={sending} onCancel={() => void cancel()} />
      ) : sending.kind === "broken" ? (
        <Broken sending={sending} />
      ) : sending.kind === "done" ? (
        <Report imported={sending.imported} onClose={() => uploader.close()} />
      ) : (
        <>
          <FileChoice
            words={texts.upload}
            accept=".zip,application/zip"
            disabled={refusal !== null}
            problem={problem}
            hint={refusal ?? texts.upload.hint}
            testId="upload"
            onFile={(chosen) => take(chosen === undefined ? [] : [chosen])}
          />
          {refusal === null && left.length > 0 && (
            <Leftovers
              left={left}
              onGone={lookAgain}
              onFile={(one, chosen) => send(chosen, one.name, one.evalPercent)}
            />
          )}
        </>
      )}
    </section>
  );
}

const isZip = (file: File): boolean => /\.zip$/i.test(file.name);

function useSending(): Sending {
  const { uploader } = usePage();
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    redraw(0); // it may have gone on between drawing and this
    return uploader.subscribe(() => redraw(0));
  }, [uploader]);
  return uploader.state;
}

interface NamingProps {
  file: File;
  refused: Extract<Sending, { kind: "refused" }> | null;
  onSend: (name: string, evalPercent: number) => void;
  onCancel: () => void;
}

function Naming({ file, refused, onSend, onCancel }: NamingProps): JSX.Element {
  const [name, setName] = useState(() => refused?.wish.name ?? file.name.replace(/\.zip$/i, ""));
  const [percent, setPercent] = useState(() => String(refused?.wish.evalPercent ?? DEFAULT_EVAL_PERCENT));
  const error: ApiError | null = refused?.error ?? null;
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.select(), []);
  const id = useId();
  const at = (field: string) => (error?.field === field ? error.message : null);
  const elsewhere = error !== null && error.field !== "name" && error.field !== "eval_percent";
  return (
    <form
      class="upload-form"
      onSubmit={(event) => {
        event.preventDefault();
        onSend(name.trim(), Number(percent));
      }}
    >
      <div class="field grow">
        <label for={`${id}n`}>{texts.upload.name}</label>
        <input
          id={`${id}n`}
          ref={first}
          value={name}
          required
          data-testid="upload-name"
          aria-invalid={at("name") !== null}
          onInput={(event) => setName(event.currentTarget.value)}
        />
        {at("name") !== null && (
          <p class="field-error" role="alert">
            {at("name")}
          </p>
        )}
      </div>
      <div class="field">
        <label for={`${id}p`}>{texts.upload.evalPercent}</label>
        <span class="with-unit">
          <input
            id={`${id}p`}
            type="number"
            inputMode="numeric"
            value={percent}
            required
            aria-invalid={at("eval_percent") !== null}
            onInput={(event) => setPercent(event.currentTarget.value)}
          />
          <span>{texts.upload.percent}</span>
        </span>
        {at("eval_percent") !== null && (
          <p class="field-error" role="alert">
            {at("eval_percent")}
          </p>
        )}
      </div>
      <div class="upload-buttons">
        <button type="submit" class="button primary" data-testid="upload-submit">
          {texts.upload.submit}
        </button>
        <button type="button" class="button" onClick={onCancel}>
          {texts.cancel}
        </button>
      </div>
      {elsewhere && (
        <p class="field-error wide" role="alert" data-testid="upload-error">
          <strong>{texts.upload.failed(file.name)}:</strong> {error.message}
        </p>
      )}
    </form>
  );
}

interface ProgressProps {
  sending: Extract<Sending, { kind: "sending" | "reading" }>;
  onCancel: () => void;
}

function Progress({ sending, onCancel }: ProgressProps): JSX.Element {
  const fraction = sending.kind === "reading" ? 1 : sending.size > 0 ? sending.sent / sending.size : 0;
  const waits = sending.waiting;
  return (
    <div class="upload-row" data-testid="upload-progress">
      <Icon name={waits ? "again" : "upload"} />
      <div class="upload-text">
        <p role="status" class={waits ? "warn-text" : ""}>
          {sending.kind === "sending"
            ? waits
              ? texts.sending.waiting(sending.name)
              : texts.upload.progress(sending.name, sending.size)
            : waits
              ? texts.sending.silent(sending.name)
              : texts.upload.reading(sending.name)}
        </p>
        <Bar fraction={fraction} />
        <p class="muted small-text number">
          {sending.kind === "sending" ? `${texts.sending.sent(sending.sent, sending.size)} · ` : ""}
          {texts.sending.leave}
        </p>
      </div>
      <span class="number upload-percent">{Math.floor(fraction * 100)} %</span>
      <button type="button" class="button" data-testid="upload-cancel" onClick={onCancel}>
        {texts.upload.abort}
      </button>
    </div>
  );
}

function Bar({ fraction }: { fraction: number }): JSX.Element {
  return (
    <div
      class="bar"
      role="progressbar"
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.floor(fraction * 100)}
      aria-label={texts.upload.title}
    >
      <div class="bar-saved" style={{ transform: `scaleX(${fraction})` }} />
    </div>
  );
}

function Broken({ sending }: { sending: Extract<Sending, { kind: "broken" }> }): JSX.Element {
  const { uploader, tell } = usePage();
  const fraction = sending.size > 0 ? sending.sent / sending.size : 0;
  return (
    <div class="upload-row" data-testid="upload-broken">
      <Icon name="alert" />
      <div class="upload-text">
        <p>{texts.sending.stopped(sending.name, Math.floor(fraction * 100))}</p>
        <p class="field-error" role="alert">
          {sending.error.message}
        </p>
        <Bar fraction={fraction} />
      </div>
      <button type="button" class="button primary" data-testid="upload-again" onClick={() => void uploader.again()}>
        {texts.sending.again}
      </button>
      <button
        type="button"
        class="button"
        onClick={() => uploader.cancel().catch((error: unknown) => tell("bad", asApiError(error).message))}
      >
        {texts.sending.giveUp}
      </button>
    </div>
  );
}

function Report({ imported, onClose }: { imported: Imported; onClose: () => void }): JSX.Element {
  const { dataset, report } = imported;
  return (
    <div class="upload-report" role="status" data-testid="import-report">
      <header>
        <h2>
          <Icon name="check" /> {texts.upload.done(dataset.name)}
        </h2>
        <span class="split">
          <a class="button" href={hashOf({ page: "dataset", id: dataset.id, filter: ALL_PICTURES })}>
            {texts.sending.look}
          </a>
          <button type="button" class="button ghost square" aria-label={texts.dismiss} onClick={onClose}>
            <Icon name="cross" />
          </button>
        </span>
      </header>
      <ImportSummary dataset={dataset} report={report} warnings />
    </div>
  );
}
