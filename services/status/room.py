"""What concerns the whole room and is shown to all teams alike: that what runs and waits in it has moved.

Owns one small document. It is outside the teams' sequences, as it would fill each team's log: the newest value wins, and a
client that comes back is told it, whether it missed it or not. It is kept, so that whoever was told by an earlier process and
who comes anew show the same.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Protocol

from services.status.hub import Hub
from shared.contract.errors import Reject, Stale
from shared.contract.events import RoomMoved
from shared.contract.wire import Envelope
from shared.runtime.mongo import Database

_ID = "room"


class RoomKeeper(Protocol):
    """What folding needs of the store; see RoomStore."""

    async def moved_at(self) -> datetime | None: ...
    async def keep_moved_at(self, at: datetime) -> None: ...


class RoomStore:
    """The document."""

    def __init__(self, database: Database) -> None:
        self._collection = database["room"]

    async def moved_at(self) -> datetime | None:
        """When the room last moved, as far as it was told."""
        document = await self._collection.find_one({"_id": _ID})
        return None if document is None else document["moved_at"]

    async def keep_moved_at(self, at: datetime) -> None:
        """Keep it, unless a later one is kept."""
        await self._collection.update_one({"_id": _ID}, {"$max": {"moved_at": at}}, upsert=True)


class RoomFolder:
    """Folds facts about the room. `load` is to be called before any channel is used."""

    def __init__(self, store: RoomKeeper, hub: Hub) -> None:
        self._store = store
        self._hub = hub
        self._moved_at: datetime | None = None
        self._one = asyncio.Lock()

    async def load(self) -> None:
        """Show what an earlier process was told."""
        at = await self._store.moved_at()
        if at is not None:
            self._show(at)

    async def moved(self, envelope: Envelope) -> None:
        """Fold a RoomMoved. Raises Stale for one that isn't newer than what is known, Reject for another fact."""
        if not isinstance(envelope.body, RoomMoved):
            raise Reject(f"{envelope.type} doesn't tell that the room has moved")
        # To the millisecond, as the store has it.
        at = envelope.time.replace(microsecond=envelope.time.microsecond // 1000 * 1000)
        async with self._one:
            if self._moved_at is not None and at <= self._moved_at:
                raise Stale(f"the room was told to have moved at {self._moved_at.isoformat()}")
            await self._store.keep_moved_at(at)
            self._show(at)

    def _show(self, at: datetime) -> None:
        self._moved_at = at
        self._hub.room_moved(at)
