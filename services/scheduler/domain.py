"""A job as the scheduler keeps it, what a decision about it is, and the rules that all decisions share.

Owns `Job`, `Change`, fencing and the settling of minutes. What trainers say of a job is decided in facts.py, what people and
the scheduler itself do with it in orders.py. No clock, no ids, no I/O: `now` comes in, a `Change` goes out, and the store
applies it only if the job is still the one that was decided on.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from services.scheduler import budget
from shared.contract.errors import Stale
from shared.contract.events import DatasetSource, JobAssign, JobStop
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState, Situation, Trigger, step
from shared.contract.starting_models import Accelerator
from shared.contract.views import AttemptView, JobView, LedgerEntry, Reason

MAP = "DetectionBoxes_Precision/mAP"
_AVOIDED = 5
# In these a trainer may be asked to save and to hand the job back.
PAUSABLE = frozenset({JobState.PREPARING, JobState.RUNNING})
# An attempt's outcome that the trainer itself has told.
_TOLD = frozenset({"succeeded", "stopped", "drained", "failed"})


class RunKind(NamedTuple):
    """What a run is made on, and how many pictures a step it takes there."""

    accelerator: Accelerator
    batch_size: int


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A job that trains on from another, and since when it holds it."""

    id: str
    at: datetime


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the scheduler keeps it: what everybody may see (`view`) and what only the scheduler needs.

    `front` puts it before the jobs that have not run yet; `lost_attempts` counts trainers that vanished with it; `remedies` are
    the failures that it was started again after, once each; `avoid` are trainers that it failed on. `children` are the jobs
    that train on from it: while there are any it can't be deleted. `term` is that of the scheduler which
    planned it last or took it over.
    """

    view: JobView
    datasets: list[DatasetSource]
    accelerator: Accelerator
    seed: int
    checkpoint_every: int
    lease_seconds: float
    max_attempts: int
    fingerprint: str
    front: bool = False
    lost_attempts: int = 0
    remedies: list[str] = []
    avoid: list[str] = []
    assigned_at: datetime | None = None
    stop_requested_at: datetime | None = None
    stop_reason: Reason | None = None
    pause_requested_at: datetime | None = None
    # The trainer has said that it makes no further step in this attempt: what was asked of it is answered.
    answered: bool = False
    ledger: list[LedgerEntry] = []
    log_tail: list[str] = []
    log_attempt: int = 0
    init_prefix: str | None = None
    children: list[Child] = []
    term: int = 0
    deleted_at: datetime | None = None
    # What the job held outside this document (claims on datasets and a parent, artifacts) is to be let go by the cleaner.
    to_release: bool = False
    releasing: bool = False
    # Since when it is being tried again, with what it holds: long ago means that whoever tried has died.
    kept_at: datetime | None = None
    # Whether its maximum time was chosen; else it is the default, which follows from the kind of trainer. It counts as chosen
    # where that was not kept yet.
    own_limit: bool = True
    # Whether its member's cap counts for it: a mentor's own job passes.
    capped: bool = True


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A decision: the job afterwards, why, the transition that guards the write (None: no change of state), a command to the
    job's trainer, and the term of the scheduler that planned it (None: not a planner's decision). A `silent` one changes
    nothing that anybody else sees."""

    job: Job
    cause: str
    trigger: Trigger | None = None
    command: JobAssign | JobStop | None = None
    trainer: str | None = None
    term: int | None = None
    silent: bool = False


def holds(job: Job, attempt: int, trainer: str) -> bool:
    """Whether that trainer's attempt is the one in force."""
    return job.view.state in ASSIGNED and job.view.attempt == attempt and job.view.trainer == trainer


def ended_by_its_trainer(job: Job, attempt: int) -> bool:
    """Whether the trainer itself told the end of this attempt: a heartbeat from just before needs no answer. One that was
    given up as lost was not, and its trainer must be told to let go."""
    last = job.view.attempts[-1] if job.view.attempts else None
    return last is not None and last.number == attempt and last.outcome in _TOLD


def fence(job: Job, attempt: int) -> None:
    """Raises Stale unless `attempt` is in force and a trainer holds the job."""
    if attempt != job.view.attempt:
        raise Stale(f"attempt {attempt} is over: {job.view.attempt} is in force")
    if job.view.state not in ASSIGNED:
        raise Stale(f"no trainer holds a job that is {job.view.state}")


def through(job: Job, path: tuple[Trigger, ...], *, attempts_left: bool = True) -> JobView:
    """The view after each trigger of `path`."""
    situation = Situation(has_checkpoint=job.view.checkpoint is not None, attempts_left=attempts_left)
    state = job.view.state
    for trigger in path:
        state = step(state, trigger, situation)
    return replace(job.view, state=state)


def rest(job: Job, now: datetime) -> Job:
    """What follows from where the job came to rest: back at the front of the queue, or settled.

    What is given back is whatever the job's own lines hold, so that they sum to what was used whatever came before.
    """
    view = job.view
    if view.state is JobState.QUEUED:
        view = replace(view, queued_at=now, trainer=None, running_since=None)
        return replace(
            job,
            front=True,
            assigned_at=None,
            stop_requested_at=None,
            pause_requested_at=None,
            answered=False,
            view=view,
        )
    if view.state not in TERMINAL or view.used_seconds is not None:
        return job
    stepping = 0.0 if view.checkpoint is None else view.checkpoint.stepping_seconds
    held = -budget.balance(job.ledger)
    used = budget.used_seconds(stepping, held)
    view = replace(
        with_reason(view),
        ended_at=now,
        trainer=None,
        running_since=None,
        used_seconds=used,
        refunded_seconds=held - used,
        when_room=False,
    )
    lines = budget.settlement(view.id, held, used, now)
    return replace(
        job, view=view, assigned_at=None, stop_requested_at=None, pause_requested_at=None, ledger=[*job.ledger, *lines]
    )


def avoiding(job: Job, trainer: str | None) -> list[str]:
    """The trainers that the job is kept from while there are others, with one more: the last few."""
    return job.avoid if trainer is None else [*(one for one in job.avoid if one != trainer), trainer][-_AVOIDED:]


def mark(attempts: list[AttemptView], **fields: object) -> list[AttemptView]:
    """The attempts with fields set on the last one."""
    return [*attempts[:-1], replace(attempts[-1], **fields)] if attempts else attempts


def noted(view: JobView, notice: Reason) -> JobView:
    """The view with a notice: the newest of its code."""
    return replace(view, notices=[*(old for old in view.notices if old.code != notice.code), notice])


def with_reason(view: JobView) -> JobView:
    """A canceled job always says why nothing came of it."""
    if view.state is not JobState.CANCELED or view.reason is not None:
        return view
    message = "Ended before a first checkpoint was saved. Nothing was charged."
    return replace(view, reason=Reason(code="no_checkpoint", message=message))
