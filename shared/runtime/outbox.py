"""The outbox: events that wait inside the document whose change they tell, and the relay that publishes them.

A service pushes entries in the same single-document update that changes the state (`entry`, `push`). The relay publishes
each with a confirm, in order within a document, and pulls it afterwards: at least once, never lost, and never told before the
change is durable. A command that finds no trainer is dropped: the lease, not the message, brings its job back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from shared.contract.wire import Envelope, decode, encode
from shared.runtime import log
from shared.runtime.bus import Bus, Unroutable
from shared.runtime.metrics import Metrics
from shared.runtime.mongo import Collection, Document, IndexModel, UpdateOne

FIELD = "outbox"
INDEX = IndexModel([("outbox.id", 1)], name="outbox", sparse=True)
_BATCH = 200
_SIDE_BY_SIDE = 16


def entry(envelope: Envelope, *, to: str | None = None) -> Document:
    """One message as it waits in a document; `to` is a trainer's command queue, None for a fact."""
    return {"id": envelope.id, "to": to, "data": encode(envelope)}


def push(entries: Sequence[Document]) -> dict[str, Any]:
    """The part of an update that adds entries to the document's outbox."""
    return {FIELD: {"$each": list(entries)}}


class Relay:
    """Publishes what waits in one collection's documents; run `relay_once` in a Loop and wake it after each write."""

    def __init__(self, collection: Collection, bus: Bus, metrics: Metrics) -> None:
        self._collection = collection
        self._bus = bus
        self._metrics = metrics
        self._log = log.get("outbox")

    async def relay_once(self) -> int:
        """Publish all that waits; returns how many messages. Raises Retry when the broker doesn't take them, and
        Reject for an entry that can't be read; either way all other documents have been relayed."""
        published = 0
        while True:
            cursor = self._collection.find({"outbox.id": {"$exists": True}}, {FIELD: 1}).limit(_BATCH)
            documents = await cursor.to_list(_BATCH)
            self._metrics.outbox.labels(self._collection.name).set(len(documents))
            limit = asyncio.Semaphore(_SIDE_BY_SIDE)
            # One document that can't be told must not keep the others waiting: each is relayed to its own end.
            outcomes = await asyncio.gather(
                *(self._relay(document, limit) for document in documents), return_exceptions=True
            )
            told = [outcome for outcome in outcomes if isinstance(outcome, UpdateOne)]
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if told:
                # One write for all: pulling each for itself would cost as much as the change that it tells of.
                await self._collection.bulk_write(told, ordered=False)
            told_of = zip(documents, outcomes, strict=True)
            published += sum(len(document[FIELD]) for document, outcome in told_of if isinstance(outcome, UpdateOne))
            if failures:
                raise failures[0]
            if len(documents) < _BATCH:
                return published

    async def _relay(self, document: Document, limit: asyncio.Semaphore) -> UpdateOne:
        """Publish what waits in a document; gives the update that takes it out."""
        async with limit:
            entries = document[FIELD]
            for waiting in entries:
                await self._publish(waiting)
        ids = [waiting["id"] for waiting in entries]
        return UpdateOne({"_id": document["_id"]}, {"$pull": {FIELD: {"id": {"$in": ids}}}})

    async def _publish(self, waiting: Document) -> None:
        envelope = decode(bytes(waiting["data"]))
        if waiting["to"] is None:
            await self._bus.publish(envelope)
            return
        try:
            await self._bus.command(waiting["to"], envelope)
        except Unroutable:
            self._log.warning("command.unroutable", type=envelope.type, queue=waiting["to"], job=envelope.job_id)
