/**
 * What the page knows of its team, and the one way in which that changes: folding the frames of the stream.
 *
 * Pure: no DOM, no clock, no network. The law: a snapshot folded with every later event equals a fresh snapshot.
 */
import {
  type DatasetView,
  type Frame,
  type JobState,
  type JobView,
  type MetricPoint,
  type Progress,
  type QueuePlace,
  type SnapshotFrame,
  type StreamEvent,
  type TeamView,
} from "./contract";

export interface State {
  /** Null until the first snapshot. */
  readonly position: Position | null;
  /** Rises with each snapshot: whatever was fetched beside the stream has to be fetched again. */
  readonly snapshots: number;
  readonly team: string | null;
  readonly minutes: TeamView | null;
  readonly models: ReadonlyMap<string, JobView>;
  readonly datasets: ReadonlyMap<string, DatasetView>;
  readonly queue: ReadonlyMap<string, QueuePlace>;
  readonly progress: ReadonlyMap<string, Progress>;
  /** Model id, then step. Only of models whose metrics were fetched or that got a checkpoint since. */
  readonly metrics: ReadonlyMap<string, ReadonlyMap<number, MetricPoint>>;
}

export interface Position {
  readonly epoch: string;
  readonly seq: number;
}

const STEPPING: ReadonlySet<JobState> = new Set<JobState>(["RUNNING", "STOP_REQUESTED", "STOPPING"]);

export const EMPTY: State = {
  position: null,
  snapshots: 0,
  team: null,
  minutes: null,
  models: new Map(),
  datasets: new Map(),
  queue: new Map(),
  progress: new Map(),
  metrics: new Map(),
};

/** The state after a frame, or "gap" where events before it are missing: only a fresh snapshot helps then. */
export function fold(state: State, frame: Frame): State | "gap" {
  if (frame.kind === "snapshot") return fromSnapshot(state, frame);
  if (state.position === null || state.position.epoch !== frame.epoch) return "gap";
  let next = state;
  let seq = state.position.seq;
  for (const event of frame.events) {
    if (event.seq <= seq) continue; // sent twice
    if (event.seq !== seq + 1) return "gap";
    next = apply(next, event);
    seq = event.seq;
  }
  if (seq !== state.position.seq) next = { ...next, position: { epoch: frame.epoch, seq } };
  return frame.progress.reduce(withProgress, next);
}

/** The state with metrics that were fetched beside the stream: the same rule as for those that the stream brings. */
export function withMetrics(state: State, points: readonly MetricPoint[]): State {
  return points.reduce(withPoint, state);
}

/** The state with a model that a command's answer brought: the stream will bring it too, perhaps it already has. */
export function withModel(state: State, model: JobView): State {
  const known = state.models.get(model.id);
  if (known !== undefined && known.version >= model.version) return state;
  const next = { ...state, models: put(state.models, model.id, model) };
  const progress = state.progress.get(model.id);
  if (progress === undefined || tellsOf(model, progress)) return next;
  return { ...next, progress: without(state.progress, model.id) };
}

/** The state with a dataset that an import's answer brought. */
export function withDataset(state: State, dataset: DatasetView): State {
  return { ...state, datasets: put(state.datasets, dataset.id, dataset) };
}

function fromSnapshot(state: State, frame: SnapshotFrame): State {
  const models = byId(frame.models, (model) => model.id);
  const running: State = { ...EMPTY, models };
  return {
    position: { epoch: frame.epoch, seq: frame.seq },
    snapshots: state.snapshots + 1,
    team: frame.team,
    minutes: frame.minutes,
    models,
    datasets: byId(frame.datasets, (dataset) => dataset.id),
    queue: byId(frame.queue, (place) => place.job_id),
    progress: frame.progress.reduce(withProgress, running).progress,
    // Not part of a snapshot: kept so that a chart doesn't blink while they are fetched again.
    metrics: new Map([...state.metrics].filter(([id]) => models.has(id))),
  };
}

function apply(state: State, event: StreamEvent): State {
  switch (event.kind) {
    case "model.put":
      return withModel(state, event.model);
    case "model.gone":
      return {
        ...state,
        models: without(state.models, event.model_id),
        progress: without(state.progress, event.model_id),
        metrics: without(state.metrics, event.model_id),
      };
    case "metrics.added":
      return withPoint(state, event.point);
    case "dataset.put":
      return withDataset(state, event.dataset);
    case "dataset.gone":
      return { ...state, datasets: without(state.datasets, event.dataset_id) };
    case "queue.put":
      return { ...state, queue: byId(event.places, (place) => place.job_id) };
    case "team.put":
      return state.minutes !== null && event.team.version < state.minutes.version
        ? state
        : { ...state, minutes: event.team };
    default:
      // A newer service may send kinds that this page doesn't know: they count in the sequence and change nothing.
      event satisfies never;
      return state;
  }
}

function withProgress(state: State, progress: Progress): State {
  const model = state.models.get(progress.model_id);
  const known = state.progress.get(progress.model_id);
  const late =
    known !== undefined &&
    (progress.attempt < known.attempt || (progress.attempt === known.attempt && progress.step < known.step));
  if (model === undefined || late || !tellsOf(model, progress)) return state;
  return { ...state, progress: put(state.progress, progress.model_id, progress) };
}

/** Whether these figures are of the attempt that holds the model, while it makes steps or did a moment ago. */
function tellsOf(model: JobView, progress: Progress): boolean {
  return STEPPING.has(model.state) && progress.attempt === model.attempt;
}

function withPoint(state: State, point: MetricPoint): State {
  const points = state.metrics.get(point.model_id) ?? new Map<number, MetricPoint>();
  const known = points.get(point.step);
  if (known !== undefined && known.attempt > point.attempt) return state;
  return { ...state, metrics: put(state.metrics, point.model_id, put(points, point.step, point)) };
}

function byId<T>(items: readonly T[], id: (item: T) => string): ReadonlyMap<string, T> {
  return new Map(items.map((item) => [id(item), item]));
}

function put<K, V>(map: ReadonlyMap<K, V>, key: K, value: V): ReadonlyMap<K, V> {
  return new Map(map).set(key, value);
}

function without<K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> {
  if (!map.has(key)) return map;
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}
