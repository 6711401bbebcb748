/** The queue of the whole room, next first: priority, ending a job with a reason, leading one out of STATE_UNSPECIFIED. */
import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { asApiError } from "../api";
import type { HeldJobRow, QueueRow } from "../contract";
import { clock, startingModelName } from "../format";
import { texts } from "../texts";
import { Button, Confirm, Dialog, DialogFoot, Empty, Problem, StateBadge, Waiting } from "./bits";
import { carryOut } from "./commands";
import { useNow, usePage, useRoomVersion } from "./context";
import { useDraft } from "./draft";
import { useFollowed } from "./fetched";
import { Field } from "./field";

/** Places move with the room; expected times, and jobs that contradict themselves, tell nobody. */
const EVERY_MS = 10_000;

/** Whom an operator is about to end. */
type Ending = Pick<HeldJobRow, "job_id" | "team" | "description">;

export function QueueTab(): JSX.Element {
  const { api } = usePage();
  const version = useRoomVersion();
  const { data, problem, since, again } = useFollowed((signal) => api.queue(signal), version, EVERY_MS);
  const [ending, setEnding] = useState<Ending | null>(null);
  return (
    <>
      <Problem problem={problem} since={since} onRetry={again} />
      {data !== null && data.unspecified.length > 0 && <Unspecified jobs={data.unspecified} onDone={again} />}
      {/* Another element once it is known what stands above it: what waits is replaced, not pushed down. */}
      <section class="card" data-testid="room-queue" key={data === null ? "unknown" : "known"}>
        {data === null ? (
          <Waiting rows={3} />
        ) : data.queue.length === 0 ? (
          <Empty title={texts.operators.queueEmpty}>
            <p>{texts.operators.queueEmptyHint}</p>
          </Empty>
        ) : (
          <table class="table room-queue" role="table">
            <thead role="rowgroup">
              <tr role="row">
                <Column name={texts.operators.place} number />
                <Column name={texts.operators.job} />
                <Column name={texts.operators.team} />
                <Column name={texts.operators.queuedAt} />
                <Column name={texts.operators.expected} />
                <Column name={texts.operators.priority} />
                <td role="cell" />
              </tr>
            </thead>
            <tbody role="rowgroup">
              {data.queue.map((row) => (
                <Row
                  key={row.place.job_id}
                  row={row}
                  onDone={again}
                  onEnd={() => setEnding({ ...row, job_id: row.place.job_id })}
                />
              ))}
            </tbody>
          </table>
        )}
      </section>
      {data !== null && data.for_room.length > 0 && <ForRoom jobs={data.for_room} onEnd={setEnding} />}
      {ending !== null && <EndJob job={ending} onDone={again} onClose={() => setEnding(null)} />}
    </>
  );
}

function Column({ name, number = false }: { name: string; number?: boolean }): JSX.Element {
  return (
    <th scope="col" role="columnheader" class={number ? "num" : ""}>
      {name}
    </th>
  );
}

function Row({ row, onDone, onEnd }: { row: QueueRow; onDone: () => void; onEnd: () => void }): JSX.Element {
  const { api } = usePage();
  const now = useNow();
  const [priority, setPriority] = useDraft(String(row.priority));
  const [problem, setProblem] = useState<string | null>(null);
  const id = useId();
  const set = async () => {
    // Also what isn't a number is empty to the page.
    if (priority === "") return setProblem(texts.operators.priorityMissing);
    try {
      const job = await api.setPriority(row.place.job_id, Number(priority));
      setPriority(String(job.priority));
      setProblem(null);
      onDone();
    } catch (error) {
      setProblem(asApiError(error).message);
    }
  };
  return (
    <tr role="row" data-testid="queue-row">
      <td role="cell" class="num" data-label={texts.operators.place}>
        {row.place.position}
      </td>
      <th scope="row" role="rowheader">
        {row.description}
        <span class="muted small-text below">
          {startingModelName(row.starting_model)} · {row.accelerator.toUpperCase()}
          {row.resumed && ` · ${texts.operators.resumed}`}
        </span>
      </th>
      <td role="cell" data-label={texts.operators.team}>
        {row.team}
        <span class="muted small-text below">{row.created_by}</span>
      </td>
      <td role="cell" class="number nowrap" data-label={texts.operators.queuedAt}>
        {clock(row.queued_at, now)}
      </td>
      <td role="cell" class="number expected" data-label={texts.operators.expected}>
        {texts.models.starts(row.place, now) || texts.none}
        <span class="muted small-text below">{texts.models.ends(row.place, now)}</span>
      </td>
      <td role="cell" class="priority" data-label={texts.operators.priority}>
        <span class="with-unit">
          <input
            class="narrow"
            type="number"
            aria-label={texts.operators.priorityOf(row.description)}
            aria-invalid={problem !== null}
            aria-describedby={problem === null ? undefined : id}
            value={priority}
            onInput={(event) => {
              setPriority(event.currentTarget.value);
              setProblem(null);
            }}
            onKeyDown={(event) => event.key === "Enter" && void set()}
          />
          <Button
            class="small"
            refusal={priority !== "" && Number(priority) === row.priority ? texts.operators.same : null}
            onClick={() => void set()}
          >
            {texts.save}
          </Button>
        </span>
        {problem !== null && (
          <p class="field-error" role="alert" id={id}>
            {problem}
          </p>
        )}
      </td>
      <td role="cell" class="num">
        <Button onClick={onEnd} data-testid="end-job">
          {texts.operators.end}
        </Button>
      </td>
    </tr>
  );
}

