/** Every metric of a model over its steps, and of other models beside it: zoom, smoothing, logarithmic axes, a file. */
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { asApiError, isAbort } from "../api";
import type { Missing } from "../checkpoints";
import type { JobView, MetricPoint } from "../contract";
import { csvOf, type Graph, type Group, graphsOf, type Source } from "../graphs";
import { inOrder } from "../series";
import { fileStem } from "../snippets";
import { texts } from "../texts";
import { type Span, spanOf } from "../zoom";
import { Button, Icon, Waiting } from "./bits";
import { Chart } from "./chart";
import { usePage, useView } from "./context";
import { Metrics } from "./model-metrics";

/** More lines than that, and nobody can tell them apart. */
const MOST_COMPARED = 4;
const GROUPS: readonly Group[] = ["precision", "label", "loss", "recall", "rate"];
const BOUNDED: ReadonlySet<Group> = new Set<Group>(["precision", "label", "recall"]);

interface Props {
  job: JobView;
  points: readonly MetricPoint[];
  /** Why there are no points, where there are none. */
  why: Missing;
}

export function Graphs({ job, points, why }: Props): JSX.Element {
  const [smoothing, setSmoothing] = useState(0);
  const [log, setLog] = useState(false);
  const [zoom, setZoom] = useState<Span | null>(null);
  const [compared, setCompared] = useState<readonly string[]>([]);
  const others = useOthers(compared);
  const sources = useMemo<Source[]>(
    () => [{ id: job.id, name: job.description, points }, ...others],
    [job.id, job.description, points, others],
  );
  const graphs = useMemo(() => graphsOf(sources, smoothing), [sources, smoothing]);
  const lastStep = Math.max(job.steps_requested, ...others.map((other) => other.points.at(-1)?.step ?? 0));
  return (
    <>
      <section class="card graph-tools" aria-label={texts.graphs.tools}>
        <label class="slider-line">
          {texts.graphs.smoothing}
          <input
            type="range"
            class="slider"
            min="0"
            max="0.95"
            step="0.05"
            value={smoothing}
            onInput={(event) => setSmoothing(Number(event.currentTarget.value))}
          />
          <span class="number">{smoothing.toFixed(2)}</span>
        </label>
        <label class="check-line">
          <input type="checkbox" checked={log} onChange={(event) => setLog(event.currentTarget.checked)} />
          <span>{texts.graphs.log}</span>
        </label>
        <Compare job={job} chosen={compared} onChange={setCompared} />
        <span class="grow" />
        <StepField
          label={texts.graphs.from}
          step={zoom?.[0] ?? 0}
          last={lastStep}
          onStep={(from) => setZoom(spanOf(from ?? 0, zoom?.[1] ?? lastStep, lastStep))}
        />
        <StepField
          label={texts.graphs.to}
          step={zoom?.[1] ?? lastStep}
          last={lastStep}
          onStep={(to) => setZoom(spanOf(zoom?.[0] ?? 0, to ?? lastStep, lastStep))}
        />
        <Button refusal={zoom === null ? texts.graphs.zoomHint : null} icon="again" onClick={() => setZoom(null)}>
          {texts.graphs.zoomAll}
        </Button>
        <Button
          icon="download"
          refusal={points.length === 0 ? texts.model.metricsNone : null}
          data-testid="download-csv"
          onClick={() => save(`${fileStem(job.description)}-metrics.csv`, csvOf(sources))}
        >
          {texts.graphs.csv}
        </Button>
      </section>
      {graphs.length === 0 && (
        <section class="card">
          {why === "asked" ? <Waiting rows={8} /> : <p class="empty">{texts.model.noPoints[why]}</p>}
        </section>
      )}
      {GROUPS.map((group) => (
        <GraphGroup
          key={group}
          group={group}
          graphs={graphs.filter((graph) => graph.group === group)}
          log={log}
          zoom={zoom}
          lastStep={lastStep}
          onZoom={setZoom}
        />
      ))}
      {graphs.length > 0 && <Metrics points={points} />}
    </>
  );
}

