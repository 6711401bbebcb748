/** The Models page: every job of the team, live. */
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import type { JobView } from "../contract";
import { precision, startingModelName } from "../format";
import { hashOf } from "../route";
import { texts } from "../texts";
import { Empty, StateBadge, StepCount, TrainingTime, Waiting, When } from "./bits";
import { usePage } from "./context";
import { Explanation } from "./explain";
import { ModelActions } from "./model-actions";

export function ModelsPage(): JSX.Element {
  const { view } = usePage();
  const { models, position } = view.state;
  const rows = useMemo(
    () => [...models.values()].sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at)),
    [models],
  );
  return (
    <>
      <div class="page-head">
        <div>
          <h1>{texts.models.title}</h1>
          <p class="muted">{texts.models.intro}</p>
        </div>
      </div>
      <section class="card" aria-label={texts.models.title}>
        {position === null ? (
          <Waiting />
        ) : rows.length === 0 ? (
          <Empty title={texts.models.emptyTitle}>
            <p>{texts.models.emptyHint}</p>
            <a class="button primary" href={hashOf({ page: "datasets" })}>
              {texts.models.emptyAction}
            </a>
          </Empty>
        ) : (
          <table class="table models" role="table">
            <caption class="sr">{texts.models.caption}</caption>
            <Head />
            <tbody role="rowgroup">
              {rows.map((model) => (
                <Row key={model.id} model={model} />
              ))}
            </tbody>
          </table>
        )}
      </section>
    </>
  );
}

function Head(): JSX.Element {
  const { columns } = texts.models;
  return (
    <thead role="rowgroup">
      <tr role="row">
        <th scope="col" role="columnheader">
          {columns.description}
        </th>
        <th scope="col" role="columnheader">
          {columns.startingModel}
        </th>
        <th scope="col" role="columnheader">
          {columns.state}
        </th>
        <th scope="col" role="columnheader">
          {columns.steps}
        </th>
        <th scope="col" role="columnheader" class="num">
          {columns.time}
        </th>
        <th scope="col" role="columnheader" class="num">
          {columns.map}
        </th>
        <th scope="col" role="columnheader" class="created">
          {columns.created}
        </th>
        <th scope="col" role="columnheader">
          <span class="sr">{columns.actions}</span>
        </th>
      </tr>
    </thead>
  );
}

function Row({ model }: { model: JobView }): JSX.Element {
  const { view, now } = usePage();
  const { state } = view;
  const { columns } = texts.models;
  const progress = state.progress.get(model.id);
  const map = precision(model.checkpoint?.map);
  const best = precision(model.checkpoint?.best_map);
  return (
    <tr role="row" data-testid="model-row" data-model-id={model.id} data-state={model.state}>
      <th scope="row" role="rowheader" class="title-cell">
        <a href={hashOf({ page: "model", id: model.id })}>{model.description}</a>
        <span class="muted small-text">{model.dataset_names.join(", ")}</span>
        <span class="muted small-text starting-below">{startingModelName(model.starting_model)}</span>
      </th>
      <td role="cell" class="starting" data-label={columns.startingModel}>
        {startingModelName(model.starting_model)}
      </td>
      <td role="cell" class="state-cell">
        <StateBadge state={model.state} />
        <Explanation job={model} place={state.queue.get(model.id)} progress={progress} now={now} />
      </td>
      <td role="cell" class="steps-cell">
        <StepCount job={model} progress={progress} />
      </td>
      <td role="cell" class="num" data-label={columns.time}>
        <TrainingTime job={model} progress={progress} now={now} />
      </td>
      <td
        role="cell"
        class="num"
        data-label={columns.map}
        title={best === null ? undefined : texts.models.bestMap(best, model.checkpoint?.best_step ?? null)}
      >
        {map ?? texts.none}
      </td>
      <td role="cell" class="created" data-label={columns.created}>
        <When at={model.created_at} />
      </td>
      <td role="cell" class="actions">
        <ModelActions job={model} />
      </td>
    </tr>
  );
}
