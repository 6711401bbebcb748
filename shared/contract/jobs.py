"""The states of a training job and the one table that says how they follow each other.

Owns `TRANSITIONS`. The scheduler's database guard (`sources_of`), the diagram in ARCHITECTURE.md and the web client's list of
states are made from it or tested against it. Pure: no clock, no I/O, no job document.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from shared.contract.errors import IllegalTransition, Stale


class JobState(StrEnum):
    """Names are ftc-ml's Job States."""

    QUEUED = "QUEUED"
    PREPARING = "PREPARING"
    RUNNING = "RUNNING"
    STOP_REQUESTED = "STOP_REQUESTED"
    STOPPING = "STOPPING"
    SUCCEEDED = "SUCCEEDED"
    STOPPED = "STOPPED"
    CANCELED = "CANCELED"
    FAILED = "FAILED"
    TRY_AGAIN_LATER = "TRY_AGAIN_LATER"
    STATE_UNSPECIFIED = "STATE_UNSPECIFIED"


class Trigger(StrEnum):
    """What moves a job from one state to the next."""

    ASSIGN = "assign"
    STARTED = "started"
    STOP = "stop"
    STOPPING = "stopping"
    TIME_UP = "time_up"
    STOPPED = "stopped"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    DRAINED = "drained"
    REQUEUED = "requeued"
    ENFORCED = "enforced"
    ADMIT = "admit"
    INCONSISTENT = "inconsistent"
    RECONCILED = "reconciled"


class Guard(StrEnum):
    """What must hold of the job, besides its state, for a row of the table to apply."""

    ALWAYS = "always"
    HAS_CHECKPOINT = "has checkpoint"
    NO_CHECKPOINT = "no checkpoint"
    ATTEMPTS_LEFT = "attempts left"
    ATTEMPTS_USED_UP = "attempts used up"


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """The two facts about a job that guards look at."""

    has_checkpoint: bool
    attempts_left: bool


class Transition(msgspec.Struct, frozen=True):
    """One row: in `source`, `trigger` leads to `target` where `guard` holds."""

    source: JobState
    trigger: Trigger
    target: JobState
    guard: Guard = Guard.ALWAYS


# The job is over. TRY_AGAIN_LATER alone may be left again: the same job is admitted by a retry, or when there is room.
TERMINAL = frozenset(
    {JobState.SUCCEEDED, JobState.STOPPED, JobState.CANCELED, JobState.FAILED, JobState.TRY_AGAIN_LATER}
)
# A trainer holds the job, or is about to.
ASSIGNED = frozenset({JobState.PREPARING, JobState.RUNNING, JobState.STOP_REQUESTED, JobState.STOPPING})
# The user asks for these; anything else is a fact that may come late or twice.
USER_TRIGGERS = frozenset({Trigger.STOP})

MEANINGS: Mapping[JobState, str] = MappingProxyType(
    {
        JobState.QUEUED: "Waiting for resources.",
        JobState.PREPARING: "Assigned to a trainer: fetching data and building the model.",
        JobState.RUNNING: "Training steps are being made.",
        JobState.STOP_REQUESTED: "Stop was pressed; the trainer has not answered yet.",
        JobState.STOPPING: "The trainer is saving a final checkpoint.",
        JobState.SUCCEEDED: "All requested steps are done. Check the metrics.",
        JobState.STOPPED: "Ended early with a checkpoint: it can be trained more, and downloaded where a model was exported.",
        JobState.CANCELED: "Ended before any checkpoint was made.",
        JobState.FAILED: "Failed; the reason is shown. The last checkpoint, if any, is kept.",
        JobState.TRY_AGAIN_LATER: "Not queued because of a resource limit; nothing was reserved.",
        JobState.STATE_UNSPECIFIED: "The system found an inconsistency. Contact support.",
    }
)


