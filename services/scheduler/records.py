"""What the scheduler writes down for operators: an audit log of their acts, and how full the room was.

Owns both collections. An act is written before it is done, so that none goes unrecorded; its outcome follows.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from shared.contract.api.admin import AuditEntry, CapacityPoint
from shared.runtime.mongo import (
    ASCENDING,
    DESCENDING,
    Database,
    IndexModel,
    ensure_indexes,
    from_document,
    to_document,
)

_CAPACITY_KEPT = timedelta(days=30)


class AuditLog:
    """Acts of operators and mentors, and of whoever makes or revokes a token, kept for good."""

    def __init__(self, database: Database) -> None:
        self._collection = database["audit"]

    async def prepare(self) -> None:
        """Create the index."""
        await ensure_indexes(self._collection, [IndexModel([("at", DESCENDING)], name="newest")])

    async def begin(self, entry: AuditEntry) -> None:
        """Write an act down before it is done."""
        await self._collection.insert_one(to_document(entry))

    async def finish(self, entry: AuditEntry, outcome: str, details: dict[str, Any] | None = None) -> None:
        """Write down what became of it."""
        after = replace(entry, outcome=outcome, details={**entry.details, **(details or {})})
        document = to_document(after)
        await self._collection.update_one(
            {"_id": entry.id}, {"$set": {"outcome": document["outcome"], "details": document["details"]}}
        )

    async def newest(self, limit: int) -> list[AuditEntry]:
        """The last acts, newest first."""
        cursor = self._collection.find({}).sort("at", DESCENDING).limit(limit)
        return [from_document(document, AuditEntry) async for document in cursor]


class CapacityHistory:
    """A point a minute, kept for 30 days."""

    def __init__(self, database: Database) -> None:
        self._collection = database["capacity"]

    async def prepare(self) -> None:
        """Create the index."""
        await ensure_indexes(self._collection, [IndexModel([("at", ASCENDING)], name="at")])

    async def add(self, point: CapacityPoint) -> None:
        """Keep a point, and let those go that are too old. The same minute is kept once."""
        minute = point.at.replace(second=0, microsecond=0)
        await self._collection.update_one(
            {"_id": minute.isoformat()}, {"$set": to_document(replace(point, at=minute))}, upsert=True
        )
        await self._collection.delete_many({"at": {"$lt": point.at - _CAPACITY_KEPT}})

    async def since(self, at: datetime) -> list[CapacityPoint]:
        """Points from then on, oldest first."""
        cursor = self._collection.find({"at": {"$gte": at}}).sort("at", ASCENDING)
        return [from_document(document, CapacityPoint) async for document in cursor]
