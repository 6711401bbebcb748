/** The queue of the whole room, live: what runs and until when, what waits and from when; of other teams neither who nor what. */
import type { JSX } from "preact";
import type { RoomAnswer, RoomRunning, RoomWaiting } from "../contract";
import { clock, whole } from "../format";
import { hashOf } from "../route";
import { texts } from "../texts";
import { Empty, StateBadge, StepBar, StepCount, Problem, Waiting } from "./bits";
import { useNow, usePage, useRoomVersion, useView } from "./context";
import { useFollowed } from "./fetched";
import "../styles/room.css";

/** More slots than this are told as a number alone. */
const MOST_DRAWN = 48;

export function RoomQueue(): JSX.Element {
  const { api } = usePage();
  const version = useRoomVersion();
  const { data, problem, since, again } = useFollowed((signal) => api.room(signal), version);
  return (
    <>
      <Problem problem={problem} since={since} onRetry={again} />
      {data === null ? (
        <section class="card">
          <Waiting rows={4} />
        </section>
      ) : (
        <Room room={data} />
      )}
    </>
  );
}

function Room({ room }: { room: RoomAnswer }): JSX.Element {
  const now = useNow();
  return (
    <>
      <section class="card pad room-summary" aria-label={texts.room.title}>
        <Slots busy={room.busy} slots={room.slots} />
        <p data-testid="room-summary">
          {texts.room.slots(room.busy, room.slots, room.waiting.length)}{" "}
          {texts.room.next(room.start_from, room.start_to, now)}
        </p>
      </section>
      {room.running.length + room.waiting.length === 0 ? (
        <section class="card">
          <Empty title={texts.room.empty}>
            <p>{texts.room.emptyHint}</p>
          </Empty>
        </section>
      ) : (
        <>
          <Running jobs={room.running} now={now} />
          <Queue jobs={room.waiting} now={now} />
        </>
      )}
    </>
  );
}

/** One mark for each slot; the sentence beside them says the same. */
function Slots({ busy, slots }: { busy: number; slots: number }): JSX.Element | null {
  if (slots === 0 || slots > MOST_DRAWN) return null;
  return (
    <div class="slot-marks" aria-hidden="true">
      {Array.from({ length: slots }, (_, index) => (
        <span key={index} class={index < busy ? "is-busy" : ""} />
      ))}
    </div>
  );
}

function Running({ jobs, now }: { jobs: readonly RoomRunning[]; now: number }): JSX.Element {
  return (
    <section class="card" data-testid="room-running">
      <h2 class="card-title">{texts.room.running}</h2>
      {jobs.length === 0 ? (
        <p class="none-found muted">{texts.room.nobodyRuns}</p>
      ) : (
        <table class="table room" role="table">
          <thead role="rowgroup">
            <tr role="row">
              <th scope="col" role="columnheader">
                {texts.room.job}
              </th>
              <th scope="col" role="columnheader">
                {texts.room.state}
              </th>
              <th scope="col" role="columnheader">
                {texts.room.steps}
              </th>
              <th scope="col" role="columnheader" class="time-cell">
                {texts.room.ends}
              </th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {jobs.map((job, index) => (
              <tr key={job.job_id ?? index} role="row" class={job.job_id === null ? "" : "own"}>
                <Job id={job.job_id} description={job.description} />
                <td role="cell" class="state-cell" data-label={texts.room.state}>
                  <StateBadge state={job.state} />
                </td>
                <td role="cell" class="steps-cell">
                  <Steps job={job} />
                </td>
                <td role="cell" class="time-cell" data-label={texts.room.ends}>
                  {texts.room.between(job.end_from, job.end_to, now) || texts.none}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

/** Of an own job the steps as they are made, of another team's those that are saved. */
function Steps({ job }: { job: RoomRunning }): JSX.Element {
  const model = useView(({ state }) => (job.job_id === null ? undefined : state.models.get(job.job_id)));
  if (model !== undefined) return <StepCount job={model} />;
  const { steps_completed: made, steps_requested: requested } = job;
  return (
    <div class="steps">
      <div class="steps-text">
        <strong>{whole(made)}</strong> <span>{texts.models.stepsOf(requested)}</span>
      </div>
      <StepBar made={made} saved={made} requested={requested} />
    </div>
  );
}

function Queue({ jobs, now }: { jobs: readonly RoomWaiting[]; now: number }): JSX.Element {
  return (
    <section class="card" data-testid="room-waiting">
      <h2 class="card-title">{texts.room.waiting}</h2>
      {jobs.length === 0 ? (
        <p class="none-found muted">{texts.room.nobodyWaits}</p>
      ) : (
        <table class="table room" role="table">
          <thead role="rowgroup">
            <tr role="row">
              <th scope="col" role="columnheader" class="num">
                {texts.room.place}
              </th>
              <th scope="col" role="columnheader">
                {texts.room.job}
              </th>
              <th scope="col" role="columnheader" class="time-cell">
                {texts.room.since}
              </th>
              <th scope="col" role="columnheader" class="time-cell">
                {texts.room.starts}
              </th>
              <th scope="col" role="columnheader" class="time-cell">
                {texts.room.ends}
              </th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {jobs.map((job) => (
              <tr key={job.job_id ?? job.position} role="row" class={job.job_id === null ? "" : "own"}>
                <td role="cell" class="num place-cell">
                  {whole(job.position)}
                </td>
                <Job id={job.job_id} description={job.description} priority={job.priority} />
                <td role="cell" class="time-cell" data-label={texts.room.since}>
                  {clock(job.queued_at, now)}
                </td>
                <td role="cell" class="time-cell" data-label={texts.room.starts}>
                  {texts.room.between(job.start_from, job.start_to, now) || texts.none}
                </td>
                <td role="cell" class="time-cell" data-label={texts.room.ends}>
                  {texts.room.between(job.end_from, job.end_to, now) || texts.none}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

interface JobProps {
  id: string | null;
  description: string | null;
  priority?: number;
}

function Job({ id, description, priority = 0 }: JobProps): JSX.Element {
  return (
    <th scope="row" role="rowheader" class="job-cell">
      {id === null ? (
        <span class="muted">{texts.room.other}</span>
      ) : (
        <>
          <a href={hashOf({ page: "model", id, tab: "details" })}>{description}</a>
          <span class="own-mark">{texts.room.own}</span>
        </>
      )}
      {priority !== 0 && <span class="muted small-text below">{texts.room.priority(priority)}</span>}
    </th>
  );
}
