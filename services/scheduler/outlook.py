"""The room as everybody may see it: what runs and until when, what waits and from when, what a new job could expect.

Owns that of another team's job nothing is told that says whose or what it is, and that the queue is played forward once for all
who ask at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

import msgspec

from services.scheduler.board import Board
from services.scheduler.domain import Job
from services.scheduler.estimate import Work, forecast, forecast_ends, forecast_of
from services.scheduler.figures import Figures
from services.scheduler.settings import SchedulerSettings
from services.scheduler.snapshot import Snapshot, free_slots, takers
from shared.contract.api.room import RoomAnswer, RoomRunning, RoomWaiting
from shared.contract.views import JobView, QueuePlace
from shared.runtime.clock import Clock
from shared.runtime.joint import Joint

# A job's from and to.
Range = tuple[datetime, datetime]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The room at one moment: `places` of all that waits, `ends` of what runs by id, where something can be said."""

    at: datetime
    snapshot: Snapshot
    works: Mapping[str, Work]
    jobs: Mapping[str, Job]
    places: list[QueuePlace]
    ends: Mapping[str, Range]


class Outlook:
    """Reads the board, which is read from the store again where this scheduler isn't the one that plans."""

    def __init__(self, *, settings: SchedulerSettings, board: Board, figures: Figures, clock: Clock) -> None:
        self._settings = settings
        self._board = board
        self._figures = figures
        self._clock = clock
        self._look = Joint(self._see)

    async def room(self, team: str) -> RoomAnswer:
        """The room as `team` may see it."""
        look = await self._look()
        return told(look, team, await self._start(look, team))

    async def _see(self) -> Look:
        await self._board.refresh()
        await self._board.know_paces()
        now = self._clock.now()
        snapshot, works = self._board.snapshot(now), self._board.works()
        jobs = {job.view.id: job for job in self._board.jobs()}
        # Beside the loop: a long queue takes its time.
        places = await asyncio.to_thread(forecast, snapshot, works, now)
        ends = await asyncio.to_thread(forecast_ends, snapshot, works, now)
        return Look(at=now, snapshot=snapshot, works=works, jobs=jobs, places=places, ends=ends)

    async def _start(self, look: Look, team: str) -> Range | None:
        """When a usual job of the team's would start if it were submitted now; None where it would be refused for the queue's
        sake, or nothing can be said."""
        if len(look.places) >= self._settings.max_queued:
            return None
        job, work = await self._figures.usual(team)
        place = await asyncio.to_thread(forecast_of, look.snapshot, job, work, look.works, look.at)
        if place.start_from is None or place.start_to is None:
            return None
        wait = (place.start_from + (place.start_to - place.start_from) / 2 - look.at).total_seconds()
        limit = self._settings.max_wait_seconds
        return None if limit and wait > limit else (place.start_from, place.start_to)


def told(look: Look, team: str, start: Range | None) -> RoomAnswer:
    """What a person of `team` is told of the room. Pure."""
    slots = sum(trainer.slots for trainer in takers(look.snapshot, look.at))
    free = sum(max(0, count) for count in free_slots(look.snapshot, look.at).values())
    views = [look.jobs[active.id].view for active in look.snapshot.active]
    # By what is told of them alone: an order by id would be the same for all who know one.
    running = sorted((_running(view, look.ends.get(view.id), team) for view in views), key=_first_to_end)
    start_from, start_to = start or (None, None)
    return RoomAnswer(
        slots=slots,
        busy=slots - free,
        running=running,
        waiting=[_waiting(place, look.jobs[place.job_id].view, team) for place in look.places],
        start_from=start_from,
        start_to=start_to,
    )


def _running(view: JobView, end: Range | None, team: str) -> RoomRunning:
    end_from, end_to = end or (None, None)
    own = view.team == team
    return RoomRunning(
        state=view.state,
        steps_completed=view.steps_completed,
        steps_requested=view.steps_requested,
        end_from=end_from,
        end_to=end_to,
        job_id=view.id if own else None,
        description=view.description if own else None,
    )


def _first_to_end(one: RoomRunning) -> tuple[bool, str, int]:
    """Those of which nothing can be said come last."""
    until = one.end_to
    return until is None, "" if until is None else until.isoformat(), -one.steps_completed


def _waiting(place: QueuePlace, view: JobView, team: str) -> RoomWaiting:
    assert view.queued_at is not None
    own = view.team == team
    return RoomWaiting(
        position=place.position,
        priority=view.priority,
        queued_at=view.queued_at,
        start_from=place.start_from,
        start_to=place.start_to,
        end_from=place.end_from,
        end_to=place.end_to,
        job_id=view.id if own else None,
        description=view.description if own else None,
    )
