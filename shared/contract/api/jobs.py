"""What the scheduler is asked and answers about jobs: sessions, models, plans, jobs, logs. Owns the structs alone."""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.contract.starting_models import DEFAULT_STARTING_MODEL, Accelerator
from shared.contract.views import JobView, QueuePlace, Reason


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be kept as a cookie."""

    token: str


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the token names; `expires` is when it does, None for one that never does."""

    team: str
    role: str
    name: str
    expires: datetime | None


class StartingModelView(msgspec.Struct, frozen=True, kw_only=True):
    """What can be trained from. `input_size` is a side in pixels, `batch_size` pictures a step by accelerator."""

    key: str
    name: str
    summary: str
    input_size: int
    batch_size: dict[Accelerator, int]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The installation's bounds on a job; `max_description` is in characters."""

    min_steps: int
    max_steps: int
    default_steps: int
    checkpoint_every: int
    max_description: int
    max_minutes: int


class StartingModels(msgspec.Struct, frozen=True, kw_only=True):
    """All starting models, `default` by its key."""

    default: str
    starting_models: list[StartingModelView]
    limits: Limits


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a team wants to know before it asks. With a `parent_id`, of training that model more: its own datasets and starting
    model are meant, `dataset_ids` come on top."""

    dataset_ids: list[str] = []
    starting_model: str = DEFAULT_STARTING_MODEL
    steps: int | None = None
    max_minutes: int | None = None
    requires: dict[str, str] = {}
    parent_id: str | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a run before it exists, and the same in sentences; nothing is reserved by asking.

    `place` is where it would stand if it were submitted now; `refusal` why it would have to try again later instead."""

    starting_model: str
    accelerator: Accelerator
    train_frames: int
    eval_frames: int
    labels: list[str]
    batch_size: int
    steps_per_epoch: int
    steps: int
    epochs: int
    recommended_steps: int
    estimated_seconds: float
    seconds_per_step: float
    default_max_minutes: int
    minutes_left: float
    sentences: list[str]
    place: QueuePlace | None = None
    refusal: Reason | None = None
    retry_after_seconds: int | None = None


class PlanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A plan."""

    plan: Plan


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a team asks for. `steps` defaults to the recommended number, `max_minutes` to the estimate plus a quarter.

    `when_room`: should it have to try again later, it does so by itself. `requires`: labels that its trainer must have."""

    dataset_ids: list[str]
    description: str
    starting_model: str = DEFAULT_STARTING_MODEL
    steps: int | None = None
    max_minutes: int | None = None
    when_room: bool = False
    requires: dict[str, str] = {}


class MoreRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Train a finished model more, on its own datasets and on `dataset_ids`; `steps` are the new ones alone."""

    description: str
    dataset_ids: list[str] = []
    steps: int | None = None
    max_minutes: int | None = None
    when_room: bool = False
    requires: dict[str, str] = {}


class RetryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Try a job again that had to be tried later; `when_room` makes it (or keeps it from) trying by itself after that."""

    when_room: bool = False


class JobAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A job as a command has left it."""

    job: JobView


class JobLog(msgspec.Struct, frozen=True, kw_only=True):
    """The last lines, 200 at most, of the attempt that ended last, and why it ended."""

    lines: list[str]
    attempt: int
    reason: Reason | None
