/** Beside a dataset's pictures: what to look at, labels by pool, sizes, how it came in, who uses it. */
import type { ComponentChildren, JSX } from "preact";
import { lookOf, looksOf } from "../colours";
import type { DatasetAnswer, DatasetStatistics, DatasetView, Finding } from "../contract";
import { whole } from "../format";
import { hashOf, type PictureFilter } from "../route";
import { texts } from "../texts";
import { Icon, Problem, Waiting } from "./bits";
import { Swatch } from "./boxes";
import { useArrivals, usePage } from "./context";
import { useFetched } from "./fetched";
import { ImportSummary } from "./import-report";

type OnFilter = (wish: Partial<PictureFilter>) => void;

interface Props {
  dataset: DatasetView;
  answer: DatasetAnswer | null;
  /** Why there is no (newer) answer. */
  problem: string | null;
  onRetry: () => void;
  filter: PictureFilter;
  onFilter: OnFilter;
}

const WIDE = "(min-width: 961px)";

export function DatasetAside({ dataset, answer, problem, onRetry, filter, onFilter }: Props): JSX.Element {
  const { api } = usePage();
  const statistics = useFetched((signal) => api.statistics(dataset.id, signal), `${dataset.id} ${useArrivals()}`);
  const unknown = problem === null ? <Waiting rows={1} /> : <p class="muted">{texts.dataset.unknown}</p>;
  return (
    <div class="dataset-aside">
      <Problem problem={problem === null ? null : texts.dataset.restFailed(problem)} onRetry={onRetry} />
      <Warnings dataset={dataset} filter={filter} onFilter={onFilter} />
      <Card title={texts.dataset.labels}>
        <Labels dataset={dataset} statistics={statistics.data} filter={filter} onFilter={onFilter} />
      </Card>
      <Card title={texts.dataset.sizes}>
        {statistics.data !== null ? (
          <Sizes statistics={statistics.data} />
        ) : statistics.problem !== null ? (
          <Problem problem={texts.dataset.statisticsFailed(statistics.problem)} onRetry={statistics.again} />
        ) : (
          <Waiting rows={3} />
        )}
      </Card>
      <Card title={texts.dataset.usedBy} closed>
        {answer === null ? unknown : <UsedBy answer={answer} />}
      </Card>
      <Card title={texts.dataset.report} closed>
        {answer === null ? (
          unknown
        ) : (
          <div class="import-summary">
            <ImportSummary dataset={answer.dataset} report={answer.report} warnings={false} />
          </div>
        )}
      </Card>
    </div>
  );
}

/** A part that can be folded; on a phone it is, so that the pictures are near. */
function Card({
  title,
  closed,
  children,
}: {
  title: string;
  closed?: boolean;
  children: ComponentChildren;
}): JSX.Element {
  return (
    <details class="card fold" open={closed !== true && matchMedia(WIDE).matches}>
      <summary>
        <h2>{title}</h2>
      </summary>
      {children}
    </details>
  );
}

