// The shapes that the services send and are sent. Made by scripts/generate_types.py from shared/contract: don't edit, run it again.

/** RFC 3339, UTC. */
export type Timestamp = string;

/** RFC 3339's full-date: 2026-03-14. */
export type CalendarDay = string;

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

/** A job in one of these has ended. */
export const TERMINAL: ReadonlySet<JobState> = new Set<JobState>(["SUCCEEDED", "STOPPED", "CANCELED", "FAILED", "TRY_AGAIN_LATER"]);

/** A trainer holds the job, or is about to. */
export const ASSIGNED: ReadonlySet<JobState> = new Set<JobState>(["PREPARING", "RUNNING", "STOP_REQUESTED", "STOPPING"]);

/** Stop is possible in these. */
export const STOPPABLE: ReadonlySet<JobState> = new Set<JobState>(["QUEUED", "PREPARING", "RUNNING"]);

/** Tell all teams `text`, of 1 to 280 characters; `until` None: until it is removed. */
export interface AnnounceRequest {
  text: string;
  kind?: "info" | "warning";
  until?: Timestamp | null;
}

/** What an operator tells all teams; after `until` it is over, None: not before it is removed. */
export interface Announcement {
  id: string;
  text: string;
  kind: "info" | "warning";
  at: Timestamp;
  by: string;
  until: Timestamp | null;
}

/** An announcement that was published. */
export interface AnnouncementAnswer {
  announcement: Announcement;
}

/** All that are in force, newest first. */
export interface AnnouncementsAnswer {
  announcements: Announcement[];
}

/** One assignment of the job to a trainer and how it ended. */
export interface AttemptView {
  number: number;
  trainer: string;
  assigned_at: Timestamp;
  started_at: Timestamp | null;
  resumed_from: number | null;
  ended_at: Timestamp | null;
  outcome: string | null;
  reason: Reason | null;
}

/** Newest first. */
export interface AuditAnswer {
  entries: AuditEntry[];
}

/** An operator's or mentor's act, written before it is done. `outcome` is `done`, `begun`, or the code of a refusal. */
export interface AuditEntry {
  id: string;
  at: Timestamp;
  by: string;
  act: string;
  target: string;
  details: Record<string, unknown>;
  outcome: string;
}

/** One outcome a team, in the order in which they were named; one's failure doesn't keep the others from it. */
export interface BatchAnswer {
  results: TeamOutcome[];
  failed: number;
}

/** How many boxes have a longer side of at least the previous entry's `below` and less than this one's, as a share
 * (0..1) of the picture's longer side. The last one's `below` is null: it has all that are left. */
export interface BoxSizes {
  below: number | null;
  boxes: number;
}

/** End a team's job; the team sees the reason. */
export interface CancelRequest {
  reason: string;
}

/** A point a minute, oldest first. */
export interface CapacityAnswer {
  points: CapacityPoint[];
}

/** The room at one time: live trainers, their slots, how many of those were busy, jobs that waited. */
export interface CapacityPoint {
  at: Timestamp;
  trainers: number;
  slots: number;
  busy: number;
  waiting: number;
}

