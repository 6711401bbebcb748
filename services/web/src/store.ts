/**
 * What the page knows of its team, and the one way in which that changes: folding the frames of the stream.
 *
 * Pure: no DOM, no clock, no network. The law: a snapshot folded with every later event equals a fresh snapshot.
 */
import {
  type Announcement,
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
  /** When what runs and waits in the whole room last changed: whoever shows it asks for it again. */
  readonly roomMoved: string | null;
  /** What operators tell all teams, newest first; some may be over by the server's clock. */
  readonly announcements: readonly Announcement[];
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
  roomMoved: null,
  announcements: [],
};

/** The state after a frame, or "gap" where events before it are missing: only a fresh snapshot helps then. */
export function fold(state: State, frame: Frame): State | "gap" {
  if (frame.kind === "snapshot") return fromSnapshot(state, frame);
  if (state.position === null || state.position.epoch !== frame.epoch) return "gap";
  const draft = new Draft(state);
  let seq = state.position.seq;
  for (const event of frame.events) {
    if (event.seq <= seq) continue; // sent twice
    if (event.seq !== seq + 1) return "gap";
    apply(draft, event);
    seq = event.seq;
  }
  if (seq !== state.position.seq) draft.set({ position: { epoch: frame.epoch, seq } });
  for (const progress of frame.progress) putProgress(draft, progress);
  const moved = frame.room_moved_at ?? state.roomMoved;
  if (moved !== state.roomMoved) draft.set({ roomMoved: moved });
  // Also null and missing: a frame tells them where they have changed, an older service never does.
  if (frame.announcements != null) draft.set({ announcements: frame.announcements });
  return draft.state;
}

/** A snapshot that brings somebody who knows nothing to this state (metrics apart), or null before the first. */
export function toSnapshot(state: State, time: string): SnapshotFrame | null {
  if (state.position === null) return null;
  return {
    kind: "snapshot",
    ...state.position,
    time,
    team: state.team ?? "",
    minutes: state.minutes,
    models: [...state.models.values()],
    datasets: [...state.datasets.values()],
    queue: [...state.queue.values()],
    progress: [...state.progress.values()],
    room_moved_at: state.roomMoved,
    announcements: [...state.announcements],
  };
}

/** What is known once the session has ended: nothing of that team's. */
export function forgotten(state: State): State {
  return { ...EMPTY, snapshots: state.snapshots };
}

/** The state with metrics that were fetched beside the stream: the same rule as for those that the stream brings. */
export function withMetrics(state: State, points: readonly MetricPoint[]): State {
  const draft = new Draft(state);
  for (const point of points) putPoint(draft, point);
  return draft.state;
}

/**
 * The state with a model that a command's answer brought: the stream will bring it too, perhaps it already has. An answer may
 * come after somebody of another team has signed in: it is none of theirs.
 */
export function withModel(state: State, model: JobView): State {
  if (model.team !== state.team) return state;
  const draft = new Draft(state);
  putModel(draft, model);
  return draft.state;
}

/** The same for a dataset that an import's answer brought. */
export function withDataset(state: State, dataset: DatasetView): State {
  if (dataset.team !== state.team) return state;
  const draft = new Draft(state);
  draft.put("datasets", dataset.id, dataset);
  return draft.state;
}

type MapName = "models" | "datasets" | "queue" | "progress" | "metrics";
type ValueIn<M extends MapName> = State[M] extends ReadonlyMap<string, infer V> ? V : never;

/** A state being changed: each map is copied at its first change, however many changes a frame brings. */
class Draft {
  private readonly own = new Set<MapName>();
  private changed: State | null = null;

  constructor(private readonly base: State) {}

  get state(): State {
    return this.changed ?? this.base;
  }

  set(change: Partial<State>): void {
    this.changed = { ...this.state, ...change };
  }

  put<M extends MapName>(name: M, key: string, value: ValueIn<M>): void {
    this.writable(name).set(key, value);
  }

  drop(name: MapName, key: string): void {
    if (this.state[name].has(key)) this.writable(name).delete(key);
  }

  private writable<M extends MapName>(name: M): Map<string, ValueIn<M>> {
    if (!this.own.has(name)) {
      this.set({ [name]: new Map<string, unknown>(this.state[name]) });
      this.own.add(name);
    }
    return this.state[name] as unknown as Map<string, ValueIn<M>>;
  }
}

function fromSnapshot(state: State, frame: SnapshotFrame): State {
  const models = byId(frame.models, (model) => model.id);
  const running = new Draft({ ...EMPTY, models });
  for (const progress of frame.progress) putProgress(running, progress);
  return {
    position: { epoch: frame.epoch, seq: frame.seq },
    snapshots: state.snapshots + 1,
    team: frame.team,
    minutes: frame.minutes,
    models,
    datasets: byId(frame.datasets, (dataset) => dataset.id),
    queue: byId(frame.queue, (place) => place.job_id),
    progress: running.state.progress,
    // Not part of a snapshot: kept so that a chart doesn't blink while they are fetched again.
    metrics: new Map([...state.metrics].filter(([id]) => models.has(id))),
    // An older service doesn't tell.
    roomMoved: frame.room_moved_at ?? null,
    announcements: frame.announcements ?? [],
  };
}

function apply(draft: Draft, event: StreamEvent): void {
  switch (event.kind) {
    case "model.put":
      putModel(draft, event.model);
      break;
    case "model.gone":
      for (const name of ["models", "progress", "metrics"] as const) draft.drop(name, event.model_id);
      break;
    case "metrics.added":
      putPoint(draft, event.point);
      break;
    case "dataset.put":
      draft.put("datasets", event.dataset.id, event.dataset);
      break;
    case "dataset.gone":
      draft.drop("datasets", event.dataset_id);
      break;
    case "queue.put":
      draft.set({ queue: byId(event.places, (place) => place.job_id) });
      break;
    case "team.put": {
      const known = draft.state.minutes;
      if (known === null || event.team.version >= known.version) draft.set({ minutes: event.team });
      break;
    }
    default:
      // A newer service may send kinds that this page doesn't know: they count in the sequence and change nothing.
      event satisfies never;
  }
}

function putModel(draft: Draft, model: JobView): void {
  const known = draft.state.models.get(model.id);
  if (known !== undefined && known.version >= model.version) return;
  draft.put("models", model.id, model);
  const progress = draft.state.progress.get(model.id);
  if (progress !== undefined && !tellsOf(model, progress)) draft.drop("progress", model.id);
}

function putProgress(draft: Draft, progress: Progress): void {
  const model = draft.state.models.get(progress.model_id);
  const known = draft.state.progress.get(progress.model_id);
  const late =
    known !== undefined &&
    (progress.attempt < known.attempt || (progress.attempt === known.attempt && progress.step < known.step));
  if (model !== undefined && !late && tellsOf(model, progress)) draft.put("progress", progress.model_id, progress);
}

/** Whether these figures are of the attempt that holds the model, while it makes steps or did a moment ago. */
function tellsOf(model: JobView, progress: Progress): boolean {
  return STEPPING.has(model.state) && progress.attempt === model.attempt;
}

function putPoint(draft: Draft, point: MetricPoint): void {
  const points = draft.state.metrics.get(point.model_id);
  const known = points?.get(point.step);
  if (known !== undefined && known.attempt > point.attempt) return;
  draft.put("metrics", point.model_id, new Map(points).set(point.step, point));
}

function byId<T>(items: readonly T[], id: (item: T) => string): ReadonlyMap<string, T> {
  return new Map(items.map((item) => [id(item), item]));
}
