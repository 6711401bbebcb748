"""All channels: which teams are in memory, how they get there and how they leave it.

Owns the lock of each team, under which its facts are folded and its channel is loaded or compared with the database. Knows no
rule of folding and no websocket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from services.status.channel import Channel, Room
from services.status.store import Loaded
from shared.contract.errors import UserError
from shared.contract.stream import CLOSE_RESUME
from shared.runtime.clock import Clock
from shared.runtime.locks import KeyedLocks

CLOSE_RESTART = 1012  # RFC 6455's registry: service restart


class Source(Protocol):
    """Where channels are loaded from: the store."""

    async def load(self, team: str) -> Loaded:
        """A team as it is kept."""
        ...

    async def log(self, team: str, after: int, upto: int) -> list[bytes]:
        """The events with numbers in (after, upto]."""
        ...


class Hub:
    """Channels by team, loaded at first use."""

    def __init__(self, source: Source, clock: Clock, *, backlog: int) -> None:
        self._source = source
        self._clock = clock
        self._backlog = backlog
        self._channels: dict[str, Channel] = {}
        self._used: dict[str, float] = {}
        self._locks = KeyedLocks()
        self._draining = False
        self._room = Room()

    async def channel(self, team: str) -> Channel:
        """The team's channel. Raises UserError `restarting` (503) once the service drains."""
        if self._draining:
            raise UserError("restarting", "The service restarts: come back in a second.", status=503, retry_after=1)
        channel = self._channels.get(team)
        if channel is not None and not channel.doubtful:
            self._used[team] = self._clock.monotonic()
            return channel
        async with self.hold(team) as loaded:
            return loaded

    @asynccontextmanager
    async def hold(self, team: str) -> AsyncIterator[Channel]:
        """The team's channel, with the team's lock held."""
        async with self._locks.hold(team):
            channel = self._channels.get(team)
            if channel is None or channel.doubtful:
                channel = await self._loaded(team, channel)
                self._channels[team] = channel
            self._used[team] = self._clock.monotonic()
            yield channel

    def put_room(self, room: Room) -> None:
        """Show all teams, also those that come into memory later, what concerns all of them."""
        self._room = room
        for channel in self._channels.values():
            channel.put_room(room)

    def channels(self) -> list[Channel]:
        """Those in memory."""
        return list(self._channels.values())

    def clients(self) -> int:
        """How many clients are connected."""
        return sum(len(channel.clients) for channel in self._channels.values())

    async def forget_idle(self, seconds: float) -> None:
        """Let go of teams that nobody watches and of which nothing was heard for so long."""
        for team, channel in list(self._channels.items()):
            if channel.clients or self._clock.monotonic() - self._used[team] < seconds:
                continue
            async with self._locks.hold(team):
                if not channel.clients:
                    del self._channels[team], self._used[team]

    async def drain(self) -> None:
        """Close every client with 1012 and take no new ones."""
        self._draining = True
        for channel in self._channels.values():
            channel.end(CLOSE_RESTART)

    async def _loaded(self, team: str, channel: Channel | None) -> Channel:
        """The team as the database has it: in the channel that its clients are at, where the sequence goes on."""
        loaded = await self._source.load(team)
        if channel is not None:
            if channel.epoch == loaded.epoch and channel.last <= loaded.last:
                missed = await self._source.log(team, channel.last, loaded.last) if channel.last < loaded.last else []
                channel.renew(loaded.records, missed)
                return channel
            channel.end(CLOSE_RESUME)
        fresh = Channel(team, loaded.epoch, loaded.last, loaded.records, backlog=self._backlog)
        fresh.put_room(self._room)
        return fresh