function Warnings({ dataset, filter, onFilter }: Omit<Props, "answer" | "problem" | "onRetry">): JSX.Element | null {
  if (dataset.warnings.length === 0) return null;
  const findings = new Map(dataset.findings.map((finding) => [finding.message, finding]));
  return (
    <section class="card pad warnings" aria-label={texts.dataset.warnings} data-testid="warnings">
      <h2>{texts.dataset.warnings}</h2>
      <ul>
        {dataset.warnings.map((warning) => (
          <li key={warning}>
            <Icon name="alert" />
            <div>
              <p>{warning}</p>
              <Shown finding={findings.get(warning)} filter={filter} onFilter={onFilter} />
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}

const LABELS_SHOWN = 4;

/** From a finding to the pictures that it is about. */
function Shown({
  finding,
  filter,
  onFilter,
}: {
  finding: Finding | undefined;
  filter: PictureFilter;
  onFilter: OnFilter;
}) {
  if (finding === undefined || finding.labels.length === 0) return null;
  return (
    <p class="chips">
      {finding.labels.slice(0, LABELS_SHOWN).map((label) => (
        <button
          key={label}
          type="button"
          class="chip"
          aria-label={texts.dataset.show(label)}
          aria-pressed={filter.label === label}
          onClick={() => onFilter({ label, pool: null, negatives: false })}
        >
          {label}
        </button>
      ))}
    </p>
  );
}

interface LabelsProps {
  dataset: DatasetView;
  statistics: DatasetStatistics | null;
  filter: PictureFilter;
  onFilter: OnFilter;
}

function Labels({ dataset, statistics, filter, onFilter }: LabelsProps): JSX.Element {
  const looks = looksOf(dataset.labels.map((label) => label.name));
  const most = Math.max(1, ...dataset.labels.map((label) => label.train + label.eval));
  const seen = new Map(statistics?.labels.map((label) => [label.name, label]));
  const pools = ["train", "eval"] as const;
  return (
    <>
      <p class="muted small-text">{texts.dataset.labelsHint}</p>
      <table class="plain-table label-table" data-testid="label-statistics">
        <thead>
          <tr>
            <th scope="col">{texts.dataset.label}</th>
            {pools.map((pool) => (
              <th key={pool} scope="col" class="num">
                {texts.dataset.pools[pool]}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {dataset.labels.map((label) => {
            const chosen = filter.label === label.name;
            return (
              <tr key={label.name} class={chosen ? "chosen" : ""}>
                <th scope="row">
                  <button
                    type="button"
                    aria-pressed={chosen}
                    onClick={() => onFilter({ label: chosen ? null : label.name, negatives: false })}
                  >
                    <Swatch look={lookOf(looks, label.name)} />
                    <span class="breaks">{label.name}</span>
                  </button>
                  <span class="label-bar" aria-hidden="true">
                    <span style={{ transform: `scaleX(${(label.train + label.eval) / most})` }} />
                  </span>
                </th>
                {pools.map((pool) => {
                  const inPool = seen.get(label.name)?.[pool];
                  return (
                    <td
                      key={pool}
                      class="num"
                      title={inPool === undefined ? undefined : texts.dataset.labelPool(inPool.boxes, inPool.pictures)}
                    >
                      {whole(label[pool])}
                      <span class="below muted small-text">
                        {inPool === undefined ? "\u00a0" : texts.dataset.inPictures(inPool.pictures)}
                      </span>
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </tbody>
        <tfoot>
          <tr class={filter.negatives ? "chosen" : ""}>
            <th scope="row">
              <button
                type="button"
                aria-pressed={filter.negatives}
                onClick={() => onFilter({ label: null, negatives: !filter.negatives })}
              >
                <span class="box-swatch is-none" />
                {texts.dataset.negatives}
              </button>
            </th>
            <td class="num">{whole(dataset.train_negatives)}</td>
            <td class="num">{whole(dataset.eval_negatives)}</td>
          </tr>
          <tr>
            <th scope="row">{texts.dataset.pictures}</th>
            <td class="num">{whole(dataset.train_frames)}</td>
            <td class="num">{whole(dataset.eval_frames)}</td>
          </tr>
        </tfoot>
      </table>
    </>
  );
}

function Sizes({ statistics }: { statistics: DatasetStatistics }): JSX.Element {
  const most = Math.max(1, ...statistics.box_sizes.map((each) => each.boxes));
  return (
    <>
      <p class="muted small-text">{texts.dataset.sizesHint}</p>
      <dl class="size-bars">
        {statistics.box_sizes.map((each, index) => (
          <div key={index}>
            <dt>{sizeName(statistics.box_sizes[index - 1]?.below ?? null, each.below)}</dt>
            <dd>
              <span class="size-bar" aria-hidden="true">
                <span style={{ transform: `scaleX(${each.boxes / most})` }} />
              </span>
              <span class="number">{whole(each.boxes)}</span>
            </dd>
          </div>
        ))}
      </dl>
      <h3>{texts.dataset.pictureSizes}</h3>
      <ul class="chips">
        {statistics.picture_sizes.map((each) => (
          <li key={`${each.width} ${each.height}`} class="chip">
            {each.width} × {each.height} <span class="number">{whole(each.pictures)}</span>
          </li>
        ))}
        {statistics.other_sizes > 0 && (
          <li class="chip">
            {texts.dataset.otherSizes} <span class="number">{whole(statistics.other_sizes)}</span>
          </li>
        )}
      </ul>
    </>
  );
}

function sizeName(from: number | null, below: number | null): string {
  if (from === null) return texts.dataset.sizeBelow(below ?? 1);
  return below === null ? texts.dataset.sizeOver(from) : texts.dataset.sizeFrom(from, below);
}

function UsedBy({ answer }: { answer: DatasetAnswer }): JSX.Element {
  if (answer.used_by.length === 0) return <p class="muted">{texts.dataset.unused}</p>;
  return (
    <>
      <ul class="users">
        {answer.used_by.map((user) => (
          <li key={user.job_id}>
            <a href={hashOf({ page: "model", id: user.job_id, tab: "details" })}>{user.description}</a>
          </li>
        ))}
      </ul>
      <p class="muted small-text">{texts.dataset.usedHint}</p>
    </>
  );
}
