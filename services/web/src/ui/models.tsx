/** The Models page: every job of the team, live, and what can be done with those that are selected. */
import type { JSX } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { type JobView, TERMINAL } from "../contract";
import { precision, startingModelName } from "../format";
import { hashOf } from "../route";
import { texts } from "../texts";
import { CheckAll, Empty, StateBadge, StepCount, TrainingTime, Waiting, When } from "./bits";
import { InSight, useInSight, useView } from "./context";
import { Explanation } from "./explain";
import { memo } from "./memo";
import { ModelToolbar } from "./model-toolbar";
import { TryAgain } from "./try-again";

const KINDS = {
  all: () => true,
  active: (model: JobView) => !TERMINAL.has(model.state),
  ended: (model: JobView) => TERMINAL.has(model.state),
};
type Kind = keyof typeof KINDS;

export function ModelsPage(): JSX.Element {
  const models = useView((view) => view.state.models);
  const known = useView((view) => view.state.position !== null);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [kind, setKind] = useState<Kind>("all");
  const [words, setWords] = useState("");
  const rows = useMemo(() => shownOf(models, kind, words), [models, kind, words]);
  const selected = rows.filter((model) => chosen.has(model.id)); // one that is gone or hidden drops out
  const choose = useRef((id: string, on: boolean) =>
    setChosen((before) => {
      const next = new Set(before);
      if (on) next.add(id);
      else next.delete(id);
      return next;
    }),
  );
  return (
    <>
      <div class="page-head split">
        <div>
          <h1>{texts.models.title}</h1>
          <p class="muted">{texts.models.intro}</p>
        </div>
        {(!known || models.size > 0) && <Filter kind={kind} words={words} onKind={setKind} onWords={setWords} />}
      </div>
      <section class="card" aria-label={texts.models.title}>
        {!known ? (
          <Waiting />
        ) : models.size === 0 ? (
          <Empty title={texts.models.emptyTitle}>
            <p>{texts.models.emptyHint}</p>
            <a class="button primary" href={hashOf({ page: "datasets" })}>
              {texts.models.emptyAction}
            </a>
          </Empty>
        ) : (
          <>
            <ModelToolbar selected={selected} />
            <table class="table models" role="table">
              <caption class="sr">{texts.models.caption}</caption>
              <Head
                all={rows.length > 0 && selected.length === rows.length}
                some={selected.length > 0}
                onAll={(on) => setChosen(new Set(on ? rows.map((row) => row.id) : []))}
              />
              <tbody role="rowgroup">
                {rows.map((model) => (
                  <Row key={model.id} model={model} chosen={chosen.has(model.id)} onChoose={choose.current} />
                ))}
              </tbody>
            </table>
            {rows.length === 0 && <p class="muted none-found">{texts.models.noneFound}</p>}
          </>
        )}
      </section>
    </>
  );
}

function shownOf(models: ReadonlyMap<string, JobView>, kind: Kind, words: string): JobView[] {
  const wanted = words.trim().toLowerCase();
  return [...models.values()]
    .filter(KINDS[kind])
    .filter(
      (model) => wanted === "" || [model.description, ...model.dataset_names].join("\n").toLowerCase().includes(wanted),
    )
    .sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at));
}

interface FilterProps {
  kind: Kind;
  words: string;
  onKind: (kind: Kind) => void;
  onWords: (words: string) => void;
}

function Filter({ kind, words, onKind, onWords }: FilterProps): JSX.Element {
  return (
    <div class="filter">
      <div class="segments" role="group" aria-label={texts.models.filter}>
        {(Object.keys(KINDS) as Kind[]).map((each) => (
          <button type="button" key={each} aria-pressed={kind === each} onClick={() => onKind(each)}>
            {texts.models.kinds[each]}
          </button>
        ))}
      </div>
      <input
        type="search"
        value={words}
        placeholder={texts.models.search}
        aria-label={texts.models.search}
        onInput={(event) => onWords(event.currentTarget.value)}
      />
    </div>
  );
}

function Head({ all, some, onAll }: { all: boolean; some: boolean; onAll: (on: boolean) => void }): JSX.Element {
  const { columns } = texts.models;
  return (
    <thead role="rowgroup">
      <tr role="row">
        <th scope="col" role="columnheader" class="check">
          <CheckAll label={texts.models.selectAll} all={all} some={some} onAll={onAll} />
        </th>
        <th scope="col" role="columnheader">
          {columns.description}
        </th>
        <th scope="col" role="columnheader" class="starting">
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
      </tr>
    </thead>
  );
}

interface RowProps {
  model: JobView;
  chosen: boolean;
  onChoose: (id: string, on: boolean) => void;
}

const Row = memo(function Row({ model, chosen, onChoose }: RowProps): JSX.Element {
  const [row, inSight] = useInSight<HTMLTableRowElement>();
  const { columns } = texts.models;
  const map = precision(model.checkpoint?.map);
  const best = precision(model.checkpoint?.best_map);
  const from =
    model.parent_description === null
      ? startingModelName(model.starting_model)
      : texts.models.moreOf(model.parent_description);
  return (
    <InSight.Provider value={inSight}>
      <tr
        ref={row}
        role="row"
        class={chosen ? "chosen" : ""}
        data-testid="model-row"
        data-model-id={model.id}
        data-state={model.state}
      >
        <td role="cell" class="check">
          <input
            type="checkbox"
            aria-label={texts.models.select(model.description)}
            checked={chosen}
            onChange={(event) => onChoose(model.id, event.currentTarget.checked)}
          />
        </td>
        <th scope="row" role="rowheader" class="title-cell">
          <a href={hashOf({ page: "model", id: model.id, tab: "details" })}>{model.description}</a>
          <span class="muted small-text">{model.dataset_names.join(", ")}</span>
          <span class="muted small-text starting-below">{from}</span>
        </th>
        <td role="cell" class="starting" data-label={columns.startingModel}>
          {from}
        </td>
        <td role="cell" class="state-cell">
          <StateBadge state={model.state} />
          <Explanation job={model} />
          <TryAgain job={model} />
        </td>
        <td role="cell" class="steps-cell">
          <StepCount job={model} />
        </td>
        <td role="cell" class="num" data-label={columns.time}>
          <TrainingTime job={model} />
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
      </tr>
    </InSight.Provider>
  );
});
