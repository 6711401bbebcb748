/** The Datasets page: the table, the selection, and whether it can be trained on. */
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { roleRefusal, usersRefusal } from "../actions";
import type { Claim, DatasetView } from "../contract";
import { size, whole } from "../format";
import { ALL_PICTURES, hashOf } from "../route";
import { texts } from "../texts";
import { Button, CheckAll, Confirm, Empty, Problem, Waiting, When } from "./bits";
import { deleteDataset } from "./commands";
import { useArrivals, usePage, useView } from "./context";
import { Differences } from "./differences";
import { useFetched } from "./fetched";
import { type Readiness, useReadiness } from "./start-data";
import { Upload } from "./upload";

const LABELS_SHOWN = 6;

export function DatasetsPage(): JSX.Element {
  const page = usePage();
  const datasets = useView((view) => view.state.datasets);
  const known = useView((view) => view.state.position !== null);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [deleting, setDeleting] = useState<DatasetView | null>(null);
  const rows = useMemo(
    () => [...datasets.values()].sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at)),
    [datasets],
  );
  const selected = rows.filter((dataset) => chosen.has(dataset.id)); // one that was deleted meanwhile drops out
  const readiness = useReadiness(selected);
  const refusal = roleRefusal(page.session?.role);
  const used = useUsedBy();

  const choose = (id: string, on: boolean) => {
    const next = new Set(chosen);
    if (on) next.add(id);
    else next.delete(id);
    setChosen(next);
  };

  return (
    <>
      <div class="page-head">
        <div>
          <h1>{texts.datasets.title}</h1>
          <p class="muted">{texts.datasets.intro}</p>
        </div>
      </div>
      <Upload refusal={refusal} />
      <Problem
        problem={used.problem === null ? null : texts.dataset.usersFailed(used.problem)}
        since={used.since}
        onRetry={used.again}
      />
      <section class="card" aria-label={texts.datasets.title}>
        <Toolbar selected={selected} readiness={refusal === null ? readiness : { kind: "refused", reason: refusal }} />
        {!known ? (
          <Waiting rows={3} />
        ) : rows.length === 0 ? (
          <Empty title={texts.datasets.emptyTitle}>
            <p>{texts.datasets.emptyHint}</p>
          </Empty>
        ) : (
          <table class="table datasets" role="table">
            <caption class="sr">{texts.datasets.caption}</caption>
            <Head
              all={selected.length === rows.length}
              some={selected.length > 0}
              onAll={(on) => setChosen(new Set(on ? rows.map((row) => row.id) : []))}
            />
            <tbody role="rowgroup">
              {rows.map((dataset) => (
                <Row
                  key={dataset.id}
                  dataset={dataset}
                  chosen={chosen.has(dataset.id)}
                  refusal={refusal}
                  users={used.by(dataset.id)}
                  onChoose={(on) => choose(dataset.id, on)}
                  onDelete={() => setDeleting(dataset)}
                />
              ))}
            </tbody>
          </table>
        )}
      </section>
      {deleting !== null && (
        <Confirm
          title={texts.datasets.deleteTitle(deleting.name)}
          text={texts.datasets.deleteText(deleting.train_frames + deleting.eval_frames)}
          action={texts.datasets.delete}
          danger
          onConfirm={() => void deleteDataset(page, deleting)}
          onClose={() => setDeleting(null)}
        />
      )}
    </>
  );
}

/** The models that use a dataset, of those that the team still has; null while it isn't known. */
function useUsedBy() {
  const { api } = usePage();
  const models = useView((view) => view.state.models.size);
  const datasets = useView((view) => view.state.datasets.size);
  const known = usePage().live.view.state.models;
  const key = `${datasets} ${models} ${useArrivals()}`;
  const { data, since, problem, again } = useFetched((signal) => api.datasets(signal), key);
  const by = (id: string): readonly Claim[] | null =>
    data === null ? null : (data.used_by[id] ?? []).filter((claim) => known.has(claim.job_id));
  return { by, since, problem, again };
}

function Toolbar({ selected, readiness }: { selected: readonly DatasetView[]; readiness: Readiness }): JSX.Element {
  const sum = (count: (dataset: DatasetView) => number) =>
    selected.reduce((total, dataset) => total + count(dataset), 0);
  const ready = readiness.kind === "ready";
  return (
    <div class="toolbar">
      <button
        type="button"
        class="button primary"
        data-testid="start-training"
        disabled={!ready}
        aria-describedby="start-reason"
        onClick={() => {
          const datasets = selected.map((dataset) => dataset.id);
          location.hash = hashOf({ page: "start", datasets, more: null });
        }}
      >
        {texts.start.button}
      </button>
      <div class="toolbar-note" id="start-reason" data-testid="start-reason" aria-live="polite">
        {readiness.kind === "refused" && <p>{readiness.reason}</p>}
        {readiness.kind === "different" && <Differences differences={readiness.differences} />}
        {ready && (
          <p>
            {texts.datasets.selected(
              selected.length,
              sum((one) => one.train_frames),
              sum((one) => one.eval_frames),
            )}
          </p>
        )}
      </div>
    </div>
  );
}

