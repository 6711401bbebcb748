/** A model's own page (Monitor): its state and figures at the top, then what is known of it, in tabs. */
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { asApiError, isAbort } from "../api";
import { type Missing, missing } from "../checkpoints";
import type { JobView, MetricPoint } from "../contract";
import { duration, metric, precision, whole } from "../format";
import { isNews, prominent } from "../notices";
import { hashOf, MODEL_TABS, type ModelTab } from "../route";
import { MAP, MAP_50, inOrder, lossChart, precisionChart } from "../series";
import { texts } from "../texts";
import { steps, trainingSeconds } from "../time";
import { Icon, Problem, StateBadge, StepBar, TrainingTime, Waiting } from "./bits";
import { Chart } from "./chart";
import { useArrivals, useNow, usePage, useProgress, useView } from "./context";
import { Explanation } from "./explain";
import { lazy } from "./lazy";
import { Attempts, Details, History, Lineage, Minutes, Pools } from "./model-details";
import { Export } from "./model-export";
import { Failure } from "./model-failure";
import { Graphs } from "./model-graphs";
import { ModelToolbar } from "./model-toolbar";
import { TabBar } from "./tabs";
import { TryAgain } from "./try-again";

const Images = lazy(async () => (await import("./model-images")).Images);
const TryIt = lazy(async () => (await import("./model-try")).TryIt);

export function ModelPage({ id, tab }: { id: string; tab: ModelTab }): JSX.Element {
  const job = useView((view) => view.state.models.get(id));
  const known = useView((view) => view.state.position !== null);
  const metrics = useView((view) => view.state.metrics.get(id));
  const asked = useMetrics(id);
  const { problem, again } = asked;
  const points = useMemo(() => inOrder(metrics), [metrics]);
  const told = problem === null ? null : texts.model.metricsFailed(problem);

  if (job === undefined) return <Absent waiting={!known} />;
  const why = missing(job, asked);
  return (
    <article class="model" data-testid="model-page" data-model-id={id}>
      <Back />
      <header class="model-head">
        <div class="model-title">
          <h1>{job.description}</h1>
          <div class="model-state">
            <StateBadge state={job.state} />
            <Explanation job={job} onPage />
          </div>
          <TryAgain job={job} />
        </div>
        <ModelToolbar selected={[job]} onPage />
      </header>
      <Reasons job={job} />
      <Figures job={job} points={points} why={why} />
      <TabBar
        label={texts.model.tabsLabel}
        tabs={MODEL_TABS.map((each) => ({
          key: each,
          name: texts.model.tabs[each],
          href: hashOf({ page: "model", id, tab: each }),
        }))}
        current={tab}
      />
      {tab === "details" && (
        <>
          <Problem problem={told} onRetry={again} />
          <Charts job={job} points={points} why={why} />
          <div class="columns">
            <div class="column">
              <Attempts job={job} />
              <History job={job} />
            </div>
            <div class="column">
              <Minutes job={job} />
              <Details job={job} />
              <Lineage job={job} />
              <Pools job={job} />
            </div>
          </div>
        </>
      )}
      {tab === "graphs" && (
        <>
          <Problem problem={told} onRetry={again} />
          <Graphs job={job} points={points} why={why} />
        </>
      )}
      {tab === "images" && <Images job={job} points={points} problem={problem} onRetry={again} />}
      {tab === "export" && <Export job={job} />}
      {tab === "try" && <TryIt job={job} />}
    </article>
  );
}

interface Asked {
  /** The metrics of all checkpoints until the page asked are there. */
  known: boolean;
  problem: string | null;
  again: () => void;
}

/** Fetches the metrics into the live data when the page opens and with each new connection; the stream adds what comes later. */
function useMetrics(id: string): Asked {
  const { api, live } = usePage();
  const snapshots = useView((view) => view.state.snapshots);
  const arrivals = useArrivals();
  const [known, setKnown] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [tries, setTries] = useState(0);
  useEffect(() => {
    if (snapshots === 0) return undefined;
    const request = new AbortController();
    api.model(id, request.signal).then(
      (answer) => {
        live.addMetrics(answer.metrics);
        setKnown(true);
        setProblem(null);
      },
      (error: unknown) => {
        if (!isAbort(error)) setProblem(asApiError(error).message);
      },
    );
    return () => request.abort();
  }, [api, live, id, arrivals, tries]);
  return { known, problem, again: () => setTries(tries + 1) };
}

function Back(): JSX.Element {
  return (
    <a class="back" href={hashOf({ page: "models" })}>
      <Icon name="left" />
      {texts.model.back}
    </a>
  );
}

function Absent({ waiting }: { waiting: boolean }): JSX.Element {
  if (waiting) return <Waiting rows={6} />;
  return (
    <section class="card empty">
      <h1>{texts.model.gone}</h1>
      <p>{texts.model.goneHint}</p>
      <a class="button primary" href={hashOf({ page: "models" })}>
        {texts.model.back}
      </a>
    </section>
  );
}

