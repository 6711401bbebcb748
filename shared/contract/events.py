"""Every fact and every command that goes over the bus.

Facts are past tense, commands imperative; the tag is the name on the wire and carries the version. A new optional
field keeps the version; anything else is a new struct and an entry in `UPCASTS` that makes it from the old. Golden
samples of every version lie under tests/unit/contract/samples and are never edited. Who speaks for whom (team, job,
attempt) is in the envelope (wire.py).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Literal

import msgspec

from shared.contract.api.teams import TeamRole
from shared.contract.starting_models import Accelerator
from shared.contract.views import (
    Announcement,
    DatasetView,
    ExportedFile,
    JobView,
    PredictionsView,
    QueuePlace,
    Reason,
    TeamView,
)

# --- dataset -----------------------------------------------------------------------------------------------------------


class DatasetCreated(msgspec.Struct, frozen=True, kw_only=True, tag="dataset.created.v1"):
    """A dataset can be trained on from now on."""

    dataset: DatasetView


class DatasetDeleted(msgspec.Struct, frozen=True, kw_only=True, tag="dataset.deleted.v1"):
    """A dataset is gone."""

    dataset_id: str


# --- scheduler ---------------------------------------------------------------------------------------------------------


class JobChanged(msgspec.Struct, frozen=True, kw_only=True, tag="job.changed.v1"):
    """The whole public job after a write; `trigger` is what caused it (`submit`, a Trigger, `checkpointed`, `exported`, …)."""

    job: JobView
    trigger: str


class JobDeleted(msgspec.Struct, frozen=True, kw_only=True, tag="job.deleted.v1"):
    """A job and its model are gone from the team's list; `version` is the job's last."""

    job_id: str
    version: int


class QueueMoved(msgspec.Struct, frozen=True, kw_only=True, tag="queue.moved.v1"):
    """The places of one team's waiting jobs, all of them: a job that isn't listed no longer waits."""

    places: list[QueuePlace]


class RoomMoved(msgspec.Struct, frozen=True, kw_only=True, tag="room.moved.v1"):
    """What runs and waits in the whole room isn't what it was: whoever shows it asks for it again. It concerns all teams and
    names none; the time that counts is the envelope's. At most one a second."""


class AnnouncementsChanged(msgspec.Struct, frozen=True, kw_only=True, tag="announcements.changed.v1"):
    """All that operators tell all teams after a write, newest first; some may be over by the clock. `version` rises with each
    write: the highest counts. Told again as lists of members are."""

    announcements: list[Announcement]
    version: int


class TeamChanged(msgspec.Struct, frozen=True, kw_only=True, tag="team.changed.v1"):
    """The team's minutes after a write."""

    team: TeamView


class ListedMember(msgspec.Struct, frozen=True, kw_only=True):
    """A person on a team's list, with the highest role that any of that person's tokens has."""

    name: str
    role: TeamRole


class MembersChanged(msgspec.Struct, frozen=True, kw_only=True, tag="members.changed.v1"):
    """A team's whole list of members after a write, and the names that were taken off it. `version` rises with each write: the
    highest counts. Told again when somebody asks for it, and by each scheduler that begins to plan."""

    members: list[ListedMember]
    former: list[str]
    version: int


class TokensChanged(msgspec.Struct, frozen=True, kw_only=True, tag="tokens.changed.v1"):
    """The ids of all tokens that people of a team made and that are good, after a write: one that isn't listed was revoked. A
    token names the `version` of the list that it came with, so that an older list says nothing of it. `version` rises with
    each write: the highest counts. Told again like a list of members."""

    tokens: list[str]
    version: int


class TokenUsed(msgspec.Struct, frozen=True, kw_only=True, tag="token.used.v1"):
    """A service was asked for something with this token on that day (UTC); told once a day or so by each process."""

    token: str
    day: date


class MembersAsked(msgspec.Struct, frozen=True, kw_only=True, tag="members.asked.v1"):
    """A service has started, and would hear all teams' lists of members and of tokens, and the announcements: it may have
    missed some, or have an empty store."""


class DatasetSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a trainer finds a dataset in the artifact store."""

    id: str
    name: str
    prefix: str
    train_frames: int
    eval_frames: int


class JobAssign(msgspec.Struct, frozen=True, kw_only=True, tag="job.assign.v1"):
    """Command to one trainer: make this attempt. `known_step` is the last checkpoint that the scheduler has heard of.

    `lease_seconds` is how long the trainer may go without a confirmed heartbeat before it must give the job up.
    """

    starting_model: str
    datasets: list[DatasetSource]
    labels: list[str]
    batch_size: int
    steps: int
    checkpoint_every: int
    max_stepping_seconds: float
    seed: int
    lease_seconds: float
    known_step: int = 0
    init_prefix: str | None = None
    learning_rate_scale: float = 1.0


class JobStopV1(msgspec.Struct, frozen=True, kw_only=True, tag="job.stop.v1"):
    """What JobStop was before a job could be asked to pause."""

    reason: Literal["user", "release"]


class JobStop(msgspec.Struct, frozen=True, kw_only=True, tag="job.stop.v2"):
    """Command to one trainer: end this attempt. `user`: save a checkpoint, export, end. `drain`: save a checkpoint and hand the
    job back, it goes on later. `release`: the attempt is no longer yours: kill, report nothing."""

    reason: Literal["user", "drain", "release"]


class TrainerDrain(msgspec.Struct, frozen=True, kw_only=True, tag="trainer.drain.v1"):
    """Command to one trainer: take no more jobs, hand back those you hold with a final checkpoint, and end."""


class SchedulerWrote(msgspec.Struct, frozen=True, kw_only=True, tag="scheduler.wrote.v1"):
    """A scheduler that doesn't plan has written a job: the one that plans looks at it. Transient; a lost one costs seconds."""

    job_id: str


class SchedulerPinged(msgspec.Struct, frozen=True, kw_only=True, tag="scheduler.pinged.v1"):
    """The scheduler that plans tells itself that it still hears what is said: only then is a silent trainer to blame.
    Transient."""

    scheduler: str


# --- trainer -----------------------------------------------------------------------------------------------------------


class HeldJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a trainer holds, with the attempt that it was given."""

    job_id: str
    attempt: int


class TrainerHeartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="trainer.heartbeat.v1"):
    """A trainer is alive. `memory_bytes` is what each of its slots has of its accelerator's (or machine's) memory; a draining
    trainer takes no job. `labels` are what operators call it by (`pool: lab`); `utilization` is the busy share of its
    accelerator, 0 to 1, and `memory_used_bytes` of all its memory, None where that can't be measured."""

    trainer: str
    slots: int
    accelerator: Accelerator
    device: str
    memory_bytes: int
    held: list[HeldJob]
    draining: bool = False
    started_at: datetime | None = None
    labels: dict[str, str] = {}
    utilization: float | None = None
    memory_used_bytes: int | None = None


class TrainerPinged(msgspec.Struct, frozen=True, kw_only=True, tag="trainer.pinged.v1"):
    """A trainer speaks to itself through its own queue: where this comes back, commands come through."""

    trainer: str


class TrainerGone(msgspec.Struct, frozen=True, kw_only=True, tag="trainer.gone.v1"):
    """A trainer ended in good order and holds nothing."""

    trainer: str


class TrainingAccepted(msgspec.Struct, frozen=True, kw_only=True, tag="training.accepted.v1"):
    """The trainer holds the job from now on: its heartbeats are the lease."""

    trainer: str


class TrainingStarted(msgspec.Struct, frozen=True, kw_only=True, tag="training.started.v1"):
    """The first step of this attempt is made. `resumed_from` is 0 where it began afresh, else the step of the checkpoint
    under `resumed_prefix`."""

    trainer: str
    step: int
    resumed_from: int
    resumed_seconds: float
    at: datetime
    resumed_prefix: str | None = None


