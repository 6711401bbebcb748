/** Whole sample objects; a test changes the fields that it is about. */
import type {
  Announcement,
  DatasetView,
  JobView,
  MetricPoint,
  Progress,
  QueuePlace,
  SnapshotFrame,
  TeamView,
} from "../src/contract";

export const AT = "2026-03-01T12:00:00Z";

export function job(changes: Partial<JobView> = {}): JobView {
  return {
    id: "m1",
    team: "demo",
    version: 1,
    state: "QUEUED",
    description: "Balls",
    created_by: "Ada",
    created_at: AT,
    starting_model: "ssd_mobilenet_v2_320x320",
    dataset_ids: ["d1"],
    dataset_names: ["Gym"],
    labels: ["Ball"],
    train_frames: 1300,
    eval_frames: 325,
    batch_size: 32,
    steps_requested: 3000,
    steps_completed: 0,
    max_seconds: 3600,
    attempt: 0,
    queued_at: AT,
    running_since: null,
    stepping_seconds_before: 0,
    ended_at: null,
    reason: null,
    retry_after: null,
    trainer: null,
    checkpoint: null,
    export: null,
    attempts: [],
    notices: [],
    reserved_seconds: 3600,
    used_seconds: null,
    refunded_seconds: null,
    priority: 0,
    when_room: false,
    requires: {},
    parent_id: null,
    parent_description: null,
    previous_steps: 0,
    learning_rate_scale: 1,
    log_lines: 0,
    approved_by: null,
    ...changes,
  };
}

export function dataset(changes: Partial<DatasetView> = {}): DatasetView {
  return {
    id: "d1",
    team: "demo",
    name: "Gym",
    created_at: AT,
    labels: [{ name: "Ball", train: 934, eval: 236 }],
    train_frames: 1300,
    eval_frames: 325,
    train_negatives: 0,
    eval_negatives: 0,
    bytes: 1000,
    prefix: "datasets/d1",
    warnings: [],
    findings: [],
    ...changes,
  };
}

export function progress(changes: Partial<Progress> = {}): Progress {
  return {
    model_id: "m1",
    attempt: 1,
    step: 10,
    at: AT,
    stepping_seconds: 5,
    steps_per_second: 2,
    learning_rate: 0.02,
    losses: { "Loss/total_loss": 1.5 },
    ...changes,
  };
}

export function point(changes: Partial<MetricPoint> = {}): MetricPoint {
  return {
    model_id: "m1",
    step: 100,
    attempt: 1,
    saved_at: AT,
    stepping_seconds: 50,
    training: { "Loss/total_loss": 1.2, learning_rate: 0.02 },
    evaluation: {
      "DetectionBoxes_Precision/mAP": 0.3,
      "DetectionBoxes_Precision/mAP (small)": -1,
      "Loss/total_loss": 1.4,
    },
    best: false,
    predictions: null,
    ...changes,
  };
}

export function place(job_id: string, position: number): QueuePlace {
  return { job_id, position, start_from: null, start_to: null, end_from: null, end_to: null };
}

export function team(changes: Partial<TeamView> = {}): TeamView {
  return {
    team: "demo",
    granted_seconds: 36_000,
    used_seconds: 0,
    reserved_seconds: 0,
    balance_seconds: 36_000,
    version: 0,
    ...changes,
  };
}

export function announcement(changes: Partial<Announcement> = {}): Announcement {
  return { id: "a1", text: "Snow", kind: "info", at: AT, by: "Op", until: null, ...changes };
}

export function snapshot(changes: Partial<SnapshotFrame> = {}): SnapshotFrame {
  return {
    kind: "snapshot",
    epoch: "e1",
    seq: 0,
    time: AT,
    team: "demo",
    minutes: team(),
    models: [],
    datasets: [],
    queue: [],
    progress: [],
    room_moved_at: null,
    announcements: [],
    ...changes,
  };
}