/** What a model found in its evaluation pictures at one checkpoint. */
export interface CheckpointPredictionsAnswer {
  step: number;
  attempt: number;
  pictures: FoundBoxes[];
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

/** New teams, each with a season grant of `minutes` (None: the installation's). */
export interface CreateTeamsRequest {
  teams: string[];
  minutes?: number | null;
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

/** One picture as it is stored, `width` x `height` pixels; its boxes' sides are fractions of these. `index` is its number in
 * the whole dataset and never changes. */
export interface DatasetPicture {
  index: number;
  name: string;
  pool: "eval" | "train";
  width: number;
  height: number;
  boxes: TrueBox[];
}

/** A dataset is new. */
export interface DatasetPut {
  kind: "dataset.put";
  seq: number;
  dataset: DatasetView;
}

/** What is in a dataset. `tiny_boxes` counts those of the first entry of `box_sizes`. `picture_sizes` are the most
 * frequent ones, `other_sizes` counts the pictures of all others. `bytes` is what trainers fetch. */
export interface DatasetStatistics {
  labels: LabelStatistics[];
  train: PoolStatistics;
  eval: PoolStatistics;
  box_sizes: BoxSizes[];
  tiny_boxes: number;
  picture_sizes: PictureSize[];
  other_sizes: number;
  bytes: number;
}

/** A dataset; `prefix` is where its shards lie in the artifact store. Frames are pictures, negatives those without a box.
 * `findings` are about what is in it; `warnings` are their sentences, and those about how its import went. */
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
  findings: Finding[];
}

/** The team's datasets, newest first. `used_by` has the models that use one, by its id; none for those that nobody uses. */
export interface DatasetsAnswer {
  datasets: DatasetView[];
  used_by: Record<string, Claim[]>;
}

/** How one dataset's labels differ from those that most of the others have; `message` says it in a sentence, and nothing
 * where they don't. */
export interface Difference {
  dataset_id: string;
  name: string;
  missing: string[];
  extra: string[];
  hints: string[];
  message: string;
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

/** One picture, the `number`-th (from 0) that is kept of its job. `file` is its name in the dataset, empty where a dataset
 * doesn't say; `width` and `height` are pixels of the JPEG that is kept. */
export interface EvaluationPicture {
  number: number;
  dataset_id: string;
  dataset: string;
  file: string;
  width: number;
  height: number;
  boxes: TrueBox[];
}

/** A model's evaluation pictures, in the order of their numbers; each is at /api/models/{id}/pictures/{number}.jpg. */
export interface EvaluationPicturesAnswer {
  pictures: EvaluationPicture[];
}

/** A model's story, oldest first. */
export interface EventsAnswer {
  events: ModelEvent[];
}

/** What is due since the last frame: events in order (possibly none), the newest progress of each running model, and of the
 * whole room `room_moved_at` and all `announcements`, each None where it is what it was. */
export interface EventsFrame {
  kind: "events";
  epoch: string;
  time: Timestamp;
  events: (ModelPut | ModelGone | MetricsAdded | DatasetPut | DatasetGone | QueuePut | TeamPut)[];
  progress: Progress[];
  room_moved_at: Timestamp | null;
  announcements: Announcement[] | null;
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

/** Something about a dataset that may spoil a training: `code` for programs, `message` for the people who labelled it.
 * `labels` are those that it is about, `numbers` what was counted, by label or by name. */
export interface Finding {
  code: string;
  message: string;
  labels: string[];
  numbers: Record<string, number>;
}

/** A box that the model found, with its score (0 to 1). */
export interface FoundBox {
  label: string;
  score: number;
  ymin: number;
  xmin: number;
  ymax: number;
  xmax: number;
}

/** What the model found in the picture of that `number`: highest score first. */
export interface FoundBoxes {
  number: number;
  boxes: FoundBox[];
}

/** Minutes for each of the teams; negative takes back. */
export interface GrantRequest {
  teams: string[];
  minutes: number;
  kind?: "extra" | "season";
  note?: string;
}

/** A job on a trainer, or one that nobody knows to be. */
export interface HeldJobRow {
  job_id: string;
  team: string;
  description: string;
  attempt: number;
  state: JobState;
  steps_completed: number;
  steps_requested: number;
}

/** The outcome of an import.
 * `read` counts pictures. `skipped` may be cut, `skipped_total` and `skipped_by_code` count all. `ignored` counts files
 * that are neither pictures nor XML. `oddities` are what was odd about files, with codes and counts; `warnings` are the
 * sentences of these and of the dataset's findings. */
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

/** The last lines, 200 at most, of the attempt that ended last, and why it ended. */
export interface JobLog {
  lines: string[];
  attempt: number;
  reason: Reason | null;
}

/** What a team asks for. `steps` defaults to the recommended number, `max_minutes` to the estimate plus a quarter.
 * `when_room`: should it have to try again later, it does so by itself. `requires`: labels that its trainer must have. */
export interface JobRequest {
  dataset_ids: string[];
  description: string;
  starting_model?: string;
  steps?: number | null;
  max_minutes?: number | null;
  when_room?: boolean;
  requires?: Record<string, string>;
}

/** A training job, whole, as the scheduler last wrote it. `version` rises with each write.
 * `steps_completed` is that of the last durable checkpoint. `running_since` is set while steps are being made and
 * `stepping_seconds_before` is what earlier attempts' durable steps took: training time = the second plus now minus the first.
 * `reserved_seconds`, `used_seconds`, `refunded_seconds`: minutes, to the second; the last two are set at the end.
 * `priority` is an operator's class, higher first. `when_room`: a job that must try again later queues by itself once it may.
 * `requires` are labels that its trainer must have. `parent_id` is the model that it was trained on from, whose steps and
 * those of its ancestors are `previous_steps`. `learning_rate_scale` is below 1 after a run that diverged. `log_lines` can be
 * read at /api/jobs/{id}/log. `approved_by` is the mentor who let it pass the cap of its member. */
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
  priority: number;
  when_room: boolean;
  requires: Record<string, string>;
  parent_id: string | null;
  parent_description: string | null;
  previous_steps: number;
  learning_rate_scale: number;
  log_lines: number;
  approved_by: string | null;
}

/** Boxes of one label in each pool. */
export interface LabelCount {
  name: string;
  train: number;
  eval: number;
}

/** How often a label occurs in one pool: boxes, and pictures that hold at least one. */
export interface LabelInPool {
  boxes: number;
  pictures: number;
}

/** One label. `sizes` counts its boxes by size, in the order of the dataset's `box_sizes`. */
export interface LabelStatistics {
  name: string;
  train: LabelInPool;
  eval: LabelInPool;
  sizes: number[];
}

/** The team's statement, oldest line first, and its sum in seconds. */
export interface LedgerAnswer {
  ledger: LedgerEntry[];
  balance_seconds: number;
}

/** One line of a team's statement: whole seconds, positive gives, negative takes. A balance is the sum of its lines. */
export interface LedgerEntry {
  kind: "grant" | "refund" | "reserve" | "use";
  seconds: number;
  at: Timestamp;
  job_id: string | null;
  note: string;
  by: string;
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

/** A person of the team. The role listed here bounds what any of that person's tokens may do with jobs and minutes. */
export interface Member {
  name: string;
  role: "member" | "mentor" | "viewer";
  added_at: Timestamp;
  added_by: string;
}

/** A member and a fresh token in that name, good for `days`. */
export interface MemberAnswer {
  member: Member;
  token: string;
  days: number;
}

/** A new member, or another role for one. */
export interface MemberRequest {
  role?: "member" | "mentor" | "viewer";
}

/** The metrics of one checkpoint, by ftc-ml's names. -1 in `evaluation` means that no object of that size, or of that label,
 * exists. `predictions` is None where none were kept. */
export interface MetricPoint {
  model_id: string;
  step: number;
  attempt: number;
  saved_at: Timestamp;
  stepping_seconds: number;
  training: Record<string, number>;
  evaluation: Record<string, number>;
  best: boolean;
  predictions: PredictionsView | null;
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

/** Train a finished model more, on its own datasets and on `dataset_ids`; `steps` are the new ones alone. */
export interface MoreRequest {
  description: string;
  dataset_ids?: string[];
  steps?: number | null;
  max_minutes?: number | null;
  when_room?: boolean;
  requires?: Record<string, string>;
}

/** Training is closed, by an operator: no job is admitted. `until` None means until it is opened again. */
export interface Pause {
  by: string;
  at: Timestamp;
  message: string;
  until: Timestamp | null;
}

/** Close (or open) training for these teams, None for everybody. Jobs that are admitted already go on. */
export interface PauseRequest {
  teams?: string[] | null;
  paused?: boolean;
  until?: Timestamp | null;
  message?: string;
}

/** How many pictures are `width` x `height` pixels, as they are stored. */
export interface PictureSize {
  width: number;
  height: number;
  pictures: number;
}

/** A range of a dataset's pictures, by file name; `total` counts all that were asked for, from which these are from
 * `offset` on. */
export interface PicturesAnswer {
  pictures: DatasetPicture[];
  offset: number;
  total: number;
}

/** The figures of a run before it exists, and the same in sentences; nothing is reserved by asking.
 * `place` is where it would stand if it were submitted now; `refusal` why it would have to try again later instead. */
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
  place: QueuePlace | null;
  refusal: Reason | null;
  retry_after_seconds: number | null;
}

/** A plan. */
export interface PlanAnswer {
  plan: Plan;
}

/** What a team wants to know before it asks. With a `parent_id`, of training that model more: its own datasets and starting
 * model are meant, `dataset_ids` come on top. */
export interface PlanRequest {
  dataset_ids?: string[];
  starting_model?: string;
  steps?: number | null;
  max_minutes?: number | null;
  requires?: Record<string, string>;
  parent_id?: string | null;
}

/** One pool; negatives are pictures without a box. */
export interface PoolStatistics {
  pictures: number;
  negatives: number;
  boxes: number;
}

/** A checkpoint whose predictions are kept. */
export interface PredictedCheckpoint {
  step: number;
  attempt: number;
  saved_at: Timestamp;
}

/** The checkpoints of a model whose predictions are kept, ascending by step. */
export interface PredictionsAnswer {
  checkpoints: PredictedCheckpoint[];
}

/** Folders with what the model found in some evaluation pictures at one checkpoint, and with those pictures. */
export interface PredictionsView {
  prefix: string;
  pictures: string;
}

/** A job's priority class: higher goes first, 0 is everybody's. */
export interface PriorityRequest {
  priority: number;
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

/** The whole queue, next first; jobs that contradict themselves and wait to be reconciled; and those that queue by
 * themselves once there is room, the first to ask first. */
export interface QueueAnswer {
  queue: QueueRow[];
  unspecified: HeldJobRow[];
  for_room: HeldJobRow[];
}

/** A waiting job's place (1 is next) and when it may start and end: of ten, six start between `start_from` and `start_to`,
 * two before and two after (20th and 80th percentile), and so for the end. None where nothing can be said. */
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

/** A waiting job, `place` with its position and expected times. */
export interface QueueRow {
  place: QueuePlace;
  team: string;
  description: string;
  created_by: string;
  starting_model: string;
  accelerator: "cpu" | "gpu";
  queued_at: Timestamp;
  priority: number;
  resumed: boolean;
  reserved_seconds: number;
  requires: Record<string, string>;
}

/** Why a job is as it is: `code` for programs, `message` in plain words, `remedy` where one is known. */
export interface Reason {
  code: string;
  message: string;
  remedy: string | null;
}

/** What a job of STATE_UNSPECIFIED becomes: QUEUED again from its last checkpoint, or FAILED and settled. */
export interface ReconcileRequest {
  state: "FAILED" | "QUEUED";
}

/** Seconds that a job which has not ended keeps from the balance. */
export interface Reservation {
  job_id: string;
  description: string;
  state: JobState;
  seconds: number;
}

/** Try a job again that had to be tried later; `when_room` makes it (or keeps it from) trying by itself after that. */
export interface RetryRequest {
  when_room?: boolean;
}

/** All that runs, the first to end first, and all that waits, next first. `slots` are those of the live trainers that take
 * jobs, `busy` how many of them hold one. A job of the asking team, of the usual kind and length, that was submitted now would
 * start between `start_from` and `start_to`; None where nothing can be said, or it would have to be tried again later. */
export interface RoomAnswer {
  slots: number;
  busy: number;
  running: RoomRunning[];
  waiting: RoomWaiting[];
  start_from: Timestamp | null;
  start_to: Timestamp | null;
}

/** A job that a trainer holds. Of ten such jobs six end between `end_from` and `end_to`; None where nothing can be said. */
export interface RoomRunning {
  state: JobState;
  steps_completed: number;
  steps_requested: number;
  end_from: Timestamp | null;
  end_to: Timestamp | null;
  job_id: string | null;
  description: string | null;
}

/** A job in the queue, at `position` (1 is next), of the class `priority` (higher goes first). Of ten such jobs six start
 * between `start_from` and `start_to`, and so for the end; None where nothing can be said. */
export interface RoomWaiting {
  position: number;
  priority: number;
  queued_at: Timestamp;
  start_from: Timestamp | null;
  start_to: Timestamp | null;
  end_from: Timestamp | null;
  end_to: Timestamp | null;
  job_id: string | null;
  description: string | null;
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

/** All that a team's page shows, as of (epoch, seq). `time` is the server's clock. Metrics are fetched by model, and what
 * runs and waits in the whole room at /api/queue: it was `room_moved_at` when that last changed. `announcements` are newest
 * first; some may be over by the server's clock. */
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
  room_moved_at: Timestamp | null;
  announcements: Announcement[];
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

/** A team's minutes, the statement that they sum up, what is reserved and by which job, its members.
 * `member_cap_minutes` is what a member may have reserved and used without a mentor's approval, None for no such cap. */
export interface TeamAnswer {
  team: TeamView;
  ledger: LedgerEntry[];
  reservations: Reservation[];
  members: Member[];
  member_cap_minutes: number | null;
  pause: Pause | null;
}

/** What became of one team of a batch: `error` where it failed. `token` is the first mentor's, of a team just created. */
export interface TeamOutcome {
  team: string;
  error: ErrorBody | null;
  balance_seconds: number | null;
  token: string | null;
}

/** The team's minutes: replaces them where `version` is at least as high. */
export interface TeamPut {
  kind: "team.put";
  seq: number;
  team: TeamView;
}

/** What a mentor may set. */
export interface TeamRequest {
  member_cap_minutes: number | null;
}

/** A team as operators see it; counts are of jobs. */
export interface TeamRow {
  minutes: TeamView;
  members: number;
  waiting: number;
  running: number;
  usage_seconds: number;
  pause: Pause | null;
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

/** All teams, by name; `pause` where training is closed for everybody. */
export interface TeamsAnswer {
  teams: TeamRow[];
  pause: Pause | null;
}

/** A token that was made and its secret, which is kept nowhere. */
export interface TokenAnswer {
  token: TokenView;
  secret: string;
}

/** A token to make, good for `days`. */
export interface TokenRequest {
  name: string;
  role?: "member" | "mentor" | "viewer";
  days?: number;
}

/** A live token, without its secret. It speaks in the name of whoever made it: `present_role` is what it may do now, the
 * lower of its own role and of what the list of members says of that person, None where that person was taken off the list.
 * `last_used` is a day in UTC, None where no use of it was heard of. */
export interface TokenView {
  id: string;
  name: string;
  role: "member" | "mentor" | "viewer";
  present_role: "member" | "mentor" | "viewer" | null;
  made_by: string;
  made_at: Timestamp;
  expires_at: Timestamp;
  last_used: CalendarDay | null;
}

/** The tokens that the asking person sees, newest first, and how many of the at most `limit` the team has in all. */
export interface TokensAnswer {
  tokens: TokenView[];
  live: number;
  limit: number;
}

/** A trainer as a command has left it. */
export interface TrainerAnswer {
  trainer: TrainerRow;
}

/** A trainer as it was last heard. `memory_bytes` is what one slot has; `utilization` is 0 to 1. */
export interface TrainerRow {
  id: string;
  status: "draining" | "gone" | "live" | "silent";
  accelerator: "cpu" | "gpu";
  device: string;
  memory_bytes: number;
  slots: number;
  seen_at: Timestamp;
  jobs: HeldJobRow[];
  labels: Record<string, string>;
  started_at: Timestamp | null;
  utilization: number | null;
  memory_used_bytes: number | null;
}

/** All trainers heard of within a day, by id. */
export interface TrainersAnswer {
  trainers: TrainerRow[];
}

/** A box that somebody drew. */
export interface TrueBox {
  label: string;
  ymin: number;
  xmin: number;
  ymax: number;
  xmax: number;
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
export const CLOSE_FORBIDDEN = 4003;
/** With CLOSE_FORBIDDEN, and the code of an error: the token itself was revoked. */
export const REASON_REVOKED = "token_revoked";

/** Scores from 0 to 1: found boxes below it aren't kept. */
export const LEAST_SCORE = 0.05;

/** A line that brings no frame for so many seconds is dead. */
export const SILENCE_SECONDS = 15;

/** Characters. */
export const LONGEST_ANNOUNCEMENT = 280;

/** Shown names by key. A service may know newer ones. */
export const STARTING_MODEL_NAMES: Readonly<Record<string, string>> = {
  "ssd_mobilenet_v2_320x320": "SSD MobileNet v2 320x320",
};