interface StepFieldProps {
  label: string;
  step: number;
  last: number;
  /** A step was chosen, or (null) none. */
  onStep: (step: number | null) => void;
}

/** One end of what is shown. What is typed counts when it is finished: on its way to 300 nobody wants to see step 3. */
function StepField({ label, step, last, onStep }: StepFieldProps): JSX.Element {
  const [typed, setTyped] = useState<string | null>(null);
  return (
    <label class="step-field">
      {label}
      <input
        type="number"
        inputMode="numeric"
        min={0}
        max={last}
        value={typed ?? step}
        onInput={(event) => setTyped(event.currentTarget.value)}
        onChange={(event) => {
          const { valueAsNumber } = event.currentTarget;
          setTyped(null);
          onStep(Number.isNaN(valueAsNumber) ? null : valueAsNumber);
        }}
      />
    </label>
  );
}

interface GroupProps {
  group: Group;
  graphs: readonly Graph[];
  log: boolean;
  zoom: Span | null;
  lastStep: number;
  onZoom: (zoom: Span | null) => void;
}

function GraphGroup({ group, graphs, log, zoom, lastStep, onZoom }: GroupProps): JSX.Element | null {
  if (graphs.length === 0) return null;
  const bounded = BOUNDED.has(group);
  return (
    <section class="graph-group" data-testid={`graphs-${group}`}>
      <h2>
        {texts.graphs.groups[group]} <span class="muted small-text">{texts.graphs.hints[group]}</span>
      </h2>
      <div class="graph-grid">
        {graphs.map((graph) => (
          <Chart
            key={graph.name}
            title={graph.title}
            empty=""
            data={graph}
            lastStep={lastStep}
            log={log}
            zoom={zoom}
            onZoom={onZoom}
            height={190}
            {...(bounded && !log ? { range: [0, 1] as [number, number] } : {})}
          />
        ))}
      </div>
    </section>
  );
}

interface CompareProps {
  job: JobView;
  chosen: readonly string[];
  onChange: (ids: readonly string[]) => void;
}

function Compare({ job, chosen, onChange }: CompareProps): JSX.Element {
  const models = useView((view) => view.state.models);
  const candidates = [...models.values()]
    .filter((model) => model.id !== job.id && model.checkpoint !== null)
    .sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at));
  return (
    <details class="menu" data-testid="compare">
      <summary class="button">
        <Icon name="more" />
        {chosen.length === 0 ? texts.graphs.compare : texts.graphs.compared(chosen.length)}
      </summary>
      <div class="menu-body">
        {candidates.length === 0 && <p class="muted">{texts.graphs.nothingToCompare}</p>}
        {candidates.map((model) => {
          const on = chosen.includes(model.id);
          return (
            <label key={model.id} class="check-line">
              <input
                type="checkbox"
                checked={on}
                disabled={!on && chosen.length >= MOST_COMPARED}
                onChange={() => onChange(on ? chosen.filter((id) => id !== model.id) : [...chosen, model.id])}
              />
              <span>{model.description}</span>
            </label>
          );
        })}
      </div>
    </details>
  );
}

/** The metrics of models that are compared: fetched once, then kept up by the stream. */
function useOthers(ids: readonly string[]): Source[] {
  const { api, live, tell } = usePage();
  const metrics = useView((view) => view.state.metrics);
  const models = useView((view) => view.state.models);
  const snapshots = useView((view) => view.state.snapshots);
  useEffect(() => {
    const request = new AbortController();
    for (const id of ids) {
      api.metrics(id, request.signal).then(
        (points) => live.addMetrics(points),
        (error: unknown) => {
          if (!isAbort(error)) tell("bad", texts.model.metricsFailed(asApiError(error).message));
        },
      );
    }
    return () => request.abort();
  }, [api, live, tell, ids, snapshots]);
  return useMemo(
    () => ids.map((id) => ({ id, name: models.get(id)?.description ?? id, points: inOrder(metrics.get(id)) })),
    [ids, metrics, models],
  );
}

function save(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
