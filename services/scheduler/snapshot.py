"""What planning looks at: waiting jobs, active ones, trainers, what teams have had, the lab's hours.

Owns these structs and what follows from a trainer alone: whether it is alive, what it can hold, what it has free. Pure;
it knows neither order nor estimates. Times are the scheduler's own, durations are seconds unless they are a timedelta,
sizes are bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from shared.contract.starting_models import Accelerator


class Needs(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """What a slot must have for a job: the kind, at least this memory, and each of these labels. Most queues know only
    a few."""

    accelerator: Accelerator
    memory_bytes: int
    labels: tuple[tuple[str, str], ...] = ()


class WaitingJob(msgspec.Struct, frozen=True, kw_only=True):
    """A queued job. `priority` is its class, higher first. `front` goes first within it: it ran before and lost its
    trainer through no fault of its own. `avoid` are trainers that it failed on: it goes there only if no other live one
    could hold it.

    `expected_seconds` is the wall time of what remains, `first_checkpoint_seconds` that until its next durable
    checkpoint.
    """

    id: str
    team: str
    queued_at: datetime
    needs: Needs
    front: bool = False
    priority: int = 0
    avoid: tuple[str, ...] = ()
    expected_seconds: float = 0.0
    first_checkpoint_seconds: float = 0.0


class ActiveJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is assigned to a trainer. `expected_seconds` is the wall time that it still takes; `asked_at` is when
    a stop or a pause was asked for that has not been answered; `pausable` means that it prepares or makes steps and no
    pause was asked."""

    id: str
    team: str
    trainer: str
    attempt: int
    assigned_at: datetime
    expected_seconds: float = 0.0
    asked_at: datetime | None = None
    pausable: bool = False


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """When a trainer last said that it holds an attempt."""

    job_id: str
    attempt: int
    seen_at: datetime


class Trainer(msgspec.Struct, frozen=True, kw_only=True):
    """A trainer as its heartbeats tell. `memory_bytes` is what one slot has. `utilization` (0 to 1) and
    `memory_used_bytes` are of its device. `draining` is the trainer's own word that it takes no job, `drain_asked` an
    operator's."""

    id: str
    slots: int
    accelerator: Accelerator
    device: str
    memory_bytes: int
    seen_at: datetime
    draining: bool = False
    gone: bool = False
    leases: list[Lease] = []
    labels: dict[str, str] = {}
    started_at: datetime | None = None
    utilization: float | None = None
    memory_used_bytes: int | None = None
    drain_asked: bool = False


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a team has had: charged seconds, older ones counting less, as of now; and when it was last given a slot for a job
    of each kind of needs."""

    usage_seconds: float = 0.0
    served: Mapping[Needs, datetime] = {}


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the lab is open, and until when that is so (None: for ever). `changes` are the changes after `until`, as
    far as they were looked up; each opens what was closed and closes what was open."""

    open: bool
    until: datetime | None = None
    changes: tuple[datetime, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What planning looks at. Silence counts from `listening_since` at the earliest: while the scheduler couldn't hear,
    nobody was silent. No `hours`: always open. Jobs are asked to pause `pause_lead` before the lab closes."""

    waiting: Sequence[WaitingJob]
    active: Sequence[ActiveJob]
    trainers: Sequence[Trainer]
    listening_since: datetime
    lease: timedelta
    standings: Mapping[str, Standing] = {}
    hours: Hours | None = None
    pause_lead: timedelta = timedelta(seconds=60)


def is_live(trainer: Trainer, lease: timedelta, now: datetime) -> bool:
    """Whether it was heard within a lease and did not say goodbye."""
    return not trainer.gone and now - trainer.seen_at <= lease


def takes_jobs(trainer: Trainer, lease: timedelta, now: datetime) -> bool:
    """Whether it is alive and neither drains by its own word nor was asked to: only such a one is capacity."""
    return is_live(trainer, lease, now) and not trainer.draining and not trainer.drain_asked


def can_hold(trainer: Trainer, needs: Needs) -> bool:
    """Whether the trainer's kind, the memory of one slot and its labels suffice at all, busy or not."""
    return (
        trainer.accelerator == needs.accelerator
        and trainer.memory_bytes >= needs.memory_bytes
        and all(trainer.labels.get(name) == value for name, value in needs.labels)
    )


def takers(snapshot: Snapshot, now: datetime) -> list[Trainer]:
    """The trainers that are alive and take jobs, the least capable first, so that whoever looks for a slot in this
    order leaves the large ones free."""
    taking = [trainer for trainer in snapshot.trainers if takes_jobs(trainer, snapshot.lease, now)]
    return sorted(taking, key=lambda trainer: (trainer.memory_bytes, len(trainer.labels), trainer.id))


def free_slots(snapshot: Snapshot, now: datetime) -> dict[str, int]:
    """Free slots by trainer, of those that are alive and take jobs, the least capable first. What a trainer says that
    it still holds takes a slot, too, until it has let go of it."""
    taken = Counter(job.trainer for job in snapshot.active)
    current = {(job.trainer, job.id, job.attempt) for job in snapshot.active}
    for trainer in snapshot.trainers:
        for lease in trainer.leases:
            still_held = lease.seen_at == trainer.seen_at
            if still_held and (trainer.id, lease.job_id, lease.attempt) not in current:
                taken[trainer.id] += 1
    return {trainer.id: trainer.slots - taken[trainer.id] for trainer in takers(snapshot, now)}
