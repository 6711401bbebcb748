"""Trainers as they were last heard, and what they hold, for schedulers that come later or don't hear them.

Owns the collection. What a heartbeat means is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.scheduler.plan import Lease, Trainer
from shared.runtime.mongo import Database, from_document, to_document


class TrainerStore:
    """Trainers as they were last heard."""

    def __init__(self, database: Database) -> None:
        self._collection = database["trainers"]

    async def all(self) -> list[Trainer]:
        """Every trainer that was heard of and isn't forgotten."""
        return [from_document(document, Trainer) async for document in self._collection.find({})]

    async def get(self, trainer_id: str) -> Trainer | None:
        """One trainer."""
        document = await self._collection.find_one({"_id": trainer_id})
        return None if document is None else from_document(document, Trainer)

    async def put(self, trainer: Trainer) -> None:
        """Keep what a heartbeat said; that a drain was asked for is kept apart (`ask_drain`)."""
        document = to_document(trainer, drop=["drain_asked"])
        del document["_id"]
        await self._collection.update_one({"_id": trainer.id}, {"$set": document}, upsert=True)

    async def ask_drain(self, trainer_id: str) -> Trainer | None:
        """Give it no more jobs; the trainer afterwards, None if it isn't known."""
        found = await self._collection.find_one_and_update(
            {"_id": trainer_id}, {"$set": {"drain_asked": True}}, return_document=True
        )
        return from_document(found, Trainer) if found else None

    async def forget(self, *, silent_since: datetime, gone_since: datetime) -> None:
        """Drop trainers that have been silent, or gone in good order, since then."""
        await self._collection.delete_many({"seen_at": {"$lt": silent_since}})
        await self._collection.delete_many({"gone": True, "seen_at": {"$lt": gone_since}})


def merged_leases(known: Sequence[Lease], held: Sequence[Lease], now: datetime, keep_seconds: float) -> list[Lease]:
    """What a trainer holds by its latest word, and for a while what it held before: an end may still be on its way."""
    current = {(lease.job_id, lease.attempt): lease for lease in held}
    earlier = [
        lease
        for lease in known
        if (lease.job_id, lease.attempt) not in current and (now - lease.seen_at).total_seconds() <= keep_seconds
    ]
    return [*current.values(), *earlier]
