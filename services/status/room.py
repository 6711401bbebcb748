"""What concerns the whole room and is shown to all teams alike: that what runs and waits in it has moved, what is announced.

Owns one small document. It is outside the teams' sequences, as it would fill each team's log: the newest value wins, and a
client that comes back is told it, whether it missed it or not. It is kept, so that whoever was told by an earlier process and
who comes anew show the same.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec
from msgspec.structs import replace

from services.status.channel import Room
from services.status.hub import Hub
from shared.contract.errors import Reject, Stale
from shared.contract.events import AnnouncementsChanged, RoomMoved
from shared.contract.wire import Envelope
from shared.runtime.bus import Handlers
from shared.runtime.mongo import Database, to_millisecond

_ID = "room"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The room as it was last told; `version` is the announcements'."""

    room: Room = Room()
    version: int = 0


class RoomKeeper(Protocol):
    """What folding needs of the store; see RoomStore."""

    async def load_room(self) -> Kept: ...
    async def keep_room(self, kept: Kept) -> None: ...


class RoomStore:
    """The document."""

    def __init__(self, database: Database) -> None:
        self._collection = database["room"]

    async def load_room(self) -> Kept:
        """The room as it was kept last."""
        document = await self._collection.find_one({"_id": _ID})
        if document is None:
            return Kept()
        room = Room(document["moved_at"], document["announcements"].encode())
        return Kept(room=room, version=document["version"])

    async def keep_room(self, kept: Kept) -> None:
        """Keep it."""
        fields = {
            "moved_at": kept.room.moved_at,
            "announcements": kept.room.announcements.decode(),
            "version": kept.version,
        }
        await self._collection.update_one({"_id": _ID}, {"$set": fields}, upsert=True)


class RoomFolder:
    """Folds facts about the room, one after another. `load` is to be called before any channel is used."""

    def __init__(self, store: RoomKeeper, hub: Hub) -> None:
        self._store = store
        self._hub = hub
        self._kept = Kept()
        self._one = asyncio.Lock()

    async def load(self) -> None:
        """Show what an earlier process was told."""
        self._show(await self._store.load_room())

    def facts(self) -> Handlers:
        """The handlers of these facts, for the table of `status.facts`."""
        return {RoomMoved: self.fold, AnnouncementsChanged: self.fold}

    async def fold(self, envelope: Envelope) -> None:
        """Fold one fact; raises Stale for one that isn't newer than what is known."""
        async with self._one:
            after = fold(self._kept, envelope)
            await self._store.keep_room(after)
            self._show(after)

    def _show(self, kept: Kept) -> None:
        self._kept = kept
        self._hub.put_room(kept.room)


def fold(kept: Kept, envelope: Envelope) -> Kept:
    """What a fact makes of what is kept: moves count by their time, announcements by their version. Pure. Raises Stale, and
    Reject for a fact that isn't about the room."""
    match envelope.body:
        case RoomMoved():
            at = to_millisecond(envelope.time)
            if kept.room.moved_at is not None and at <= kept.room.moved_at:
                raise Stale(f"the room was told to have moved at {kept.room.moved_at.isoformat()}")
            return replace(kept, room=replace(kept.room, moved_at=at))
        case AnnouncementsChanged(announcements=announcements, version=version):
            if version <= kept.version:
                raise Stale(f"version {version} of the announcements is no news")
            told = msgspec.json.encode(announcements)
            return replace(kept, room=replace(kept.room, announcements=told), version=version)
        case other:
            raise Reject(f"{type(other).__name__} is not a fact about the room")
