/** The queue of the whole room, next first: priority, ending a job with a reason, leading one out of STATE_UNSPECIFIED. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { asApiError } from "../api";
import type { HeldJobRow, QueueRow } from "../contract";
import { clock, startingModelName } from "../format";
import { texts } from "../texts";
import { Button, Dialog, Empty, Problem, StateBadge, Waiting } from "./bits";
import { carryOut } from "./commands";
import { useArrivals, useNow, usePage, useView } from "./context";
import { useFollowed } from "./fetched";
import { Field } from "./field";

/** Places move with the room; expected times, and jobs that contradict themselves, tell nobody. */
const EVERY_MS = 10_000;

export function QueueTab(): JSX.Element {
  const { api } = usePage();
  const moved = useView(({ state }) => state.roomMoved);
  const version = `${moved} ${useArrivals()}`;
  const { data, problem, since, again } = useFollowed((signal) => api.queue(signal), version, EVERY_MS);
  const [ending, setEnding] = useState<QueueRow | null>(null);
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
          <div class="scroll-x">
            <table class="table compact">
              <thead>
                <tr>
                  <th scope="col" class="num">
                    {texts.operators.place}
                  </th>
                  <th scope="col">{texts.operators.job}</th>
                  <th scope="col">{texts.operators.team}</th>
                  <th scope="col">{texts.operators.queuedAt}</th>
                  <th scope="col">{texts.operators.expected}</th>
                  <th scope="col">{texts.operators.priority}</th>
                  <td />
                </tr>
              </thead>
              <tbody>
                {data.queue.map((row) => (
                  <Row key={row.place.job_id} row={row} onDone={again} onEnd={() => setEnding(row)} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </section>
      {ending !== null && <EndJob row={ending} onDone={again} onClose={() => setEnding(null)} />}
    </>
  );
}

function Row({ row, onDone, onEnd }: { row: QueueRow; onDone: () => void; onEnd: () => void }): JSX.Element {
  const page = usePage();
  const now = useNow();
  const [priority, setPriority] = useState(String(row.priority));
  const set = () =>
    void carryOut(page, async () => {
      await page.api.setPriority(row.place.job_id, Number(priority));
      onDone();
    });
  return (
    <tr data-testid="queue-row">
      <td class="num">{row.place.position}</td>
      <th scope="row">
        {row.description}
        <span class="muted small-text below">
          {startingModelName(row.starting_model)} · {row.accelerator.toUpperCase()}
          {row.resumed && ` · ${texts.operators.resumed}`}
        </span>
      </th>
      <td>
        {row.team}
        <span class="muted small-text below">{row.created_by}</span>
      </td>
      <td class="number nowrap">{clock(row.queued_at, now)}</td>
      <td class="number">
        {texts.models.starts(row.place, now) || texts.none}
        <span class="muted small-text below">{texts.models.ends(row.place, now)}</span>
      </td>
      <td>
        <span class="with-unit">
          <input
            class="narrow"
            type="number"
            aria-label={texts.operators.priorityOf(row.description)}
            value={priority}
            onInput={(event) => setPriority(event.currentTarget.value)}
            onKeyDown={(event) => event.key === "Enter" && set()}
          />
          <Button class="small" refusal={Number(priority) === row.priority ? texts.operators.same : null} onClick={set}>
            {texts.save}
          </Button>
        </span>
      </td>
      <td class="num">
        <Button onClick={onEnd} data-testid="end-job">
          {texts.operators.end}
        </Button>
      </td>
    </tr>
  );
}

function EndJob({ row, onDone, onClose }: { row: QueueRow; onDone: () => void; onClose: () => void }): JSX.Element {
  const { api } = usePage();
  const [reason, setReason] = useState("");
  const [error, setError] = useState<string | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (reason.trim() === "") return setError(texts.operators.reasonMissing);
    try {
      await api.cancelJob(row.place.job_id, reason.trim());
    } catch (problem) {
      return setError(asApiError(problem).message);
    }
    onDone();
    onClose();
  };
  return (
    <Dialog title={texts.operators.endTitle(row.description, row.team)} onClose={onClose} class="small">
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
        <footer class="dialog-foot">
          <button type="button" class="button" onClick={onClose}>
            {texts.cancel}
          </button>
          <button type="submit" class="button danger" data-testid="end-confirm">
            {texts.operators.end}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function Unspecified({ jobs, onDone }: { jobs: readonly HeldJobRow[]; onDone: () => void }): JSX.Element {
  const page = usePage();
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
            <Button onClick={() => lead(job, "FAILED")}>{texts.operators.fail}</Button>
          </li>
        ))}
      </ul>
    </section>
  );
}
