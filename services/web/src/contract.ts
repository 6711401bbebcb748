// The shapes that the services send and are sent. Made by scripts/generate_types.py from shared/contract: don't edit, run it again.

/** RFC 3339, UTC. */
export type Timestamp = string;

export const JOB_STATES = [
  "QUEUED",
  "PREPARING",
  "RUNNING",
  "STOP_REQUESTED",
  "STOPPING",
  "SUCCEEDED",
  "STOPPED",
  "CANCELED",
  "FAILED",
  "TRY_AGAIN_LATER",
  "STATE_UNSPECIFIED",
] as const;
export type JobState = (typeof JOB_STATES)[number];

export const MEANINGS: Readonly<Record<JobState, string>> = {
  QUEUED: "Waiting for resources.",
  PREPARING: "Assigned to a trainer: fetching data and building the model.",
  RUNNING: "Training steps are being made.",
  STOP_REQUESTED: "Stop was pressed; the trainer has not answered yet.",
  STOPPING: "The trainer is saving a final checkpoint.",
  SUCCEEDED: "All requested steps are done. Check the metrics.",
  STOPPED: "Ended early with a checkpoint: it can be downloaded and trained more.",
  CANCELED: "Ended before any checkpoint was made.",
  FAILED: "Failed; the reason is shown. The last checkpoint, if any, is kept.",
  TRY_AGAIN_LATER: "Not queued because of a resource limit; nothing was reserved.",
  STATE_UNSPECIFIED: "The system found an inconsistency. Contact support.",
};

/** A job in one of these has ended. */
export const TERMINAL: ReadonlySet<JobState> = new Set<JobState>(["SUCCEEDED", "STOPPED", "CANCELED", "FAILED", "TRY_AGAIN_LATER"]);

/** A trainer holds the job, or is about to. */
export const ASSIGNED: ReadonlySet<JobState> = new Set<JobState>(["PREPARING", "RUNNING", "STOP_REQUESTED", "STOPPING"]);

/** Stop is possible in these. */
export const STOPPABLE: ReadonlySet<JobState> = new Set<JobState>(["QUEUED", "PREPARING", "RUNNING"]);

/** One assignment of the job to a trainer and how it ended. */
export interface AttemptView {
  number: number;
  trainer: string;
  assigned_at: Timestamp;
  started_at: Timestamp | null;
  resumed_from: number | null;
  ended_at: Timestamp | null;
  outcome: string | null;
}

/** The last durable checkpoint: `stepping_seconds` is what making its steps took, over all attempts. */
export interface CheckpointView {
  step: number;
  stepping_seconds: number;
  saved_at: Timestamp;
  prefix: string;
  map: number | null;
  best_step: number | null;
  best_map: number | null;
}

/** A model that uses a dataset; `description` is the model's name in the team's list. */
export interface Claim {
  job_id: string;
  description: string;
  claimed_at: Timestamp;
}

/** Whether datasets can be trained on together: only if their labels are identical. `labels` are what most of them have. */
export interface Compatibility {
  compatible: boolean;
  labels: string[];
  differences: Difference[];
}

/** Datasets to be trained on together. */
export interface CompatibilityRequest {
  dataset_ids: string[];
}

/** One dataset, how its import went, who uses it. */
export interface DatasetAnswer {
  dataset: DatasetView;
  report: ImportReport;
  used_by: Claim[];
}

/** A dataset was deleted. */
export interface DatasetGone {
  kind: "dataset.gone";
  seq: number;
  dataset_id: string;
}

/** A dataset is new. */
export interface DatasetPut {
  kind: "dataset.put";
  seq: number;
  dataset: DatasetView;
}

/** A dataset; `prefix` is where its shards lie in the artifact store. Frames are pictures, negatives those without a box. */
export interface DatasetView {
  id: string;
  team: string;
  name: string;
  created_at: Timestamp;
  labels: LabelCount[];
  train_frames: number;
  eval_frames: number;
  train_negatives: number;
  eval_negatives: number;
  bytes: number;
  prefix: string;
  warnings: string[];
}

/** The team's datasets, newest first. */
export interface DatasetsAnswer {
  datasets: DatasetView[];
}

/** How one dataset's labels differ from those that most of the others have. */
export interface Difference {
  dataset_id: string;
  name: string;
  missing: string[];
  extra: string[];
  hints: string[];
}

/** The body of every answer with a status of 400 or more. */
export interface ErrorAnswer {
  error: ErrorBody;
}

/** A UserError as it is sent: `details` only where there are any. */
export interface ErrorBody {
  code: string;
  message: string;
  field: string | null;
  details?: Record<string, unknown>;
}

