"""Whether a job may queue: decided before anything is reserved, with a reason and a time for those who may not.

Pure. Each refusal has a stable code, a sentence for a student and the seconds after which another try makes sense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from services.scheduler.plan import Needs, Trainer, can_hold, takes_jobs
from shared.contract.api.teams import Pause
from shared.contract.views import Reason


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What admission looks at. Counts are of jobs that wait or run; `pause` is the one in force, if any.

    `unmet_since` is since when a job of the same needs has waited and no trainer was there that could hold it; an installation
    whose trainers start on demand expects one for `expect_trainers` after that. Trainers can be heard since `listening_since`
    (None: for long). `estimated_wait` is until the likely start. `next_end` tells when the first running job of the team, or
    (False) of anybody, has likely ended; it is asked only where somebody is told to come back then.
    `too_slow` is why the lab's hours never suffice for the job. `cap_seconds` is what is left of a member's own cap (None: no
    cap, or a mentor has approved).
    """

    trainers: Sequence[Trainer]
    lease: timedelta
    waiting: int
    max_waiting: int
    team_jobs: int
    max_team_jobs: int
    balance_seconds: int
    next_end: Callable[[bool], datetime | None] = lambda _: None
    pause: Pause | None = None
    expect_trainers: timedelta = timedelta(0)
    unmet_since: datetime | None = None
    listening_since: datetime | None = None
    too_slow: Reason | None = None
    estimated_wait: timedelta | None = None
    max_wait: timedelta | None = None
    cap_seconds: int | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Not now: why, and when to try again (seconds; None where no time helps, but a person)."""

    reason: Reason
    retry_after: int | None


_NO_CAPACITY_RETRY = 60
_SOONEST_RETRY = 60
_BUSY_RETRY = 300
_MINUTES_RETRY = 3600
_PAUSE_RETRY = 3600


def admit(needs: Needs, reserve_seconds: int, room: Room, now: datetime) -> Refused | None:
    """None where the job may queue."""
    if room.pause is not None:
        return _paused(room.pause, now)
    if not _has_capacity(needs, room, now):
        unheard = _unheard(needs, room, now)
        if unheard is not None:
            return unheard
        return Refused(
            reason=lacking(needs), retry_after=max(_NO_CAPACITY_RETRY, int(room.expect_trainers.total_seconds()))
        )
    if room.too_slow is not None:
        return Refused(reason=room.too_slow, retry_after=None)
    if room.waiting >= room.max_waiting:
        return _refuse(
            "queue_full",
            f"The queue is full: {room.waiting} jobs are waiting; {room.max_waiting} is the limit.",
            _until(room.next_end(False), now, _BUSY_RETRY),
        )
    if room.max_wait is not None and room.estimated_wait is not None and room.estimated_wait > room.max_wait:
        return _refuse(
            "wait_too_long",
            f"The job would start in about {_span(room.estimated_wait)}; {_span(room.max_wait)} is the limit.",
            max(_BUSY_RETRY, int((room.estimated_wait - room.max_wait).total_seconds())),
            "Try again when the queue is shorter, or choose to start when there is room.",
        )
    if room.team_jobs >= room.max_team_jobs:
        return _refuse(
            "team_limit",
            f"Your team has {room.team_jobs} jobs waiting or running; {room.max_team_jobs} is the limit.",
            _until(room.next_end(True), now, _BUSY_RETRY),
            "Wait until one ends, or stop one.",
        )

    def refund() -> int | None:
        # What the team's jobs don't use comes back when they end.
        return _until(room.next_end(True), now, _MINUTES_RETRY) if room.team_jobs else None

    return afford(reserve_seconds, room.balance_seconds, room.cap_seconds, refund=refund)


def afford(
    seconds: int, balance: int, cap: int | None, purpose: str = "", refund: Callable[[], int | None] = lambda: None
) -> Refused | None:
    """None where a team with this balance, and a member with so much left under a cap (None: no cap), may reserve so many
    seconds; `purpose` goes into the sentence. `refund` tells after how many seconds minutes may come back (None: no time helps,
    but a person); it is asked only where they don't suffice."""
    if cap is not None and seconds > cap:
        return _refuse(
            "needs_approval",
            f"The job needs {_minutes(seconds)} minutes{purpose}; you may use {_minutes(max(0, cap), math.floor)} more"
            " without a mentor's approval.",
            None,
            "Ask a mentor of your team to approve it, or choose a shorter maximum time.",
        )
    if seconds > balance:
        wait = refund()
        more = "wait until one of your team's jobs ends and gives minutes back"
        if wait is None:
            more = "ask whoever runs Trainyard for more minutes"
        return _refuse(
            "not_enough_minutes",
            f"The job needs {_minutes(seconds)} minutes{purpose}; your team has {_minutes(balance, math.floor)} left.",
            wait,
            f"Choose a shorter maximum time, or {more}.",
        )
    return None


