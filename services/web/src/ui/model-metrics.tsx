/** The metrics of the latest checkpoint beside those of the best one, by the names that teams know. */
import { Fragment, type JSX } from "preact";
import type { MetricPoint } from "../contract";
import { metric } from "../format";
import { metricNames } from "../series";
import { texts } from "../texts";

export function Metrics({ points }: { points: readonly MetricPoint[] }): JSX.Element {
  const latest = points.at(-1);
  const best = points.findLast((point) => point.best);
  return (
    <section class="card" data-testid="metrics">
      <h2>{texts.model.metrics}</h2>
      {latest === undefined ? (
        <p class="muted">{texts.model.metricsNone}</p>
      ) : (
        <>
          <Pool title={texts.model.evaluation} pool="evaluation" latest={latest} best={best} points={points} />
          <Pool title={texts.model.training} pool="training" latest={latest} best={best} points={points} />
        </>
      )}
    </section>
  );
}

interface PoolProps {
  title: string;
  pool: "training" | "evaluation";
  latest: MetricPoint;
  best: MetricPoint | undefined;
  points: readonly MetricPoint[];
}

function Pool({ title, pool, latest, best, points }: PoolProps): JSX.Element {
  return (
    <table class="plain-table metrics">
      <caption>{title}</caption>
      <thead>
        <tr>
          <th scope="col">{texts.model.metric}</th>
          <th scope="col" class="num">
            {texts.model.atStep(latest.step)}
          </th>
          {best !== undefined && (
            <th scope="col" class="num">
              {texts.model.best(best.step)}
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {metricNames(points, pool).map((name) => (
          <tr key={name}>
            <th scope="row">
              <Name name={name} />
            </th>
            <Value value={latest[pool][name]} />
            {best !== undefined && <Value value={best[pool][name]} />}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** A name that may break after a slash or an underscore: on a phone it has to. */
function Name({ name }: { name: string }): JSX.Element {
  return (
    <>
      {name.split(/(?<=[/_])/).map((part, index) => (
        <Fragment key={index}>
          {part}
          <wbr />
        </Fragment>
      ))}
    </>
  );
}

function Value({ value }: { value: number | undefined }): JSX.Element {
  if (value === undefined) return <td class="num">{texts.none}</td>;
  // COCO's -1, which no average or loss can be: there was nothing to measure.
  if (value === -1)
    return (
      <td class="num muted" title={texts.model.noObject}>
        {texts.model.noObjectShort}
      </td>
    );
  return <td class="num">{metric(value)}</td>;
}
