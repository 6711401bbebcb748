"""Who gets which trainer, and which trainers are lost: `plan(snapshot, now) -> actions`, pure and total.

Owns order and liveness. Free capacity is derived here, from the trainers that are alive and the jobs that they hold; it is
kept nowhere. The same snapshot and time give the same actions, whoever asks and however often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from shared.contract.starting_models import STARTING_MODELS, Accelerator

# A trainer that said goodbye holds nothing; the ends of its jobs were told before and may still be under way.
_GOODBYE = timedelta(seconds=3)


class WaitingJob(msgspec.Struct, frozen=True, kw_only=True):
    """A queued job. `front` goes first: it ran before and lost its trainer through no fault of its own."""

    id: str
    team: str
    queued_at: datetime
    front: bool
    starting_model: str
    accelerator: Accelerator


class ActiveJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is assigned to a trainer."""

    id: str
    team: str
    trainer: str
    attempt: int
    assigned_at: datetime


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """When a trainer last said that it holds an attempt."""

    job_id: str
    attempt: int
    seen_at: datetime


class Trainer(msgspec.Struct, frozen=True, kw_only=True):
    """A trainer as its heartbeats tell; times are the scheduler's own."""

    id: str
    slots: int
    accelerator: Accelerator
    device: str
    memory_bytes: int
    seen_at: datetime
    draining: bool = False
    gone: bool = False
    leases: list[Lease] = []


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What planning looks at. Silence counts from `listening_since` at the earliest: while the scheduler couldn't hear, nobody
    was silent."""

    waiting: Sequence[WaitingJob]
    active: Sequence[ActiveJob]
    trainers: Sequence[Trainer]
    listening_since: datetime
    lease: timedelta


class Assign(msgspec.Struct, frozen=True):
    """Give the job to the trainer."""

    job_id: str
    trainer: str


class Lose(msgspec.Struct, frozen=True):
    """The attempt's lease is over."""

    job_id: str
    attempt: int


Action = Assign | Lose


def plan(snapshot: Snapshot, now: datetime) -> list[Action]:
    """Losses first, then assignments in queue order; a job that no free slot can hold doesn't keep others from starting."""
    lost = [job for job in snapshot.active if _lease_over(job, snapshot, now)]
    actions: list[Action] = [Lose(job.id, job.attempt) for job in lost]
    free = free_slots(snapshot, now)
    trainers = {trainer.id: trainer for trainer in snapshot.trainers}
    for job in in_order(snapshot):
        chosen = next((name for name in sorted(free) if free[name] > 0 and can_hold(trainers[name], job)), None)
        if chosen is not None:
            free[chosen] -= 1
            actions.append(Assign(job.id, chosen))
    return actions


def in_order(snapshot: Snapshot) -> list[WaitingJob]:
    """The queue: jobs that were interrupted first, then teams in turn, the one with the fewest jobs at work or ahead first;
    within a team first come, first served."""
    ranks: Counter[str] = Counter(job.team for job in snapshot.active)
    ranked: list[tuple[bool, int, datetime, str, WaitingJob]] = []
    for job in sorted(snapshot.waiting, key=lambda job: (not job.front, job.queued_at, job.id)):
        ranked.append((not job.front, 0 if job.front else ranks[job.team], job.queued_at, job.id, job))
        ranks[job.team] += 1
    return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:-1])]


def free_slots(snapshot: Snapshot, now: datetime) -> dict[str, int]:
    """Free slots by trainer, of those that are alive and take jobs. What a trainer says that it still holds takes a slot,
    too, until it has let go of it."""
    taken = Counter(job.trainer for job in snapshot.active)
    current = {(job.trainer, job.id, job.attempt) for job in snapshot.active}
    for trainer in snapshot.trainers:
        for lease in trainer.leases:
            still_held = lease.seen_at == trainer.seen_at
            if still_held and (trainer.id, lease.job_id, lease.attempt) not in current:
                taken[trainer.id] += 1
    return {
        trainer.id: trainer.slots - taken[trainer.id]
        for trainer in snapshot.trainers
        if is_live(trainer, snapshot.lease, now) and not trainer.draining
    }


def is_live(trainer: Trainer, lease: timedelta, now: datetime) -> bool:
    """Whether it was heard within a lease and did not say goodbye."""
    return not trainer.gone and now - trainer.seen_at <= lease


def can_hold(trainer: Trainer, job: WaitingJob) -> bool:
    """Whether the trainer's kind and memory suffice for the job at all, busy or not."""
    model = STARTING_MODELS[job.starting_model]
    return trainer.accelerator == job.accelerator and trainer.memory_bytes >= model.memory_bytes[job.accelerator]


def _lease_over(job: ActiveJob, snapshot: Snapshot, now: datetime) -> bool:
    trainer = next((trainer for trainer in snapshot.trainers if trainer.id == job.trainer), None)
    heard = [job.assigned_at, snapshot.listening_since]
    if trainer is not None:
        if trainer.gone:
            return now - max(job.assigned_at, trainer.seen_at) > _GOODBYE
        heard += [lease.seen_at for lease in trainer.leases if (lease.job_id, lease.attempt) == (job.id, job.attempt)]
    return now - max(heard) > snapshot.lease
