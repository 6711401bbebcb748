"""The outbox: events that wait inside the document whose change they tell, and the relay that publishes them.

A service pushes entries in the same single-document update that changes the state (`entry`, `push`). The relay publishes
each with a confirm, in order within a document, and pulls it afterwards: at least once, never lost, and never told before the
change is durable. A command is dropped where it finds no trainer, where its time is over, or where what it was about is: the
lease, not the message, brings its job back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from shared.contract.errors import Retry
from shared.contract.wire import Envelope, decode, encode
from shared.runtime import log
from shared.runtime.bus import Bus, Unroutable
from shared.runtime.clock import Clock
from shared.runtime.metrics import Metrics
from shared.runtime.mongo import Collection, Document, IndexModel

FIELD = "outbox"
INDEX = IndexModel([("outbox.id", 1)], name="outbox", sparse=True)
_BATCH = 200
# As many documents are written at once: longer ones keep other writes waiting.
_TOLD_AT_ONCE = 16
_SIDE_BY_SIDE = 16
# How long a round waits for the broker; whoever is slower doesn't hold up the next one.
_PATIENCE = 0.5
# A command that the broker hasn't taken by then goes nowhere (its queue is without a leader); what it asks for is asked again.
_COMMAND_LIFETIME = timedelta(seconds=60)


def entry(envelope: Envelope, *, to: str | None = None) -> Document:
    """One message as it waits in a document; `to` is a trainer's command queue, None for a fact."""
    return {"id": envelope.id, "to": to, "data": encode(envelope)}


def push(entries: Sequence[Document]) -> dict[str, Any]:
    """The part of an update that adds entries to the document's outbox."""
    return {FIELD: {"$each": list(entries)}}


class Relay:
    """Publishes what waits in one collection's documents; run `relay_once` in a Loop and wake it after each write. `is_over`
    tells of a command, and of the document that it waits in (`fields` of it), whether it is about something that is over by
    now."""

    def __init__(
        self,
        collection: Collection,
        bus: Bus,
        metrics: Metrics,
        clock: Clock,
        *,
        fields: Sequence[str] = (),
        is_over: Callable[[Document, Envelope], bool] = lambda _, __: False,
    ) -> None:
        self._collection = collection
        self._bus = bus
        self._metrics = metrics
        self._clock = clock
        self._projection = dict.fromkeys((FIELD, *fields), 1)
        self._is_over = is_over
        self._facts = asyncio.Semaphore(_SIDE_BY_SIDE)
        # Documents whose messages are on their way, as they were read.
        self._under_way: dict[Any, tuple[Document, asyncio.Task[None]]] = {}
        self._log = log.get("outbox")

    async def relay_once(self) -> int:
        """Publish all that waits; returns how many messages. What the broker keeps waiting is left to a later round, so that
        one trainer's queue delays nobody else's. Raises Retry when the broker doesn't take a message, and Reject for an entry
        that can't be read; either way all other documents have been relayed."""
        try:
            return await self._relay_all()
        except asyncio.CancelledError:
            tasks = [task for _, task in self._under_way.values()]
            self._under_way.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _relay_all(self) -> int:
        published = 0
        while True:
            cursor = self._collection.find({"outbox.id": {"$exists": True}}, self._projection).limit(_BATCH)
            documents = await cursor.to_list(_BATCH)
            self._metrics.outbox.labels(self._collection.name).set(len(documents))
            fresh = [document for document in documents if document["_id"] not in self._under_way]
            for document in fresh:
                self._under_way[document["_id"]] = document, asyncio.create_task(self._relay(document))
            if self._under_way:
                await asyncio.wait([task for _, task in self._under_way.values()], timeout=_PATIENCE)
            over = [(document, task) for document, task in self._under_way.values() if task.done()]
            for document, _ in over:
                del self._under_way[document["_id"]]
            told = [document for document, task in over if _worked(task)]
            for first in range(0, len(told), _TOLD_AT_ONCE):
                await self._pull(told[first : first + _TOLD_AT_ONCE])
            published += sum(len(document[FIELD]) for document in told)
            for _, task in over:
                task.result()
            if len(documents) < _BATCH or not fresh:
                return published

    async def _relay(self, document: Document) -> None:
        for waiting in document[FIELD]:
            await self._publish(waiting, document)

    async def _pull(self, told: Sequence[Document]) -> None:
        """Take out what was published. One update for all of them: one each would cost as much as the changes that they tell
        of."""
        ids = [waiting["id"] for document in told for waiting in document[FIELD]]
        await self._collection.update_many(
            {"_id": {"$in": [document["_id"] for document in told]}}, {"$pull": {FIELD: {"id": {"$in": ids}}}}
        )

    async def _publish(self, waiting: Document, document: Document) -> None:
        envelope = decode(bytes(waiting["data"]))
        if waiting["to"] is None:
            async with self._facts:
                await self._bus.publish(envelope)
            return
        about = {"type": envelope.type, "queue": waiting["to"], "job": envelope.job_id, "attempt": envelope.attempt}
        if self._is_over(document, envelope):
            self._log.warning("command.outdated", **about)
            return
        try:
            await self._bus.command(waiting["to"], envelope)
        except Unroutable:
            self._log.warning("command.unroutable", **about)
        except Retry:
            if self._clock.now() - envelope.time <= _COMMAND_LIFETIME:
                raise
            self._log.warning("command.untaken", **about)


def _worked(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is None