function Head({ all, some, onAll }: { all: boolean; some: boolean; onAll: (on: boolean) => void }): JSX.Element {
  const { columns } = texts.datasets;
  return (
    <thead role="rowgroup">
      <tr role="row">
        <th scope="col" role="columnheader" class="check">
          <CheckAll label={texts.datasets.selectAll} all={all} some={some} onAll={onAll} />
        </th>
        <th scope="col" role="columnheader">
          {columns.name}
        </th>
        <th scope="col" role="columnheader" class="num" title={texts.datasets.picturesTitle}>
          {columns.training}
        </th>
        <th scope="col" role="columnheader" class="num" title={texts.datasets.picturesTitle}>
          {columns.evaluation}
        </th>
        <th scope="col" role="columnheader" class="num" title={texts.datasets.negativesTitle}>
          {columns.negatives}
        </th>
        <th scope="col" role="columnheader">
          {columns.labels}
        </th>
        <th scope="col" role="columnheader" class="num">
          {columns.size}
        </th>
        <th scope="col" role="columnheader">
          {texts.datasets.usedBy}
        </th>
        <th scope="col" role="columnheader">
          <span class="sr">{columns.actions}</span>
        </th>
      </tr>
    </thead>
  );
}

interface RowProps {
  dataset: DatasetView;
  chosen: boolean;
  refusal: string | null;
  users: readonly Claim[] | null;
  onChoose: (on: boolean) => void;
  onDelete: () => void;
}

function Row({ dataset, chosen, refusal, users, onChoose, onDelete }: RowProps): JSX.Element {
  const { columns } = texts.datasets;
  return (
    <tr role="row" class={chosen ? "chosen" : ""} data-testid="dataset-row" data-dataset-id={dataset.id}>
      <td role="cell" class="check">
        <input
          id={`dataset-${dataset.id}`}
          type="checkbox"
          aria-label={texts.datasets.select(dataset.name)}
          checked={chosen}
          onChange={(event) => onChoose(event.currentTarget.checked)}
        />
      </td>
      <th scope="row" role="rowheader" class="title-cell">
        <a href={hashOf({ page: "dataset", id: dataset.id, filter: ALL_PICTURES })}>{dataset.name}</a>
        <span class="muted small-text">
          <When at={dataset.created_at} />
        </span>
        {dataset.warnings.length > 0 && (
          <span class="warn-text small-text" title={dataset.warnings.join("\n")}>
            {texts.datasets.warnings(dataset.warnings.length)}
          </span>
        )}
      </th>
      <td role="cell" class="num" data-label={columns.training}>
        {whole(dataset.train_frames)}
      </td>
      <td role="cell" class="num" data-label={columns.evaluation}>
        {whole(dataset.eval_frames)}
      </td>
      <td role="cell" class="num nowrap" data-label={columns.negatives} title={texts.datasets.negativesTitle}>
        {whole(dataset.train_negatives)} / {whole(dataset.eval_negatives)}
      </td>
      <td role="cell" class="labels" data-label={columns.labels}>
        <Labels dataset={dataset} />
      </td>
      <td role="cell" class="num nowrap" data-label={columns.size}>
        {size(dataset.bytes)}
      </td>
      <td role="cell" class="used-by" data-label={texts.datasets.usedBy}>
        {users !== null && <UsedBy users={users} />}
      </td>
      <td role="cell" class="actions">
        <Button
          class="ghost square"
          icon="trash"
          refusal={refusal ?? usersRefusal(users?.map((user) => user.description) ?? null)}
          aria-label={texts.datasets.deleteLabel(dataset.name)}
          onClick={onDelete}
        />
      </td>
    </tr>
  );
}

function Labels({ dataset }: { dataset: DatasetView }): JSX.Element {
  const more = dataset.labels.length - LABELS_SHOWN;
  return (
    <ul class="chips">
      {dataset.labels.slice(0, LABELS_SHOWN).map((label) => (
        <li key={label.name} class="chip" title={texts.datasets.labelTitle(label.name, label.train, label.eval)}>
          {label.name}{" "}
          <span class="number">
            {whole(label.train)} / {whole(label.eval)}
          </span>
        </li>
      ))}
      {more > 0 && (
        <li
          class="chip"
          title={dataset.labels
            .slice(LABELS_SHOWN)
            .map((label) => label.name)
            .join(", ")}
        >
          +{more}
        </li>
      )}
    </ul>
  );
}

const USERS_SHOWN = 2;

function UsedBy({ users }: { users: readonly Claim[] }): JSX.Element {
  if (users.length === 0) return <span class="muted">{texts.none}</span>;
  const more = users.length - USERS_SHOWN;
  return (
    <ul title={users.map((user) => user.description).join("\n")}>
      {users.slice(0, USERS_SHOWN).map((user) => (
        <li key={user.job_id}>
          <a href={hashOf({ page: "model", id: user.job_id, tab: "details" })}>{user.description}</a>
        </li>
      ))}
      {more > 0 && <li class="muted small-text">{texts.dataset.more(more)}</li>}
    </ul>
  );
}