function ForRoom({ jobs, onEnd }: { jobs: readonly HeldJobRow[]; onEnd: (job: Ending) => void }): JSX.Element {
  return (
    <section class="card pad" data-testid="for-room">
      <h2>{texts.operators.forRoom}</h2>
      <p class="muted small-text">{texts.operators.forRoomHint}</p>
      <ul class="files wraps">
        {jobs.map((job) => (
          <li key={job.job_id}>
            <span class="grow">
              {job.team} · {job.description}
            </span>
            <Button onClick={() => onEnd(job)}>{texts.operators.end}</Button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function EndJob({ job, onDone, onClose }: { job: Ending; onDone: () => void; onClose: () => void }): JSX.Element {
  const { api } = usePage();
  const [reason, setReason] = useState("");
  const [error, setError] = useState<string | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (reason.trim() === "") return setError(texts.operators.reasonMissing);
    try {
      await api.cancelJob(job.job_id, reason.trim());
    } catch (problem) {
      return setError(asApiError(problem).message);
    }
    onDone();
    onClose();
  };
  return (
    <Dialog title={texts.operators.endTitle(job.description, job.team)} onClose={onClose} class="small">
      <form onSubmit={(event) => void submit(event)} noValidate>
        <div class="dialog-text">
          <Field
            id="end-reason"
            label={texts.operators.reason}
            hint={texts.operators.reasonHint}
            error={error}
            input={
              <input
                value={reason}
                data-testid="end-reason"
                autocomplete="off"
                onInput={(event) => setReason(event.currentTarget.value)}
              />
            }
          />
        </div>
        <DialogFoot action={texts.operators.end} danger testId="end-confirm" onClose={onClose} />
      </form>
    </Dialog>
  );
}

function Unspecified({ jobs, onDone }: { jobs: readonly HeldJobRow[]; onDone: () => void }): JSX.Element {
  const page = usePage();
  const [failing, setFailing] = useState<HeldJobRow | null>(null);
  const lead = (job: HeldJobRow, state: "QUEUED" | "FAILED") =>
    void carryOut(page, async () => {
      await page.api.reconcile(job.job_id, state);
      onDone();
    });
  return (
    <section class="card pad" data-testid="unspecified">
      <h2>{texts.operators.unspecified}</h2>
      <p class="muted small-text">{texts.operators.unspecifiedHint}</p>
      <ul class="files wraps">
        {jobs.map((job) => (
          <li key={job.job_id}>
            <StateBadge state={job.state} />
            <span class="grow">
              {job.team} · {job.description}
            </span>
            <Button onClick={() => lead(job, "QUEUED")}>{texts.operators.requeue}</Button>
            <Button onClick={() => setFailing(job)}>{texts.operators.fail}</Button>
          </li>
        ))}
      </ul>
      {failing !== null && (
        <Confirm
          title={texts.operators.failTitle(failing.description, failing.team)}
          text={texts.operators.failText}
          action={texts.operators.fail}
          danger
          onConfirm={() => lead(failing, "FAILED")}
          onClose={() => setFailing(null)}
        />
      )}
    </section>
  );
}
