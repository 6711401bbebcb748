"""The shapes of HTTP answers that are not in the shared contract, as the command reads them.

Owns the structs alone. Unknown fields are ignored, so that a newer server can be talked to.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.contract.jobs import JobState
from shared.contract.stream import MetricPoint, Progress
from shared.contract.views import DatasetView, JobView, LedgerEntry, TeamView


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the token names."""

    team: str
    role: str
    name: str


class StartingModel(msgspec.Struct, frozen=True, kw_only=True):
    """What can be trained from. `input_size` is a side in pixels, `batch_size` pictures a step by accelerator."""

    key: str
    name: str
    summary: str
    input_size: int
    batch_size: dict[str, int]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The installation's bounds on a job."""

    min_steps: int
    max_steps: int
    default_steps: int
    checkpoint_every: int
    max_description: int
    max_minutes: int


class StartingModels(msgspec.Struct, frozen=True, kw_only=True):
    """All starting models, `default` by its key."""

    default: str
    starting_models: list[StartingModel]
    limits: Limits


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a training would be like; nothing is reserved by asking."""

    starting_model: str
    accelerator: str
    train_frames: int
    eval_frames: int
    labels: list[str]
    batch_size: int
    steps_per_epoch: int
    steps: int
    epochs: int
    recommended_steps: int
    estimated_seconds: float
    default_max_minutes: int
    minutes_left: float
    sentences: list[str]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How one dataset's labels differ from those of the others."""

    dataset_id: str
    name: str
    missing: list[str]
    extra: list[str]
    hints: list[str] = []


class Compatibility(msgspec.Struct, frozen=True, kw_only=True):
    """Whether datasets can be trained on together."""

    compatible: bool
    labels: list[str]
    differences: list[Difference]


class SkippedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that gave nothing."""

    file: str
    reason: str


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import read, skipped and found odd. `skipped` may be cut, `skipped_total` counts all. `ignored` counts files
    that are neither pictures nor labels."""

    read: dict[str, int]
    annotations: int = 0
    boxes: int = 0
    ignored: int = 0
    skipped: list[SkippedFile] = []
    skipped_total: int = 0
    warnings: list[str] = []


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A model that uses a dataset."""

    job_id: str
    description: str


class DatasetAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One dataset with how it was imported and who uses it."""

    dataset: DatasetView
    report: ImportReport | None = None
    used_by: list[Usage] = []


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One model; `metrics` ascend by step."""

    model: JobView
    progress: Progress | None = None
    metrics: list[MetricPoint] = []


class ModelEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a job's history."""

    at: datetime
    trigger: str
    state: JobState
    message: str = ""


class TeamAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A team's minutes and the statement that they sum up."""

    team: TeamView
    ledger: list[LedgerEntry] = []