class TrainingNoticed(msgspec.Struct, frozen=True, kw_only=True, tag="training.noticed.v1"):
    """Something that the user should know about this job."""

    notice: Reason


class TrainingProgressed(msgspec.Struct, frozen=True, kw_only=True, tag="training.progressed.v1"):
    """Transient, at most one a second: lost ones are never missed."""

    step: int
    stepping_seconds: float
    steps_per_second: float
    learning_rate: float
    losses: dict[str, float]


class TrainingCheckpointed(msgspec.Struct, frozen=True, kw_only=True, tag="training.checkpointed.v1"):
    """A checkpoint's manifest is in the artifact store under `prefix`. Metrics carry ftc-ml's names. `predictions` is set where
    they are in the store too."""

    step: int
    stepping_seconds: float
    prefix: str
    saved_at: datetime
    training: dict[str, float]
    evaluation: dict[str, float]
    best: bool = False
    predictions: PredictionsView | None = None


class TrainingStopping(msgspec.Struct, frozen=True, kw_only=True, tag="training.stopping.v1"):
    """No further step will be made; the final checkpoint follows."""

    step: int
    reason: Literal["user", "time_limit", "drained"]


class TrainingEnded(msgspec.Struct, frozen=True, kw_only=True, tag="training.ended.v1"):
    """The attempt is over. `checkpoint_step` is that of the last durable checkpoint, 0 for none, and `stepping_seconds` is what
    it cost; `checkpoint_prefix` is where it is, empty for none. It is None where the attempt ended before it had looked: then
    the step is what it was told."""

    outcome: Literal["succeeded", "stopped", "drained", "failed"]
    step: int
    checkpoint_step: int
    stepping_seconds: float
    reason: Reason | None = None
    log_tail: list[str] = []
    checkpoint_prefix: str | None = None


class ModelExported(msgspec.Struct, frozen=True, kw_only=True, tag="model.exported.v1"):
    """The TFLite files are in the artifact store under `prefix`, verified."""

    step: int
    prefix: str
    files: list[ExportedFile]
    checks: dict[str, dict[str, float]] = {}


Fact = (
    DatasetCreated
    | DatasetDeleted
    | JobChanged
    | JobDeleted
    | QueueMoved
    | RoomMoved
    | AnnouncementsChanged
    | TeamChanged
    | MembersChanged
    | MembersAsked
    | TokensChanged
    | TokenUsed
    | SchedulerWrote
    | SchedulerPinged
    | TrainerHeartbeat
    | TrainerGone
    | TrainingAccepted
    | TrainingStarted
    | TrainingNoticed
    | TrainingProgressed
    | TrainingCheckpointed
    | TrainingStopping
    | TrainingEnded
    | ModelExported
)
Command = JobAssign | JobStop | TrainerDrain | TrainerPinged
Message = Fact | Command
# What is no longer sent, but may still lie in a queue.
Older = JobStopV1

# Lost without harm: published without persistence and never kept in an outbox.
TRANSIENT: tuple[type[Message], ...] = (
    TrainingProgressed,
    TrainerHeartbeat,
    TrainerPinged,
    SchedulerWrote,
    SchedulerPinged,
)

# Old struct -> how to make the next version of it.
UPCASTS: dict[type[Any], Callable[[Any], Message]] = {JobStopV1: lambda old: JobStop(reason=old.reason)}


def wire_name(kind: type[Message] | Message) -> str:
    """`training.checkpointed.v1`: the tag, which is the AMQP type property too."""
    tag = (kind if isinstance(kind, type) else type(kind)).__struct_config__.tag
    return str(tag)


def routing_key(kind: type[Message] | Message) -> str:
    """The wire name without its version: consumers bind to meanings, and read every version."""
    return wire_name(kind).rpartition(".v")[0]


def upcast(message: Any) -> Message:
    """The newest version of what `message` says."""
    while (convert := UPCASTS.get(type(message))) is not None:
        message = convert(message)
    return message  # type: ignore[no-any-return]
