"""The room as every signed-in person may see it: what runs, what waits. Owns the structs alone.

Of the asking team's own jobs it names id and description; of others nothing tells whose or what they are: both are None.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.contract.jobs import JobState


class RoomRunning(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a trainer holds. Of ten such jobs six end between `end_from` and `end_to`; None where nothing can be said."""

    state: JobState
    steps_completed: int
    steps_requested: int
    end_from: datetime | None = None
    end_to: datetime | None = None
    job_id: str | None = None
    description: str | None = None


class RoomWaiting(msgspec.Struct, frozen=True, kw_only=True):
    """A job in the queue, at `position` (1 is next), of the class `priority` (higher goes first). Of ten such jobs six start
    between `start_from` and `start_to`, and so for the end; None where nothing can be said."""

    position: int
    priority: int
    queued_at: datetime
    start_from: datetime | None = None
    start_to: datetime | None = None
    end_from: datetime | None = None
    end_to: datetime | None = None
    job_id: str | None = None
    description: str | None = None


class RoomAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All that runs, the first to end first, and all that waits, next first. `slots` are those of the live trainers that take
    jobs, `busy` how many of them hold one. A job of the asking team, of the usual kind and length, that was submitted now would
    start between `start_from` and `start_to`; None where nothing can be said, or it would have to be tried again later."""

    slots: int
    busy: int
    running: list[RoomRunning]
    waiting: list[RoomWaiting]
    start_from: datetime | None = None
    start_to: datetime | None = None
