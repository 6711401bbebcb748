/** Bringing a dataset in: choose or drop a zip, watch it go, read what was made of it. */
import type { JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { type ApiError, asApiError, isAbort } from "../api";
import type { Imported } from "../contract";
import { texts } from "../texts";
import { Icon } from "./bits";
import { usePage } from "./context";

const DEFAULT_EVAL_PERCENT = 20;

type Phase =
  | { kind: "idle"; problem?: string }
  | { kind: "naming"; file: File; error: ApiError | null }
  | { kind: "sending"; file: File; name: string; fraction: number; abort: () => void }
  | { kind: "done"; imported: Imported };

export function Upload({ refusal }: { refusal: string | null }): JSX.Element {
  const { api, live } = usePage();
  const [phase, setPhase] = useState<Phase>({ kind: "idle" });
  const [over, setOver] = useState(false);
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);

  const take = (file: File | undefined) => {
    setOver(false);
    if (file === undefined || refusal !== null || phase.kind === "sending") return;
    if (!/\.zip$/i.test(file.name)) setPhase({ kind: "idle", problem: texts.upload.notZip(file.name) });
    else setPhase({ kind: "naming", file, error: null });
  };

  const send = async (file: File, name: string, evalPercent: number) => {
    const control = new AbortController();
    running.current = control;
    const show = (fraction: number) =>
      setPhase({ kind: "sending", file, name, fraction, abort: () => control.abort() });
    show(0);
    try {
      const imported = await api.upload({ file, name, evalPercent, onProgress: show, signal: control.signal });
      live.addDataset(imported.dataset);
      setPhase({ kind: "done", imported });
    } catch (problem) {
      setPhase({ kind: "naming", file, error: isAbort(problem) ? null : asApiError(problem) });
    }
  };

  return (
    <section
      class={`card upload ${over ? "is-over" : ""}`}
      aria-label={texts.upload.title}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        take(event.dataTransfer?.files[0]);
      }}
    >
      {phase.kind === "idle" && <Choose refusal={refusal} problem={phase.problem ?? null} onFile={take} />}
      {phase.kind === "naming" && (
        <Naming
          key={phase.file.name}
          file={phase.file}
          error={phase.error}
          onSend={(name, percent) => void send(phase.file, name, percent)}
          onCancel={() => setPhase({ kind: "idle" })}
        />
      )}
      {phase.kind === "sending" && <Sending phase={phase} />}
      {phase.kind === "done" && <Report imported={phase.imported} onClose={() => setPhase({ kind: "idle" })} />}
    </section>
  );
}

interface ChooseProps {
  refusal: string | null;
  problem: string | null;
  onFile: (file: File | undefined) => void;
}

function Choose({ refusal, problem, onFile }: ChooseProps): JSX.Element {
  const id = useId();
  return (
    <div class="upload-row">
      <Icon name="upload" />
      <div class="upload-text">
        <p>
          <strong>{texts.upload.drop}</strong> {texts.upload.or}{" "}
          <label for={id} class="file-label">
            {texts.upload.choose}
          </label>
          <input
            id={id}
            class="sr"
            type="file"
            accept=".zip,application/zip"
            data-testid="upload-file"
            disabled={refusal !== null}
            onChange={(event) => {
              onFile(event.currentTarget.files?.[0]);
              event.currentTarget.value = "";
            }}
          />
        </p>
        <p class={problem === null ? "muted" : "field-error"} role={problem === null ? undefined : "alert"}>
          {problem ?? refusal ?? texts.upload.hint}
        </p>
      </div>
    </div>
  );
}

interface NamingProps {
  file: File;
  error: ApiError | null;
  onSend: (name: string, evalPercent: number) => void;
  onCancel: () => void;
}

function Naming({ file, error, onSend, onCancel }: NamingProps): JSX.Element {
  const [name, setName] = useState(() => file.name.replace(/\.zip$/i, ""));
  const [percent, setPercent] = useState(String(DEFAULT_EVAL_PERCENT));
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

function Sending({ phase }: { phase: Extract<Phase, { kind: "sending" }> }): JSX.Element {
  const reading = phase.fraction >= 1;
  const percent = Math.floor(phase.fraction * 100);
  return (
    <div class="upload-row">
      <Icon name="upload" />
      <div class="upload-text">
        <p role="status">
          {reading ? texts.upload.reading(phase.name) : texts.upload.progress(phase.name, phase.file.size)}
        </p>
        <div
          class="bar"
          role="progressbar"
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={percent}
          aria-label={texts.upload.title}
        >
          <div class="bar-saved" style={{ transform: `scaleX(${phase.fraction})` }} />
        </div>
      </div>
      <span class="number upload-percent">{percent} %</span>
      <button type="button" class="button" onClick={phase.abort}>
        {texts.upload.abort}
      </button>
    </div>
  );
}

function Report({ imported, onClose }: { imported: Imported; onClose: () => void }): JSX.Element {
  const { dataset, report } = imported;
  const unlisted = report.skipped_total - report.skipped.length;
  return (
    <div class="upload-report" role="status" data-testid="import-report">
      <header>
        <h2>
          <Icon name="check" /> {texts.upload.done(dataset.name)}
        </h2>
        <button type="button" class="button ghost square" aria-label={texts.dismiss} onClick={onClose}>
          <Icon name="cross" />
        </button>
      </header>
      <p>{texts.upload.read(report.read.pictures ?? 0, report.boxes, dataset.train_frames, dataset.eval_frames)}</p>
      {report.warnings.length > 0 && (
        <details open>
          <summary class="warn-text">{texts.upload.warnings(report.warnings.length)}</summary>
          <ul>
            {report.warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        </details>
      )}
      {report.skipped_total > 0 && (
        <details>
          <summary class="warn-text">{texts.upload.skipped(report.skipped_total)}</summary>
          <table class="plain-table">
            <thead>
              <tr>
                <th scope="col">{texts.upload.file}</th>
                <th scope="col">{texts.upload.reason}</th>
              </tr>
            </thead>
            <tbody>
              {report.skipped.map((skipped) => (
                <tr key={skipped.file}>
                  <td>{skipped.file}</td>
                  <td>{skipped.reason}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {unlisted > 0 && <p class="muted">{texts.upload.andMore(unlisted)}</p>}
        </details>
      )}
    </div>
  );
}