def _table() -> tuple[Transition, ...]:
    s, t, g = JobState, Trigger, Guard
    rows = [
        Transition(s.QUEUED, t.ASSIGN, s.PREPARING),
        Transition(s.QUEUED, t.STOP, s.STOPPED, g.HAS_CHECKPOINT),
        Transition(s.QUEUED, t.STOP, s.CANCELED, g.NO_CHECKPOINT),
        Transition(s.PREPARING, t.STARTED, s.RUNNING),
        Transition(s.RUNNING, t.TIME_UP, s.STOPPING),
        Transition(s.RUNNING, t.SUCCEEDED, s.SUCCEEDED),
        Transition(s.STOP_REQUESTED, t.STOPPING, s.STOPPING),
        # A stop that the trainer leaves unanswered for a lease: its child is killed, the last checkpoint kept.
        Transition(s.STOP_REQUESTED, t.ENFORCED, s.STOPPED, g.HAS_CHECKPOINT),
        Transition(s.STOP_REQUESTED, t.ENFORCED, s.CANCELED, g.NO_CHECKPOINT),
        Transition(s.TRY_AGAIN_LATER, t.ADMIT, s.QUEUED),
    ]
    for state in (s.PREPARING, s.RUNNING):
        rows.append(Transition(state, t.STOP, s.STOP_REQUESTED))
        # A failure with a known remedy (half the batch, a lower rate, another trainer): once each.
        rows.append(Transition(state, t.REQUEUED, s.QUEUED))
        # A drain is no fault of the job's: it never uses an attempt up.
        rows.append(Transition(state, t.DRAINED, s.QUEUED))
        rows.append(Transition(state, t.LOST, s.QUEUED, g.ATTEMPTS_LEFT))
        rows.append(Transition(state, t.LOST, s.FAILED, g.ATTEMPTS_USED_UP))
    for state in (s.STOP_REQUESTED, s.STOPPING):
        # A drain that meets a stop is a stop: the checkpoint is saved, and the user wanted the end.
        for trigger in (t.STOPPED, t.LOST, t.DRAINED):
            rows.append(Transition(state, trigger, s.STOPPED, g.HAS_CHECKPOINT))
            rows.append(Transition(state, trigger, s.CANCELED, g.NO_CHECKPOINT))
        rows.append(Transition(state, t.SUCCEEDED, s.SUCCEEDED))
    rows.extend(
        Transition(state, t.FAILED, s.FAILED) for state in (s.PREPARING, s.RUNNING, s.STOP_REQUESTED, s.STOPPING)
    )
    rows.extend(
        Transition(state, t.INCONSISTENT, s.STATE_UNSPECIFIED)
        for state in s
        if state not in TERMINAL and state is not s.STATE_UNSPECIFIED
    )
    return tuple(rows)


# RECONCILED isn't in the table: it leads from STATE_UNSPECIFIED to whatever the reconciler found, see `reconcile`.
TRANSITIONS: tuple[Transition, ...] = _table()


def step(state: JobState, trigger: Trigger, situation: Situation) -> JobState:
    """The state that follows.

    Raises IllegalTransition for a user's command that the state doesn't allow, and Stale for a fact that it doesn't: a
    fact that no longer fits is late or repeated, never a reason to stop the consumer.
    """
    for row in TRANSITIONS:
        if row.source is state and row.trigger is trigger and _holds(row.guard, situation):
            return row.target
    if trigger in USER_TRIGGERS:
        raise IllegalTransition(state.value, trigger.value)
    raise Stale(f"{trigger} does not apply to a job that is {state}")


def reconcile(state: JobState, target: JobState) -> JobState:
    """The one way out of STATE_UNSPECIFIED; raises IllegalTransition from any other state."""
    if state is not JobState.STATE_UNSPECIFIED:
        raise IllegalTransition(state.value, Trigger.RECONCILED.value)
    return target


def sources_of(trigger: Trigger) -> frozenset[JobState]:
    """Every state in which `trigger` may apply: the filter of the database update that carries it out."""
    if trigger is Trigger.RECONCILED:
        return frozenset({JobState.STATE_UNSPECIFIED})
    return frozenset(row.source for row in TRANSITIONS if row.trigger is trigger)


def _holds(guard: Guard, situation: Situation) -> bool:
    match guard:
        case Guard.ALWAYS:
            return True
        case Guard.HAS_CHECKPOINT:
            return situation.has_checkpoint
        case Guard.NO_CHECKPOINT:
            return not situation.has_checkpoint
        case Guard.ATTEMPTS_LEFT:
            return situation.attempts_left
        case Guard.ATTEMPTS_USED_UP:
            return not situation.attempts_left
