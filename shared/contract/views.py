"""The public shapes that services, events and clients share: a job, a dataset, a team as its members see them.

Owns the structs alone. Times are timezone-aware UTC; durations are seconds and say so in their names; sizes are bytes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from shared.contract.jobs import JobState

LedgerKind = Literal["grant", "reserve", "use", "refund"]


class LabelCount(msgspec.Struct, frozen=True, kw_only=True):
    """Boxes of one label in each pool."""

    name: str
    train: int
    eval: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a dataset that may spoil a training: `code` for programs, `message` for the people who labelled it.

    `labels` are those that it is about, `numbers` what was counted, by label or by name.
    """

    code: str
    message: str
    labels: list[str] = []
    numbers: dict[str, float] = {}


class DatasetView(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset; `prefix` is where its shards lie in the artifact store. Frames are pictures, negatives those without a box.

    `findings` are about what is in it; `warnings` are their sentences, and those about how its import went.
    """

    id: str
    team: str
    name: str
    created_at: datetime
    labels: list[LabelCount]
    train_frames: int
    eval_frames: int
    train_negatives: int
    eval_negatives: int
    bytes: int
    prefix: str
    warnings: list[str] = []
    findings: list[Finding] = []


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job is as it is: `code` for programs, `message` in plain words, `remedy` where one is known."""

    code: str
    message: str
    remedy: str | None = None


class CheckpointView(msgspec.Struct, frozen=True, kw_only=True):
    """The last durable checkpoint: `stepping_seconds` is what making its steps took, over all attempts."""

    step: int
    stepping_seconds: float
    saved_at: datetime
    prefix: str
    map: float | None = None
    best_step: int | None = None
    best_map: float | None = None


class PredictionsView(msgspec.Struct, frozen=True, kw_only=True):
    """Folders with what the model found in some evaluation pictures at one checkpoint, and with those pictures."""

    prefix: str
    pictures: str


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that can be downloaded; `name` is within the job's model folder."""

    format: str
    name: str
    bytes: int
    sha256: str


class ExportView(msgspec.Struct, frozen=True, kw_only=True):
    """The exported model and how its boxes compared with the Keras model's."""

    step: int
    prefix: str
    files: list[ExportedFile]
    checks: dict[str, dict[str, float]] = {}


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One assignment of the job to a trainer and how it ended."""

    number: int
    trainer: str
    assigned_at: datetime
    started_at: datetime | None = None
    resumed_from: int | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    reason: Reason | None = None


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a team's statement: whole seconds, positive gives, negative takes. A balance is the sum of its lines."""

    kind: LedgerKind
    seconds: int
    at: datetime
    job_id: str | None = None
    note: str = ""
    by: str = ""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A training job, whole, as the scheduler last wrote it. `version` rises with each write.

    `steps_completed` is that of the last durable checkpoint. `running_since` is set while steps are being made and
    `stepping_seconds_before` is what earlier attempts' durable steps took: training time = the second plus now minus the first.
    `reserved_seconds`, `used_seconds`, `refunded_seconds`: minutes, to the second; the last two are set at the end.
    `priority` is an operator's class, higher first. `when_room`: a job that must try again later queues by itself once it may.
    `requires` are labels that its trainer must have. `parent_id` is the model that it was trained on from, whose steps and
    those of its ancestors are `previous_steps`. `learning_rate_scale` is below 1 after a run that diverged. `log_lines` can be
    read at /api/jobs/{id}/log. `approved_by` is the mentor who let it pass the cap of its member.
    """

    id: str
    team: str
    version: int
    state: JobState
    description: str
    created_by: str
    created_at: datetime
    starting_model: str
    dataset_ids: list[str]
    dataset_names: list[str]
    labels: list[str]
    train_frames: int
    eval_frames: int
    batch_size: int
    steps_requested: int
    steps_completed: int
    max_seconds: int
    attempt: int
    queued_at: datetime | None = None
    running_since: datetime | None = None
    stepping_seconds_before: float = 0.0
    ended_at: datetime | None = None
    reason: Reason | None = None
    retry_after: datetime | None = None
    trainer: str | None = None
    checkpoint: CheckpointView | None = None
    export: ExportView | None = None
    attempts: list[AttemptView] = []
    notices: list[Reason] = []
    reserved_seconds: int = 0
    used_seconds: int | None = None
    refunded_seconds: int | None = None
    priority: int = 0
    when_room: bool = False
    requires: dict[str, str] = {}
    parent_id: str | None = None
    parent_description: str | None = None
    previous_steps: int = 0
    learning_rate_scale: float = 1.0
    log_lines: int = 0
    approved_by: str | None = None


class TeamView(msgspec.Struct, frozen=True, kw_only=True):
    """A team's minutes in whole seconds: balance = granted - used - reserved by jobs that have not ended."""

    team: str
    granted_seconds: int
    used_seconds: int
    reserved_seconds: int
    balance_seconds: int
    version: int = 0


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator tells all teams; after `until` it is over, None: not before it is removed."""

    id: str
    text: str
    kind: Literal["info", "warning"]
    at: datetime
    by: str
    until: datetime | None = None


class QueuePlace(msgspec.Struct, frozen=True, kw_only=True):
    """A waiting job's place (1 is next) and when it may start and end: of ten, six start between `start_from` and `start_to`,
    two before and two after (20th and 80th percentile), and so for the end. None where nothing can be said."""

    job_id: str
    position: int
    start_from: datetime | None = None
    start_to: datetime | None = None
    end_from: datetime | None = None
    end_to: datetime | None = None
