"""Whether a job may queue: decided before anything is reserved, with a reason and a time for those who may not.

Pure. Each refusal has a stable code, a sentence for a student and the seconds after which another try makes sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from services.scheduler.plan import Trainer, WaitingJob, can_hold, is_live
from shared.contract.views import Reason


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What admission looks at. Counts are of jobs that wait or run."""

    trainers: Sequence[Trainer]
    lease: timedelta
    waiting: int
    max_waiting: int
    team_jobs: int
    max_team_jobs: int
    balance_seconds: int
    earliest_refund: datetime | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Not now: why, and when to try again (seconds)."""

    reason: Reason
    retry_after: int


_NO_CAPACITY_RETRY = 60
_BUSY_RETRY = 300
_MINUTES_RETRY = 3600


def admit(job: WaitingJob, reserve_seconds: int, room: Room, now: datetime) -> Refused | None:
    """None where the job may queue."""
    if not any(is_live(trainer, room.lease, now) and can_hold(trainer, job) for trainer in room.trainers):
        return _refuse(
            "no_capacity",
            f"No trainer that could hold this job is running (it needs a {job.accelerator.upper()} trainer).",
            _NO_CAPACITY_RETRY,
            "Ask whoever runs Trainyard to start a trainer.",
        )
    if room.waiting >= room.max_waiting:
        return _refuse("queue_full", f"The queue is full: {room.waiting} jobs are waiting.", _BUSY_RETRY)
    if room.team_jobs >= room.max_team_jobs:
        return _refuse(
            "team_limit",
            f"Your team has {room.team_jobs} jobs waiting or running; {room.max_team_jobs} is the limit.",
            _BUSY_RETRY,
            "Wait until one ends, or stop one.",
        )
    if reserve_seconds > room.balance_seconds:
        wait = _MINUTES_RETRY
        if room.earliest_refund is not None:
            wait = max(_NO_CAPACITY_RETRY, int((room.earliest_refund - now).total_seconds()))
        return _refuse(
            "not_enough_minutes",
            f"The job needs {_minutes(reserve_seconds)} minutes; your team has {_minutes(room.balance_seconds)} left.",
            wait,
            "Choose a shorter maximum time, or wait until a running job gives minutes back.",
        )
    return None


def _refuse(code: str, message: str, retry_after: int, remedy: str | None = None) -> Refused:
    return Refused(reason=Reason(code=code, message=message, remedy=remedy), retry_after=retry_after)


def _minutes(seconds: int) -> str:
    return f"{seconds / 60:.0f}" if seconds % 60 == 0 else f"{seconds / 60:.1f}"
