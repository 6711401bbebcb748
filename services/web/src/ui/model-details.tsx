/** What a model was made from, what it cost, and what happened to it. */
import type { JSX } from "preact";
import type { DatasetView, JobView } from "../contract";
import { clock, date, duration, startingModelName, stateName, whole } from "../format";
import { ancestorsOf, childrenOf } from "../lineage";
import { remarked } from "../notices";
import { hashOf } from "../route";
import { texts } from "../texts";
import { trainingSeconds } from "../time";
import { Problem, StateBadge, Waiting } from "./bits";
import { useArrivals, useNow, usePage, useProgress, useView } from "./context";
import { useFetched } from "./fetched";

export function Details({ job }: { job: JobView }): JSX.Element {
  const rows: [string, string][] = [
    [texts.model.created, texts.model.createdBy(job.created_by, job.created_at)],
    ...(job.ended_at === null ? [] : [[texts.model.ended, date(job.ended_at)] as [string, string]]),
    [texts.model.startingModel, startingModelName(job.starting_model)],
    ...(job.parent_description === null
      ? []
      : [
          [texts.model.trainedOnFrom, texts.model.previousSteps(job.parent_description, job.previous_steps)] as [
            string,
            string,
          ],
        ]),
    [texts.model.datasets, job.dataset_names.join(", ")],
    [texts.model.batchSize, texts.model.batchSizeValue(job.batch_size)],
    [texts.model.maxTime, duration(job.max_seconds)],
    [texts.model.trainer, job.trainer ?? texts.none],
    ...(job.learning_rate_scale < 1
      ? [[texts.model.learningRateScale, texts.model.learningRateScaled(job.learning_rate_scale)] as [string, string]]
      : []),
    ...Object.entries(job.requires).map(([name, value]): [string, string] => [
      texts.model.requires,
      `${name} = ${value}`,
    ]),
    ...remarked(job).map((notice): [string, string] => [texts.model.remarked, notice.message]),
    ...(job.approved_by === null ? [] : [[texts.model.approvedBy, job.approved_by] as [string, string]]),
  ];
  return (
    <section class="card">
      <h2>{texts.model.details}</h2>
      <dl class="pairs">
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

/** Pictures and boxes of both pools. The job tells the pictures; boxes and negatives are its datasets'. */
export function Pools({ job }: { job: JobView }): JSX.Element {
  const datasets = useView((view) => view.state.datasets);
  const found = job.dataset_ids.map((id) => datasets.get(id));
  const known = found.filter((dataset): dataset is DatasetView => dataset !== undefined);
  const complete = known.length === found.length;
  const sum = (count: (dataset: DatasetView) => number) => known.reduce((total, dataset) => total + count(dataset), 0);
  const boxes = (name: string, pool: "train" | "eval") =>
    sum((dataset) => dataset.labels.find((label) => label.name === name)?.[pool] ?? 0);
  return (
    <section class="card">
      <h2>{texts.model.pools}</h2>
      <table class="plain-table">
        <thead>
          <tr>
            <td />
            <th scope="col" class="num">
              {texts.model.training}
            </th>
            <th scope="col" class="num">
              {texts.model.evaluation}
            </th>
          </tr>
        </thead>
        <tbody>
          <tr>
            <th scope="row">{texts.model.pictures}</th>
            <td class="num">{whole(job.train_frames)}</td>
            <td class="num">{whole(job.eval_frames)}</td>
          </tr>
          {complete && (
            <tr>
              <th scope="row">{texts.model.negatives}</th>
              <td class="num">{whole(sum((dataset) => dataset.train_negatives))}</td>
              <td class="num">{whole(sum((dataset) => dataset.eval_negatives))}</td>
            </tr>
          )}
        </tbody>
        <tbody>
          {job.labels.map((name) => (
            <tr key={name}>
              <th scope="row">{texts.model.boxesOf(name)}</th>
              <td class="num">{complete ? whole(boxes(name, "train")) : texts.none}</td>
              <td class="num">{complete ? whole(boxes(name, "eval")) : texts.none}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {!complete && <p class="muted small-text">{texts.model.poolGone}</p>}
    </section>
  );
}

/** What was reserved, used and given back, and why it was so much. */
export function Minutes({ job }: { job: JobView }): JSX.Element {
  const progress = useProgress(job.id);
  const now = useNow(job.running_since !== null);
  const used = job.used_seconds ?? trainingSeconds(job, now, progress);
  const settled = job.used_seconds !== null;
  const reserved = settled ? (job.used_seconds ?? 0) + (job.refunded_seconds ?? 0) : job.reserved_seconds;
  const back = settled ? (job.refunded_seconds ?? 0) : Math.max(0, reserved - used);
  const why = texts.model.minutesWhy;
  const rows: [string, number, string][] = [
    [texts.model.minutesReserved, reserved, why.reserved],
    [texts.model.minutesUsed, used, settled ? why.used(job.checkpoint?.step ?? 0) : why.using],
    [texts.model.minutesBack, back, settled ? why.back : why.comesBack],
  ];
  return (
    <section class="card" data-testid="minutes-card">
      <h2>{texts.model.kpiMinutes}</h2>
      <dl class="minutes-lines">
        {rows.map(([name, seconds, reason]) => (
          <div key={name}>
            <dt>
              {name}
              <span class="muted small-text below">{reason}</span>
            </dt>
            <dd class="number">{duration(seconds)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

/** The models it was trained on from, itself, and those that were trained on from it. */
export function Lineage({ job }: { job: JobView }): JSX.Element | null {
  const models = useView((view) => view.state.models);
  const parents = ancestorsOf(models, job);
  const children = childrenOf(models, job.id);
  if (job.parent_id === null && children.length === 0) return null;
  return (
    <section class="card" data-testid="lineage">
      <h2>{texts.model.lineage}</h2>
      <ol class="lineage">
        {job.parent_id !== null && parents.length === 0 && (
          <li class="muted">{texts.model.parentGone(job.parent_description ?? "")}</li>
        )}
        {parents.map((parent) => (
          <Relative key={parent.id} job={parent} />
        ))}
        <li class="is-this">
          <strong>{job.description}</strong>
          <span class="muted small-text">{texts.model.totalSteps(job.previous_steps + job.steps_completed)}</span>
        </li>
        {children.length > 0 && (
          <li>
            <ol>
              {children.map((child) => (
                <Relative key={child.id} job={child} />
              ))}
            </ol>
          </li>
        )}
      </ol>
    </section>
  );
}

function Relative({ job }: { job: JobView }): JSX.Element {
  return (
    <li>
      <a href={hashOf({ page: "model", id: job.id, tab: "details" })}>{job.description}</a>{" "}
      <span class="muted small-text">{texts.model.totalSteps(job.previous_steps + job.steps_completed)}</span>{" "}
      <StateBadge state={job.state} />
    </li>
  );
}

export function Attempts({ job }: { job: JobView }): JSX.Element {
  const now = usePage().ticker.now();
  return (
    <section class="card">
      <h2>{texts.model.attempts}</h2>
      {job.attempts.length === 0 ? (
        <p class="muted">{texts.model.attemptsNone}</p>
      ) : (
        <div class="scroll-x" role="region" aria-label={texts.model.attempts} tabIndex={0}>
          <table class="plain-table">
            <thead>
              <tr>
                <th scope="col">{texts.model.attempt}</th>
                <th scope="col">{texts.model.trainer}</th>
                <th scope="col">{texts.model.assigned}</th>
                <th scope="col">{texts.model.firstStep}</th>
                <th scope="col" class="num">
                  {texts.model.from}
                </th>
                <th scope="col">{texts.model.ended}</th>
                <th scope="col">{texts.model.outcome}</th>
              </tr>
            </thead>
            <tbody>
              {job.attempts.map((attempt) => (
                <tr key={attempt.number}>
                  <th scope="row">{attempt.number}</th>
                  <td>{attempt.trainer}</td>
                  <td>{clock(attempt.assigned_at, now)}</td>
                  <td>{attempt.started_at === null ? texts.none : clock(attempt.started_at, now)}</td>
                  <td class="num">{attempt.started_at === null ? texts.none : whole(attempt.resumed_from ?? 0)}</td>
                  <td>{attempt.ended_at === null ? texts.none : clock(attempt.ended_at, now)}</td>
                  <td>
                    {attempt.outcome === null
                      ? texts.model.ongoing
                      : (texts.model.outcomes[attempt.outcome] ?? attempt.outcome)}
                    {attempt.reason !== null && <span class="muted small-text below">{attempt.reason.message}</span>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

/** What happened to the model, asked for whenever it changes. Newest first: it may be long. */
export function History({ job }: { job: JobView }): JSX.Element {
  const { api, ticker } = usePage();
  const now = ticker.now();
  const version = `${job.id} ${job.version} ${useArrivals()}`;
  const { data: events, problem, again } = useFetched((signal) => api.events(job.id, signal), version);
  return (
    <section class="card" data-testid="history">
      <h2>{texts.model.history}</h2>
      <Problem problem={problem === null ? null : texts.model.historyFailed(problem)} onRetry={again} />
      {events === null ? (
        problem === null && <Waiting rows={3} />
      ) : events.length === 0 ? (
        <p class="muted">{texts.model.historyNone}</p>
      ) : (
        <div class="history" role="region" aria-label={texts.model.history} tabIndex={0}>
          <ol>
            {events.toReversed().map((event, index) => (
              <li key={`${event.at} ${index}`}>
                <time dateTime={event.at}>{clock(event.at, now)}</time>
                <span class="history-state">{stateName(event.state)}</span>
                <span>{event.message}</span>
              </li>
            ))}
          </ol>
        </div>
      )}
    </section>
  );
}