function Reasons({ job }: { job: JobView }): JSX.Element | null {
  const reason = job.state === "FAILED" ? null : job.reason;
  const told = [
    ...(reason === null ? [] : [{ ...reason, tone: "tone-warn" }]),
    ...prominent(job).map((notice) => ({ ...notice, tone: isNews(notice) ? "tone-active" : "tone-warn" })),
  ];
  if (told.length === 0 && job.state !== "FAILED") return null;
  return (
    <section class="reasons" aria-label={texts.model.notices} data-testid="notices">
      {job.state === "FAILED" && <Failure job={job} />}
      {told.map((each) => (
        <div key={each.code} class={`reason ${each.tone}`}>
          <Icon name={each.tone === "tone-active" ? "check" : "alert"} />
          <p>
            {each.message}
            {each.remedy !== null && <> {each.remedy}</>}
          </p>
        </div>
      ))}
    </section>
  );
}

interface FiguresProps {
  job: JobView;
  points: readonly MetricPoint[];
  /** Why there are no points, where there are none. */
  why: Missing;
}

function Figures({ job, points, why }: FiguresProps): JSX.Element {
  const progress = useProgress(job.id);
  const now = useNow(job.running_since !== null);
  const count = steps(job, progress);
  const last = points.at(-1);
  const running = job.state === "RUNNING" ? progress : undefined;
  return (
    <dl class="figures">
      <div class="figure">
        <dt>{texts.model.kpiSteps}</dt>
        <dd>
          <span class="big" data-testid="steps-completed">
            {whole(count.made)}
          </span>{" "}
          <span class="muted">{texts.models.stepsOf(count.requested)}</span>
          <StepBar {...count} />
        </dd>
      </div>
      <div class="figure">
        <dt>{texts.model.kpiTime}</dt>
        <dd>
          <span class="big">
            <TrainingTime job={job} />
          </span>
          <span class="muted below">{texts.model.ofMaximum(duration(job.max_seconds))}</span>
        </dd>
      </div>
      <div class="figure">
        <dt>{texts.model.kpiMap}</dt>
        <dd>
          <span class="big number">{precision(last?.evaluation[MAP_50]) ?? texts.none}</span>
          <span class="muted below">
            {last === undefined
              ? texts.model.mapMissing[why]
              : texts.model.mapLatest(precision(last.evaluation[MAP]) ?? texts.none)}
          </span>
        </dd>
      </div>
      <div class="figure">
        <dt>{texts.model.kpiSpeed}</dt>
        <dd>
          <span class="big number">
            {running === undefined ? averageSpeed(job, now) : metric2(running.steps_per_second)}
          </span>{" "}
          <span class="muted">{texts.model.perSecond}</span>
          <span class="muted below">
            {running === undefined ? texts.model.average : texts.model.learningRate(metric(running.learning_rate))}
          </span>
        </dd>
      </div>
      <div class="figure">
        <dt>{texts.model.kpiMinutes}</dt>
        <dd>
          <span class="big number">{duration(job.used_seconds ?? job.reserved_seconds)}</span>
          <span class="muted below">
            {job.used_seconds === null
              ? texts.model.reserved
              : texts.model.used(job.refunded_seconds === null ? null : duration(job.refunded_seconds))}
          </span>
        </dd>
      </div>
    </dl>
  );
}

function averageSpeed(job: JobView, now: number): string {
  const seconds = trainingSeconds(job, now);
  return job.steps_completed > 0 && seconds > 0 ? metric2(job.steps_completed / seconds) : texts.none;
}

function metric2(value: number): string {
  return value.toFixed(2);
}

function Charts({ job, points, why }: FiguresProps): JSX.Element {
  const progress = useProgress(job.id);
  const losses = useMemo(() => lossChart(points, progress), [points, progress]);
  const precisions = useMemo(() => precisionChart(points), [points]);
  const best = points.findLast((point) => point.best);
  const bestMap = precision(best?.evaluation[MAP]);
  const empty = texts.model.noPoints[why];
  return (
    <div class="columns even">
      <Chart
        title={texts.model.loss}
        hint={progress === undefined ? texts.model.lossHint : texts.model.lossHintLive}
        empty={empty}
        data={losses}
        lastStep={job.steps_requested}
        hidden={["Loss/regularization_loss"]}
      />
      <Chart
        title={texts.model.precision}
        hint={texts.model.precisionHint}
        empty={empty}
        note={best !== undefined && bestMap !== null ? texts.model.bestAt(bestMap, best.step) : undefined}
        data={precisions}
        lastStep={job.steps_requested}
        range={[0, 1]}
      />
    </div>
  );
}