/** A model's story, oldest first. */
export interface EventsAnswer {
  events: ModelEvent[];
}

/** What is due since the last frame: events in order (possibly none) and the newest progress of each running model. */
export interface EventsFrame {
  kind: "events";
  epoch: string;
  time: Timestamp;
  events: (ModelPut | ModelGone | MetricsAdded | DatasetPut | DatasetGone | QueuePut | TeamPut)[];
  progress: Progress[];
}

/** The exported model and how its boxes compared with the Keras model's. */
export interface ExportView {
  step: number;
  prefix: string;
  files: ExportedFile[];
  checks: Record<string, Record<string, number>>;
}

/** One file that can be downloaded; `name` is within the job's model folder. */
export interface ExportedFile {
  format: string;
  name: string;
  bytes: number;
  sha256: string;
}

/** The outcome of an import.
 * `read` counts pictures. `skipped` may be cut, `skipped_total` and `skipped_by_code` count all. `ignored` counts files
 * that are neither pictures nor XML. `warnings` are sentences, `oddities` the same with codes, counts and files. */
export interface ImportReport {
  read: Record<string, number>;
  annotations: number;
  boxes: number;
  ignored: number;
  skipped: SkippedFile[];
  skipped_total: number;
  skipped_by_code: Record<string, number>;
  warnings: string[];
  oddities: Warned[];
  look_alike_groups: number;
}

/** A new dataset and how its import went. */
export interface Imported {
  dataset: DatasetView;
  report: ImportReport;
}

/** A job as a command has left it. */
export interface JobAnswer {
  job: JobView;
}

/** What a team asks for. `steps` defaults to the recommended number, `max_minutes` to the estimate plus a quarter. */
export interface JobRequest {
  dataset_ids: string[];
  description: string;
  starting_model?: string;
  steps?: number | null;
  max_minutes?: number | null;
}

/** A training job, whole, as the scheduler last wrote it. `version` rises with each write.
 * `steps_completed` is that of the last durable checkpoint. `running_since` is set while steps are being made and
 * `stepping_seconds_before` is what earlier attempts' durable steps took: training time = the second plus now minus the first.
 * `reserved_seconds`, `used_seconds`, `refunded_seconds`: minutes, to the second; the last two are set at the end. */
export interface JobView {
  id: string;
  team: string;
  version: number;
  state: JobState;
  description: string;
  created_by: string;
  created_at: Timestamp;
  starting_model: string;
  dataset_ids: string[];
  dataset_names: string[];
  labels: string[];
  train_frames: number;
  eval_frames: number;
  batch_size: number;
  steps_requested: number;
  steps_completed: number;
  max_seconds: number;
  attempt: number;
  queued_at: Timestamp | null;
  running_since: Timestamp | null;
  stepping_seconds_before: number;
  ended_at: Timestamp | null;
  reason: Reason | null;
  retry_after: Timestamp | null;
  trainer: string | null;
  checkpoint: CheckpointView | null;
  export: ExportView | null;
  attempts: AttemptView[];
  notices: Reason[];
  reserved_seconds: number;
  used_seconds: number | null;
  refunded_seconds: number | null;
}

/** Boxes of one label in each pool. */
export interface LabelCount {
  name: string;
  train: number;
  eval: number;
}

/** One line of a team's statement: whole seconds, positive gives, negative takes. A balance is the sum of its lines. */
export interface LedgerEntry {
  kind: "grant" | "refund" | "reserve" | "use";
  seconds: number;
  at: Timestamp;
  job_id: string | null;
  note: string;
}

/** The installation's bounds on a job; `max_description` is in characters. */
export interface Limits {
  min_steps: number;
  max_steps: number;
  default_steps: number;
  checkpoint_every: number;
  max_description: number;
  max_minutes: number;
}

/** The metrics of one checkpoint, by ftc-ml's names. -1 in `evaluation` means that no object of that size exists. */
export interface MetricPoint {
  model_id: string;
  step: number;
  attempt: number;
  saved_at: Timestamp;
  stepping_seconds: number;
  training: Record<string, number>;
  evaluation: Record<string, number>;
  best: boolean;
}

/** A checkpoint's metrics: replaces the point of the same model and step where its attempt is at least as high. */
export interface MetricsAdded {
  kind: "metrics.added";
  seq: number;
  point: MetricPoint;
}

/** A model's metrics: a point a checkpoint, ascending by step. */
export interface MetricsAnswer {
  metrics: MetricPoint[];
}

/** One model, its newest progress while it runs, its metrics, ascending by step. */
export interface ModelAnswer {
  model: JobView;
  progress: Progress | null;
  metrics: MetricPoint[];
}

