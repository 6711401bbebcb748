"""Who gets which slot, and who must give it back: `plan(snapshot, now) -> actions`, pure and total.

Owns liveness, the lab's hours and the choice of slots; the order is order.py's. Free capacity is derived from the
trainers that are alive and the jobs that they hold; it is kept nowhere. The same snapshot and time give the same
actions, whoever asks and however often.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import inf

import msgspec

from services.scheduler.order import in_order, ranked
from services.scheduler.snapshot import (
    ActiveJob,
    Hours,
    Lease,
    Needs,
    Snapshot,
    Standing,
    Trainer,
    WaitingJob,
    can_hold,
    free_slots,
    is_live,
    takers,
    takes_jobs,
)

__all__ = [
    "Action",
    "ActiveJob",
    "Assign",
    "Enforce",
    "Hours",
    "Lease",
    "Lose",
    "Needs",
    "Pause",
    "Snapshot",
    "Standing",
    "Trainer",
    "WaitingJob",
    "can_hold",
    "free_slots",
    "in_order",
    "is_live",
    "plan",
    "takes_jobs",
]

# A trainer that said goodbye holds nothing; the ends of its jobs were told before and may still be under way.
_GOODBYE = timedelta(seconds=3)


class Assign(msgspec.Struct, frozen=True):
    """Give the job to the trainer."""

    job_id: str
    trainer: str


class Lose(msgspec.Struct, frozen=True):
    """The attempt's lease is over."""

    job_id: str
    attempt: int


class Enforce(msgspec.Struct, frozen=True):
    """The attempt's trainer lives, but has not answered a stop or a pause for a lease."""

    job_id: str
    attempt: int


class Pause(msgspec.Struct, frozen=True):
    """The lab closes: the attempt is to save a checkpoint and to wait in the queue."""

    job_id: str
    attempt: int


Action = Assign | Lose | Enforce | Pause


def plan(snapshot: Snapshot, now: datetime) -> list[Action]:
    """Losses, what must be enforced, pauses, then assignments in the queue's order.

    A job that no free slot can hold doesn't keep others from starting: it could have used none of the slots that they
    take. Past one that would reach no checkpoint before the lab closes, only what ends before then starts: the rest of it would
    go before that one tomorrow.
    """
    actions: list[Action] = []
    trainers = {trainer.id: trainer for trainer in snapshot.trainers}
    present = [job for job in snapshot.active if not _lease_over(job, trainers.get(job.trainer), snapshot, now)]
    if len(present) < len(snapshot.active):
        kept = {job.id for job in present}
        actions += [Lose(job.id, job.attempt) for job in snapshot.active if job.id not in kept]
    actions += [
        Enforce(job.id, job.attempt)
        for job in present
        # An answer that was given while we couldn't hear is still on its way.
        if job.asked_at is not None and now - max(job.asked_at, snapshot.listening_since) > snapshot.lease
    ]
    seconds_left = _seconds_left(snapshot, now)
    if seconds_left <= 0:
        actions += [Pause(job.id, job.attempt) for job in present if job.pausable]
        return actions
    return actions + _assign(snapshot, now, seconds_left)


def _assign(snapshot: Snapshot, now: datetime, seconds_left: float) -> list[Action]:
    slots = _Slots(snapshot, now)
    if not slots.any():
        return []
    needed = {job.needs for job in snapshot.waiting}
    hopeful = {needs for needs in needed if slots.any_for(needs)}
    if not hopeful:
        return []
    jobs = [job for job in snapshot.waiting if job.needs in hopeful]
    actions: list[Action] = []
    held_back = False
    for job in ranked(jobs, snapshot, now, slots.fits):
        if job.first_checkpoint_seconds > seconds_left:
            held_back = True
            continue
        if held_back and job.expected_seconds > seconds_left:
            continue
        actions.append(Assign(job.id, slots.take(job)))
        if not any(slots.any_for(needs) for needs in hopeful):
            break
    return actions


class _Slots:
    """Free slots as this round hands them out."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self._free = {name: count for name, count in free_slots(snapshot, now).items() if count > 0}
        self._takers = takers(snapshot, now)
        # Trainers with a free slot that can hold these needs: the least capable last, where it is cheap to take out.
        self._able: dict[Needs, list[str]] = {}
        self._elsewhere: dict[tuple[Needs, tuple[str, ...]], bool] = {}

    def any(self) -> bool:
        """Whether a slot is free."""
        return bool(self._free)

    def any_for(self, needs: Needs) -> bool:
        """Whether a slot is free that can hold these needs."""
        able = self._able.get(needs)
        if able is None:
            able = self._able[needs] = [
                trainer.id
                for trainer in reversed(self._takers)
                if trainer.id in self._free and can_hold(trainer, needs)
            ]
        while able and able[-1] not in self._free:
            able.pop()
        return bool(able)

    def fits(self, job: WaitingJob) -> bool:
        """Whether a slot is free for the job."""
        return self.any_for(job.needs) and (not job.avoid or self._find(job) is not None)

    def take(self, job: WaitingJob) -> str:
        """The trainer whose slot the job gets, one that fits."""
        name = self._find(job)
        assert name is not None, "asked only for a job that fits"
        self._free[name] -= 1
        if self._free[name] == 0:
            del self._free[name]
        return name

    def _find(self, job: WaitingJob) -> str | None:
        able = self._able[job.needs]
        if not job.avoid or not self._could_go_elsewhere(job):
            return able[-1]
        return next((name for name in reversed(able) if name in self._free and name not in job.avoid), None)

    def _could_go_elsewhere(self, job: WaitingJob) -> bool:
        """Whether a trainer that it did not fail on could ever hold the job."""
        key = job.needs, job.avoid
        if key not in self._elsewhere:
            self._elsewhere[key] = any(
                trainer.id not in job.avoid and can_hold(trainer, job.needs) for trainer in self._takers
            )
        return self._elsewhere[key]


def _seconds_left(snapshot: Snapshot, now: datetime) -> float:
    """How long a job may make steps before it has to pause, at most 0 where the lab is closed or about to close."""
    hours = snapshot.hours
    if hours is None:
        return inf
    if not hours.open:
        return 0.0
    return inf if hours.until is None else (hours.until - snapshot.pause_lead - now).total_seconds()


def _lease_over(job: ActiveJob, trainer: Trainer | None, snapshot: Snapshot, now: datetime) -> bool:
    heard = max(job.assigned_at, snapshot.listening_since)
    if trainer is not None:
        if trainer.gone:
            return now - max(heard, trainer.seen_at) > _GOODBYE
        for lease in trainer.leases:
            if lease.job_id == job.id and lease.attempt == job.attempt:
                heard = max(heard, lease.seen_at)
    return now - heard > snapshot.lease