def lacking(needs: Needs) -> Reason:
    """Why a job with these needs can't start now, and not later either unless a trainer comes."""
    wanted = "".join(f" labelled {name}={value}" for name, value in needs.labels)
    return Reason(
        code="no_capacity",
        message=f"No trainer that takes jobs could hold this one: it needs a {needs.accelerator.upper()} trainer{wanted}"
        f" with {needs.memory_bytes / 1e9:.1f} GB of memory a slot.",
        remedy="Ask whoever runs Trainyard to start a trainer.",
    )


def _has_capacity(needs: Needs, room: Room, now: datetime) -> bool:
    """Whether a live trainer that takes jobs can ever hold this one, busy or not, or one is still expected."""
    if any(takes_jobs(trainer, room.lease, now) and can_hold(trainer, needs) for trainer in room.trainers):
        return True
    if not room.expect_trainers:
        return False
    return room.unmet_since is None or now - room.unmet_since <= room.expect_trainers


def _unheard(needs: Needs, room: Room, now: datetime) -> Refused | None:
    """The refusal where a trainer that could hold this job was there before Trainyard began to listen, less than a lease
    ago: it had no time yet to be heard again, so nobody can say that it is gone."""
    since = room.listening_since
    if since is None or now - since > room.lease:
        return None
    if not any(
        takes_jobs(trainer, room.lease, trainer.seen_at) and can_hold(trainer, needs) for trainer in room.trainers
    ):
        return None
    seconds = int((now - since).total_seconds())
    return _refuse(
        "no_capacity",
        "No trainer that could hold this job has been heard yet since Trainyard began to listen to them"
        f" {seconds} second{'' if seconds == 1 else 's'} ago. One was there before.",
        max(1, math.ceil((since + room.lease - now).total_seconds())),
        "Try again in a moment, or choose to start when there is room.",
    )


def _paused(pause: Pause, now: datetime) -> Refused:
    until = "" if pause.until is None else f" until {pause.until:%Y-%m-%d %H:%M} UTC"
    because = f": {pause.message}" if pause.message else "."
    wait = _PAUSE_RETRY if pause.until is None else max(1, int((pause.until - now).total_seconds()))
    return _refuse("paused", f"{pause.by} has closed training{until}{because}", wait)


def _refuse(code: str, message: str, retry_after: int | None, remedy: str | None = None) -> Refused:
    return Refused(reason=Reason(code=code, message=message, remedy=remedy), retry_after=retry_after)


def _until(moment: datetime | None, now: datetime, else_seconds: int) -> int:
    return else_seconds if moment is None else max(_SOONEST_RETRY, math.ceil((moment - now).total_seconds()))


def _minutes(seconds: int, rounded: Callable[[float], int] = math.ceil) -> str:
    """What is needed is rounded up, what is left down (math.floor): too little never reads as if it were enough."""
    return f"{seconds / 60:.0f}" if seconds % 60 == 0 else f"{rounded(seconds / 6) / 10:.1f}"


def _span(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
