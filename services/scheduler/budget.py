"""The arithmetic of minutes: what is reserved, used and given back. Pure; whole seconds.

A job carries its own ledger lines, so that settling is part of the write that ends it. A team's balance is the sum of its
grants and of all its jobs' lines; nothing else is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from shared.contract.jobs import TERMINAL, JobState
from shared.contract.views import LedgerEntry

_MARGIN = 1.25
_FEWEST_MINUTES = 10


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One job in its team's books: `seconds` is the sum of its lines (negative: taken), `used` of those that are for use, and
    `booked` whether it has any; `capped` whether its member's cap counts it; `alive` whether it has not ended. `version` is the
    job's."""

    version: int
    created_by: str
    seconds: int
    used: int
    booked: bool
    capped: bool
    alive: bool

    @classmethod
    def of(
        cls,
        lines: Sequence[tuple[str, int]],
        *,
        version: int,
        created_by: str,
        capped: bool,
        approved_by: str | None,
        state: JobState,
    ) -> Account:
        """The account of a job with these `lines` (kind, seconds). A mentor's approval takes it out of the member's cap."""
        return cls(
            version=version,
            created_by=created_by,
            seconds=sum(seconds for _, seconds in lines),
            used=sum(seconds for kind, seconds in lines if kind == "use"),
            booked=bool(lines),
            capped=capped and approved_by is None,
            alive=state not in TERMINAL,
        )


def default_max_minutes(estimated_seconds: float) -> int:
    """The estimate plus a quarter, at least 10 minutes: never everything that a team has left."""
    return max(_FEWEST_MINUTES, math.ceil(estimated_seconds * _MARGIN / 60))


def reservation(job_id: str, seconds: int, at: datetime) -> LedgerEntry:
    """The line that takes a job's maximum time from the balance."""
    return LedgerEntry(kind="reserve", seconds=-seconds, at=at, job_id=job_id, note="maximum training time")


def adjustment(job_id: str, seconds: int, at: datetime) -> LedgerEntry:
    """The line that takes so many seconds more for a job that waits, or gives some back (negative)."""
    kind: Literal["reserve", "refund"] = "reserve" if seconds > 0 else "refund"
    return LedgerEntry(kind=kind, seconds=-seconds, at=at, job_id=job_id, note="another kind of trainer")


def used_seconds(stepping_seconds: float, reserved: int) -> int:
    """What is charged: whole seconds of stepping up to the last durable checkpoint, never more than was reserved."""
    return min(int(stepping_seconds), reserved)


def settlement(job_id: str, reserved: int, used: int, at: datetime) -> tuple[LedgerEntry, ...]:
    """The lines that end a reservation: all of it back, and what was used taken."""
    return (
        LedgerEntry(kind="refund", seconds=reserved, at=at, job_id=job_id, note="reservation ended"),
        LedgerEntry(kind="use", seconds=-used, at=at, job_id=job_id, note="stepping up to the last saved checkpoint"),
    )


def balance(lines: Sequence[LedgerEntry]) -> int:
    """The sum of all lines."""
    return sum(line.seconds for line in lines)