/** One line of a model's story. */
export interface ModelEvent {
  at: Timestamp;
  trigger: string;
  state: JobState;
  message: string;
}

/** A model was deleted. */
export interface ModelGone {
  kind: "model.gone";
  seq: number;
  model_id: string;
}

/** A model is new or changed: replaces the one of the same id where its `version` is higher. */
export interface ModelPut {
  kind: "model.put";
  seq: number;
  model: JobView;
}

/** The team's models, newest first. */
export interface ModelsAnswer {
  models: JobView[];
}

/** The figures of a run before it exists, and the same in sentences; nothing is reserved by asking. */
export interface Plan {
  starting_model: string;
  accelerator: "cpu" | "gpu";
  train_frames: number;
  eval_frames: number;
  labels: string[];
  batch_size: number;
  steps_per_epoch: number;
  steps: number;
  epochs: number;
  recommended_steps: number;
  estimated_seconds: number;
  seconds_per_step: number;
  default_max_minutes: number;
  minutes_left: number;
  sentences: string[];
}

/** A plan. */
export interface PlanAnswer {
  plan: Plan;
}

/** What a team wants to know before it asks. */
export interface PlanRequest {
  dataset_ids: string[];
  starting_model?: string;
  steps?: number | null;
}

/** The newest figures of a running model. `at` is when the status service heard of them. */
export interface Progress {
  model_id: string;
  attempt: number;
  step: number;
  at: Timestamp;
  stepping_seconds: number;
  steps_per_second: number;
  learning_rate: number;
  losses: Record<string, number>;
}

/** A waiting job's place (1 is next) and when it may start and end: the earliest and the latest likely time. */
export interface QueuePlace {
  job_id: string;
  position: number;
  start_from: Timestamp | null;
  start_to: Timestamp | null;
  end_from: Timestamp | null;
  end_to: Timestamp | null;
}

/** The places of all the team's waiting jobs: replaces the list. */
export interface QueuePut {
  kind: "queue.put";
  seq: number;
  places: QueuePlace[];
}

/** Why a job is as it is: `code` for programs, `message` in plain words, `remedy` where one is known. */
export interface Reason {
  code: string;
  message: string;
  remedy: string | null;
}

/** Whom the token names; `expires` is when it does, None for one that never does. */
export interface Session {
  team: string;
  role: string;
  name: string;
  expires: Timestamp | null;
}

/** A token to be kept as a cookie. */
export interface SessionRequest {
  token: string;
}

/** A file that gave nothing, and why: in words, and as a stable code. */
export interface SkippedFile {
  file: string;
  reason: string;
  code: string;
}

/** All that a team's page shows, as of (epoch, seq). `time` is the server's clock. Metrics are fetched by model. */
export interface SnapshotFrame {
  kind: "snapshot";
  epoch: string;
  seq: number;
  time: Timestamp;
  team: string;
  minutes: TeamView | null;
  models: JobView[];
  datasets: DatasetView[];
  queue: QueuePlace[];
  progress: Progress[];
}

/** What can be trained from. `input_size` is a side in pixels, `batch_size` pictures a step by accelerator. */
export interface StartingModelView {
  key: string;
  name: string;
  summary: string;
  input_size: number;
  batch_size: Record<string, number>;
}

/** All starting models, `default` by its key. */
export interface StartingModels {
  default: string;
  starting_models: StartingModelView[];
  limits: Limits;
}

/** A team's minutes and the statement that they sum up. */
export interface TeamAnswer {
  team: TeamView;
  ledger: LedgerEntry[];
}

/** The team's minutes: replaces them where `version` is at least as high. */
export interface TeamPut {
  kind: "team.put";
  seq: number;
  team: TeamView;
}

/** A team's minutes in whole seconds: balance = granted - used - reserved by jobs that have not ended. */
export interface TeamView {
  team: string;
  granted_seconds: number;
  used_seconds: number;
  reserved_seconds: number;
  balance_seconds: number;
  version: number;
}

/** One kind of oddity: how often, in a sentence, with the first few files. */
export interface Warned {
  code: string;
  message: string;
  count: number;
  files: string[];
}

export type StreamEvent = ModelPut | ModelGone | MetricsAdded | DatasetPut | DatasetGone | QueuePut | TeamPut;

export type Frame = SnapshotFrame | EventsFrame;

/** Websocket close codes. */
export const CLOSE_RESUME = 4000;
export const CLOSE_UNAUTHORIZED = 4001;

/** Shown names by key. A service may know newer ones. */
export const STARTING_MODEL_NAMES: Readonly<Record<string, string>> = {
  "ssd_mobilenet_v2_320x320": "SSD MobileNet v2 320x320",
};
