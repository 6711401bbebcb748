/** What a model was made from, what happened to it, and the files it gave. */
import type { JSX } from "preact";
import { downloadRefusal } from "../actions";
import type { DatasetView, ExportedFile, JobView, ModelEvent } from "../contract";
import { clock, date, duration, size, startingModelName, stateName, whole } from "../format";
import { texts } from "../texts";
import { Icon } from "./bits";
import { usePage } from "./context";

export function Details({ job }: { job: JobView }): JSX.Element {
  const rows: [string, string][] = [
    [texts.model.created, texts.model.createdBy(job.created_by, job.created_at)],
    ...(job.ended_at === null ? [] : [[texts.model.ended, date(job.ended_at)] as [string, string]]),
    [texts.model.startingModel, startingModelName(job.starting_model)],
    [texts.model.datasets, job.dataset_names.join(", ")],
    [texts.model.batchSize, texts.model.batchSizeValue(job.batch_size)],
    [texts.model.maxTime, duration(job.max_seconds)],
    [texts.model.trainer, job.trainer ?? texts.none],
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
  const { datasets } = usePage().view.state;
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

export function Downloads({ job }: { job: JobView }): JSX.Element {
  const { api } = usePage();
  const made = job.export;
  return (
    <section class="card">
      <h2>{texts.model.downloads}</h2>
      {made === null || made.files.length === 0 ? (
        <p class="muted">{downloadRefusal(job)}</p>
      ) : (
        <>
          <ul class="files">
            {withLabels(made.files).map((file) => (
              <li key={file.format}>
                <a
                  class="button"
                  href={api.downloadUrl(job.id, file.format)}
                  download
                  data-testid="download-file"
                  data-format={file.format}
                >
                  <Icon name="download" />
                  {file.format}
                </a>
                <span class="grow muted small-text">{texts.model.formats[file.format] ?? file.name}</span>
                <span class="number">{file.bytes === null ? "" : size(file.bytes)}</span>
              </li>
            ))}
          </ul>
          <p class="muted small-text">{texts.model.exportedFrom(made.step)}</p>
        </>
      )}
    </section>
  );
}

interface Offered {
  format: string;
  name: string;
  bytes: number | null;
}

/** The exported files and the list of labels, which the server has for each export. */
function withLabels(files: readonly ExportedFile[]): Offered[] {
  const labels = files.some((file) => file.format === "labels")
    ? []
    : [{ format: "labels", name: "labels.txt", bytes: null }];
  return [...files, ...labels];
}

export function Attempts({ job }: { job: JobView }): JSX.Element {
  const { now } = usePage();
  return (
    <section class="card">
      <h2>{texts.model.attempts}</h2>
      {job.attempts.length === 0 ? (
        <p class="muted">{texts.model.attemptsNone}</p>
      ) : (
        <div class="scroll-x">
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
                  <td>{attempt.outcome ?? texts.model.ongoing}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

/** Newest first: it may be long. */
export function History({ events }: { events: readonly ModelEvent[] }): JSX.Element {
  const { now } = usePage();
  return (
    <section class="card">
      <h2>{texts.model.history}</h2>
      {events.length === 0 ? (
        <p class="muted">{texts.model.historyNone}</p>
      ) : (
        <ol class="history">
          {events.toReversed().map((event, index) => (
            <li key={`${event.at} ${index}`}>
              <time dateTime={event.at}>{clock(event.at, now)}</time>
              <span class="history-state">{stateName(event.state)}</span>
              <span>{event.message}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
