"""Telling teams what is derived: the places of their waiting jobs and their minutes, whenever they aren't what was told last,
and that the room has moved; and telling again who their members are, which tokens are good and what is announced, for services
that may have missed it.

Nothing of it is kept: the first round of whoever plans tells everything.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from services.scheduler.board import Board
from services.scheduler.estimate import forecast
from services.scheduler.members import TeamEnveloper
from services.scheduler.snapshot import free_slots
from services.scheduler.teams import TeamStore
from shared.contract.events import Message, QueueMoved, RoomMoved, TeamChanged
from shared.contract.views import QueuePlace
from shared.runtime.bus import Bus
from shared.runtime.clock import Clock

# A time that moved by less is no news: seconds, or this part of what is still to wait.
_LEAST_MOVE, _LEAST_PART = 15.0, 0.1
# Reads what is told of each team.
Lists = Callable[[], Awaitable[Sequence[tuple[str, Message]]]]
# Places are told again after so many times what it took to find them: a long queue moves slowly.
_COST_SHARE = 10


class Teller:
    """One round tells what is due: minutes of teams that were touched here, and places if this scheduler plans."""

    def __init__(
        self,
        *,
        board: Board,
        teams: TeamStore,
        lists: Sequence[Lists],
        bus: Bus,
        clock: Clock,
        term: Callable[[], int | None],
        envelope: TeamEnveloper,
    ) -> None:
        self._board = board
        self._teams = teams
        self._lists = lists
        self._bus = bus
        self._clock = clock
        self._term = term
        self._envelope = envelope
        self._told: dict[str, list[QueuePlace]] = {}
        self._room: tuple[object, list[QueuePlace]] | None = None
        self._dirty: set[str] = set()
        self._told_in: int | None = None
        self._lists_asked = False
        self._cost = 0.0
        self._places_due = clock.monotonic()

    def touch(self, team: str) -> None:
        """The team's minutes may have changed, or somebody of a new team wants to see them: tell them in the next round."""
        self._dirty.add(team)

    def ask_lists(self) -> None:
        """Somebody would hear all teams' lists of members and of tokens, and the announcements: tell them in the next round."""
        self._lists_asked = True

    async def round(self) -> None:
        """See the class."""
        term = self._term() if self._board.live else None
        if term is not None:
            first = self._told_in != term
            known = set(await self._teams.teams()) if first else set()
            self._dirty |= known
            if first or self._lists_asked:
                await self._tell_lists()
            if first or self._clock.monotonic() >= self._places_due:
                await self._tell_places(known, first=first)
                self._places_due = self._clock.monotonic() + _COST_SHARE * self._cost
            self._told_in = term
        # Touched again meanwhile, it is told again in the next round.
        due, self._dirty = self._dirty, set()
        while due:
            team = due.pop()
            try:
                remembered = self._board.live and self._term() is not None
                view = await self._teams.view(team, self._clock.now(), afresh=not remembered)
                await self._bus.publish(self._envelope(TeamChanged(team=view), team))
            except BaseException:
                self._dirty |= {team, *due}
                raise

    async def _tell_lists(self) -> None:
        # Asked for again while this is told, it is told again.
        self._lists_asked = False
        try:
            for read in self._lists:
                for team, fact in await read():
                    await self._bus.publish(self._envelope(fact, team))
        except BaseException:
            self._lists_asked = True
            raise

    async def _tell_places(self, known: set[str], *, first: bool) -> None:
        now = self._clock.now()
        by_team: dict[str, list[QueuePlace]] = defaultdict(list)
        places = await self.current_places(now)
        for place in places:
            job = self._board.find(place.job_id)
            if job is not None:
                by_team[job.view.team].append(place)
        for team in sorted(known | set(self._told) | set(by_team)):
            found = by_team.get(team, [])
            if first or _differ(self._told.get(team, []), found, now):
                await self._bus.publish(self._envelope(QueueMoved(places=found), team))
                self._told[team] = found
            if not found:
                self._told.pop(team, None)
        await self._tell_room(places, now, first=first)

    async def _tell_room(self, places: list[QueuePlace], now: datetime, *, first: bool) -> None:
        """Tell that the room has moved, once for all teams, if what they would be shown isn't what it was."""
        scene = self._scene(now)
        if first or self._room is None or self._room[0] != scene or _differ(self._room[1], places, now):
            await self._bus.publish(self._envelope(RoomMoved(), ""))
            self._room = scene, places

    def _scene(self, now: datetime) -> object:
        """What is shown of the room besides places and times."""
        shown = {
            (view.id, view.state, view.steps_completed, view.priority)
            for view in (job.view for job in self._board.jobs())
        }
        return shown, free_slots(self._board.snapshot(now), now)

    async def current_places(self, now: datetime) -> list[QueuePlace]:
        """The whole queue, all teams."""
        await self._board.know_paces()
        snapshot, works = self._board.snapshot(now), self._board.works()
        if not snapshot.waiting:
            return []
        # Playing the queue forward takes its time where it is long: messages are handled meanwhile.
        begun = self._clock.monotonic()
        places = await asyncio.to_thread(forecast, snapshot, works, now)
        self._cost = self._clock.monotonic() - begun
        return places


def _differ(told: list[QueuePlace], found: list[QueuePlace], now: datetime) -> bool:
    """Whether a reader would see a difference: another order, or a time that moved by more than a little."""
    if [(place.job_id, place.position) for place in told] != [(place.job_id, place.position) for place in found]:
        return True
    return any(
        _moved(old.start_from, new.start_from, now)
        or _moved(old.start_to, new.start_to, now)
        or _moved(old.end_to, new.end_to, now)
        for old, new in zip(told, found, strict=True)
    )


def _moved(before: datetime | None, after: datetime | None, now: datetime) -> bool:
    if before is None or after is None:
        return before is not after
    least = max(_LEAST_MOVE, _LEAST_PART * (after - now).total_seconds())
    return abs((after - before).total_seconds()) > least
