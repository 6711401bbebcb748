"""Operators (role admin) and the scheduler: teams, queue, trainers, capacity, audit. Owns the structs alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from shared.contract.api.errors import ErrorBody
from shared.contract.api.teams import Pause
from shared.contract.jobs import JobState
from shared.contract.starting_models import Accelerator
from shared.contract.views import QueuePlace, TeamView

TeamNames = Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]


class CreateTeamsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New teams, each with a season grant of `minutes` (None: the installation's)."""

    teams: TeamNames
    minutes: int | None = None


class GrantRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Minutes for each of the teams; negative takes back."""

    teams: TeamNames
    minutes: int
    kind: Literal["season", "extra"] = "extra"
    note: str = ""


class PauseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Close (or open) training for these teams, None for everybody. Jobs that are admitted already go on."""

    teams: TeamNames | None = None
    paused: bool = True
    until: datetime | None = None
    message: str = ""


class TeamOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one team of a batch: `error` where it failed. `token` is the first mentor's, of a team just created."""

    team: str
    error: ErrorBody | None = None
    balance_seconds: int | None = None
    token: str | None = None


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome a team, in the order in which they were named; one's failure doesn't keep the others from it."""

    results: list[TeamOutcome]
    failed: int


class TeamRow(msgspec.Struct, frozen=True, kw_only=True):
    """A team as operators see it; counts are of jobs."""

    minutes: TeamView
    members: int
    waiting: int
    running: int
    usage_seconds: float
    pause: Pause | None = None


class TeamsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All teams, by name; `pause` where training is closed for everybody."""

    teams: list[TeamRow]
    pause: Pause | None = None


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """A waiting job, `place` with its position and expected times."""

    place: QueuePlace
    team: str
    description: str
    created_by: str
    starting_model: str
    accelerator: Accelerator
    queued_at: datetime
    priority: int
    resumed: bool
    reserved_seconds: int
    requires: dict[str, str] = {}


class PriorityRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job's priority class: higher goes first, 0 is everybody's."""

    priority: Annotated[int, msgspec.Meta(ge=-100, le=100)]


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a team's job; the team sees the reason."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ReconcileRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job of STATE_UNSPECIFIED becomes: QUEUED again from its last checkpoint, or FAILED and settled."""

    state: Literal["QUEUED", "FAILED"]


class HeldJobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job on a trainer, or one that nobody knows to be."""

    job_id: str
    team: str
    description: str
    attempt: int
    state: JobState
    steps_completed: int
    steps_requested: int


class QueueAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The whole queue, next first; jobs that contradict themselves and wait to be reconciled; and those that queue by
    themselves once there is room, the first to ask first."""

    queue: list[QueueRow]
    unspecified: list[HeldJobRow] = []
    for_room: list[HeldJobRow] = []


class TrainerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trainer as it was last heard. `memory_bytes` is what one slot has; `utilization` is 0 to 1."""

    id: str
    status: Literal["live", "draining", "silent", "gone"]
    accelerator: Accelerator
    device: str
    memory_bytes: int
    slots: int
    seen_at: datetime
    jobs: list[HeldJobRow]
    labels: dict[str, str] = {}
    started_at: datetime | None = None
    utilization: float | None = None
    memory_used_bytes: int | None = None


class TrainersAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All trainers heard of within a day, by id."""

    trainers: list[TrainerRow]


class TrainerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A trainer as a command has left it."""

    trainer: TrainerRow


class CapacityPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The room at one time: live trainers, their slots, how many of those were busy, jobs that waited."""

    at: datetime
    trainers: int
    slots: int
    busy: int
    waiting: int


class CapacityAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A point a minute, oldest first."""

    points: list[CapacityPoint]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's or mentor's act, written before it is done. `outcome` is `done`, `begun`, or the code of a refusal."""

    id: str
    at: datetime
    by: str
    act: str
    target: str
    details: dict[str, Any] = {}
    outcome: str = "begun"


class AuditAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    entries: list[AuditEntry]
