/** A dataset's page: what is in it, what to look at, and all its pictures. */
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import "../styles/dataset.css";
import { roleRefusal, usersRefusal } from "../actions";
import type { DatasetView } from "../contract";
import { ALL_PICTURES, hashOf, type PictureFilter } from "../route";
import { texts } from "../texts";
import { Button, Confirm, Icon, Problem, Waiting } from "./bits";
import { deleteDataset } from "./commands";
import { useArrivals, usePage, useView } from "./context";
import { DatasetAside } from "./dataset-aside";
import { Grid } from "./dataset-grid";
import { useFetched } from "./fetched";
import { Segments } from "./segments";

const POOLS = ["all", "train", "eval"] as const;

interface Props {
  id: string;
  filter: PictureFilter;
}

export function DatasetPage({ id, filter }: Props): JSX.Element {
  const { api } = usePage();
  const mine = useView((view) => view.state.datasets.get(id));
  const models = useView((view) => view.state.models.size);
  // Operators look at datasets of all teams, which their stream doesn't hold.
  const key = `${mine?.id} ${models} ${useArrivals()}`;
  const { data, error, problem, again } = useFetched((signal) => api.dataset(id, signal), key);
  const gone = mine === undefined && error?.status === 404;
  const dataset = mine ?? (gone ? undefined : data?.dataset);
  const [boxes, setBoxes] = useState(true);
  const labels = useMemo(() => dataset?.labels.map((label) => label.name) ?? [], [dataset]);
  const [total, setTotal] = useState<number | null>(null);
  if (dataset === undefined) {
    if (gone) return <Absent />;
    if (problem === null) return <Waiting rows={6} />;
    return <Problem problem={texts.dataset.notFetched(problem)} onRetry={again} />;
  }

  const choose = (wish: Partial<PictureFilter>) => {
    const route = hashOf({ page: "dataset", id, filter: { ...filter, ...wish } });
    // Replaced, so that Back leaves the page rather than each choice.
    location.replace(route);
  };
  return (
    <article class="dataset" data-testid="dataset-page" data-dataset-id={id}>
      <a class="back" href={hashOf({ page: "datasets" })}>
        <Icon name="left" />
        {texts.dataset.back}
      </a>
      <Head dataset={dataset} users={data?.used_by.map((user) => user.description) ?? null} />
      <div class="dataset-columns">
        <DatasetAside
          dataset={dataset}
          answer={data}
          problem={problem}
          onRetry={again}
          filter={filter}
          onFilter={choose}
        />
        <section class="dataset-pictures" aria-label={texts.dataset.pictures}>
          <FilterBar
            dataset={dataset}
            filter={filter}
            total={total}
            boxes={boxes}
            onBoxes={setBoxes}
            onFilter={choose}
          />
          <Grid
            key={JSON.stringify(filter)}
            id={id}
            labels={labels}
            filter={filter}
            boxes={boxes}
            onTotal={setTotal}
            onAll={() => choose(ALL_PICTURES)}
          />
        </section>
      </div>
    </article>
  );
}

/** `users` are the models that use it, null while they aren't known. */
function Head({ dataset, users }: { dataset: DatasetView; users: readonly string[] | null }): JSX.Element {
  const page = usePage();
  const [deleting, setDeleting] = useState(false);
  const refusal = roleRefusal(page.session?.role);
  const pictures = dataset.train_frames + dataset.eval_frames;
  return (
    <header class="dataset-head">
      <div>
        <h1 class="breaks">{dataset.name}</h1>
        <p class="muted">
          {texts.dataset.facts(pictures, dataset.train_negatives + dataset.eval_negatives, dataset.bytes)} ·{" "}
          {texts.dataset.created(dataset.created_at)}
        </p>
      </div>
      <div class="action-row">
        <Button icon="trash" refusal={refusal ?? usersRefusal(users)} onClick={() => setDeleting(true)}>
          {texts.datasets.delete}
        </Button>
        <Button
          class="primary"
          icon="play"
          refusal={refusal}
          onClick={() => {
            location.hash = hashOf({ page: "start", datasets: [dataset.id], more: null });
          }}
        >
          {texts.start.button}
        </Button>
      </div>
      {deleting && (
        <Confirm
          title={texts.datasets.deleteTitle(dataset.name)}
          text={texts.datasets.deleteText(pictures)}
          action={texts.datasets.delete}
          danger
          onConfirm={() => {
            void deleteDataset(page, dataset);
            location.hash = hashOf({ page: "datasets" });
          }}
          onClose={() => setDeleting(false)}
        />
      )}
    </header>
  );
}

interface FilterBarProps {
  dataset: DatasetView;
  filter: PictureFilter;
  total: number | null;
  boxes: boolean;
  onBoxes: (on: boolean) => void;
  onFilter: (wish: Partial<PictureFilter>) => void;
}

/** Options of one choice: all, one of the labels (with its place, as a label may be called anything), or none at all. */
const ALL = "all";
const NEGATIVES = "negatives";

function FilterBar({ dataset, filter, total, boxes, onBoxes, onFilter }: FilterBarProps): JSX.Element {
  const place = dataset.labels.findIndex((label) => label.name === filter.label);
  return (
    <div class="card filter-bar" role="group" aria-label={texts.dataset.filter}>
      <select
        aria-label={texts.dataset.label}
        data-testid="label-filter"
        value={filter.negatives ? NEGATIVES : place < 0 ? ALL : String(place)}
        onChange={(event) => {
          const { value } = event.currentTarget;
          const label = dataset.labels[Number(value)]?.name ?? null;
          onFilter({ label, negatives: value === NEGATIVES });
        }}
      >
        <option value={ALL}>{texts.dataset.allLabels}</option>
        {dataset.labels.map((label, index) => (
          <option key={label.name} value={String(index)}>
            {label.name}
          </option>
        ))}
        <option value={NEGATIVES}>{texts.dataset.negatives}</option>
      </select>
      <Segments
        label={texts.dataset.poolFilter}
        all={POOLS}
        names={{ all: texts.dataset.allPools, ...texts.dataset.pools }}
        chosen={filter.pool ?? "all"}
        onChoose={(pool) => onFilter({ pool: pool === "all" ? null : pool })}
      />
      <label class="check-line">
        <input type="checkbox" checked={boxes} onChange={(event) => onBoxes(event.currentTarget.checked)} />
        {texts.dataset.showBoxes}
      </label>
      <span class="muted number found" aria-live="polite" data-testid="found">
        {total === null ? "" : texts.dataset.found(total)}
      </span>
    </div>
  );
}

function Absent(): JSX.Element {
  return (
    <section class="card empty">
      <h1>{texts.dataset.gone}</h1>
      <p>{texts.dataset.goneHint}</p>
      <a class="button primary" href={hashOf({ page: "datasets" })}>
        {texts.dataset.back}
      </a>
    </section>
  );
}
