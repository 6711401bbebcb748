/** Which datasets to train on: a list to tick, with what each has, and what keeps them from going together. */
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import type { DatasetView, JobView } from "../contract";
import { hashOf } from "../route";
import { texts } from "../texts";
import { useView } from "./context";
import { Differences } from "./differences";
import type { Readiness } from "./start-data";

interface Props {
  chosen: readonly string[];
  parent: JobView | undefined;
  readiness: Readiness;
  error: string | null;
  onChoose: (ids: readonly string[]) => void;
}

export function DatasetChoice({ chosen, parent, readiness, error, onChoose }: Props): JSX.Element {
  const datasets = useView((view) => view.state.datasets);
  const own = new Set(parent?.dataset_ids);
  const rows = useMemo(
    () =>
      [...datasets.values()]
        .filter((dataset) => !own.has(dataset.id) && (parent === undefined || sameLabels(dataset, parent.labels)))
        .sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at)),
    [datasets, parent?.id],
  );
  const toggle = (id: string, on: boolean) => onChoose(on ? [...chosen, id] : chosen.filter((each) => each !== id));
  return (
    <fieldset class="field" data-testid="dataset-choice">
      <legend>{parent === undefined ? texts.start.datasets : texts.start.moreDatasets}</legend>
      {parent !== undefined && <p class="muted small-text">{texts.start.ownDatasets(parent.dataset_names)}</p>}
      {rows.length === 0 && (
        <p class="muted">
          {parent === undefined ? texts.start.noDatasets : texts.start.noOthers}{" "}
          {parent === undefined && <a href={hashOf({ page: "datasets" })}>{texts.models.emptyAction}</a>}
        </p>
      )}
      <div class="choices scroll-y">
        {rows.map((dataset) => (
          <label key={dataset.id} class="choice">
            <input
              type="checkbox"
              checked={chosen.includes(dataset.id)}
              onChange={(event) => toggle(dataset.id, event.currentTarget.checked)}
            />
            <span>
              <strong>{dataset.name}</strong>
              <span class="muted small-text">
                {texts.start.datasetLine(
                  dataset.train_frames,
                  dataset.eval_frames,
                  dataset.labels.map((label) => label.name),
                )}
              </span>
            </span>
          </label>
        ))}
      </div>
      {readiness.kind === "different" && (
        <div class="small-text" role="alert">
          <Differences differences={readiness.differences} />
        </div>
      )}
      {error !== null && readiness.kind !== "different" && (
        <p class="field-error" role="alert">
          {error}
        </p>
      )}
    </fieldset>
  );
}

function sameLabels(dataset: DatasetView, labels: readonly string[]): boolean {
  const names = new Set(dataset.labels.map((label) => label.name));
  return names.size === labels.length && labels.every((name) => names.has(name));
}
