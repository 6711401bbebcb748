"""The status service's database: views, metrics, the models' stories and the log of stream events.

Owns every query. Knows no rule: what to write was folded before. Views carry their public struct as JSON text in one field,
as names of metrics and labels may hold dots and dollars. Every query names the team.

A write of views says, by the id of the fact that made it, which state of a view it replaces; where that isn't what
the database holds, somebody else writes too, and `Conflict` is raised. The log takes a number and an event id once.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

import msgspec

from services.status.domain import HistoryEntry
from services.status.views import Record, key, metric_id
from shared.contract.api.models import ModelEvent
from shared.contract.errors import Retry
from shared.contract.jobs import JobState
from shared.contract.stream import MetricPoint
from shared.contract.views import JobView, PredictionsView
from shared.runtime.clock import Clock
from shared.runtime.mongo import (
    BulkWriteError,
    Database,
    DeleteMany,
    Document,
    IndexModel,
    InsertOne,
    ReplaceOne,
    UpdateOne,
    ensure_indexes,
    from_document,
    to_document,
)

_DIGITS = 12
_DUPLICATE_KEY = 11000


class Conflict(Retry):
    """The database isn't as it was when the views were read: another process folds too, or did a moment ago."""


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A stream event as the log keeps it: `id` is that of the fact, `data` the event's JSON."""

    id: str
    seq: int
    data: bytes


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """All that the service holds in memory of a team: views without metrics, by key, and the newest sequence number."""

    epoch: str
    last: int
    records: dict[str, Record]


class StatusStore:
    """Everything that the status service reads and writes."""

    def __init__(self, database: Database, clock: Clock, *, tombstones: timedelta) -> None:
        self._views = database["views"]
        self._metrics = database["metrics"]
        self._history = database["history"]
        self._log = database["log"]
        self._meta = database["meta"]
        self._clock = clock
        self._tombstones = tombstones

    async def prepare(self) -> None:
        """Create the indexes."""
        await ensure_indexes(
            self._views,
            [
                IndexModel([("team", 1), ("kind", 1)], name="team"),
                IndexModel(
                    [("gone_at", 1)], name="tombstones", expireAfterSeconds=int(self._tombstones.total_seconds())
                ),
            ],
        )
        await ensure_indexes(self._metrics, [IndexModel([("team", 1), ("model_id", 1)], name="model")])
        await ensure_indexes(self._history, [IndexModel([("team", 1), ("model_id", 1)], name="model")])
        await ensure_indexes(
            self._log,
            [
                IndexModel([("team", 1), ("seq", 1)], name="sequence", unique=True),
                IndexModel([("event", 1)], name="event", unique=True),
            ],
        )

    # --- folding -------------------------------------------------------------------------------------------------------

    async def load(self, team: str) -> Loaded:
        """A team as the database has it. An empty log begins a new epoch: whatever clients hold is from a lost one."""
        newest = await self._log.find_one({"team": team}, {"seq": 1}, sort=[("seq", -1)])
        epoch = await self._epoch(team, anew=newest is None)
        records = {record.key: record async for record in self._records({"team": team})}
        return Loaded(epoch=epoch, last=0 if newest is None else int(newest["seq"]), records=records)

    async def metrics_by_key(self, keys: Sequence[str]) -> dict[str, Record]:
        """Those of the metrics that there are, by key."""
        if not keys:
            return {}
        cursor = self._metrics.find({"_id": {"$in": list(keys)}})
        return {document["_id"]: _record(document) async for document in cursor}

    async def write(self, changes: Mapping[str, tuple[str | None, Record]]) -> None:
        """Keep views: by key, the id of the fact that made what is replaced (None: nothing is there) and the new record.

        Raises Conflict if something else is there. What was written before the conflict stays: it is a whole view each.
        """
        views: list[Any] = []
        metrics: list[Any] = []
        for name, (before, record) in changes.items():
            (metrics if record.kind == "metric" else views).append(self._replacement(name, before, record))
        for collection, writes in ((self._views, views), (self._metrics, metrics)):
            if not writes:
                continue
            try:
                result = await collection.bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                _refuse(error)
            if result.matched_count + result.inserted_count != len(writes):
                raise Conflict("a view was changed by somebody else")

    async def forget_models(self, team: str, model_ids: Sequence[str]) -> None:
        """Remove the metrics and the stories of deleted models."""
        if model_ids:
            query = {"team": team, "model_id": {"$in": list(model_ids)}}
            await self._metrics.bulk_write([DeleteMany(query)])
            await self._history.bulk_write([DeleteMany(query)])

    async def add_history(self, team: str, entries: Sequence[tuple[str, HistoryEntry]]) -> None:
        """Add lines to the models' stories; one that is there already stays as it is."""
        writes = [
            UpdateOne(
                {"_id": entry.event},
                {"$setOnInsert": {"team": team, "model_id": model_id, **to_document(entry, drop=["event"])}},
                upsert=True,
            )
            for model_id, entry in entries
        ]
        if writes:
            await self._history.bulk_write(writes, ordered=False)

    async def logged(self, events: Sequence[str]) -> set[str]:
        """Those of the facts (by id) that clients were told of."""
        if not events:
            return set()
        return {document["event"] async for document in self._log.find({"event": {"$in": list(events)}}, {"event": 1})}

    async def append(self, team: str, entries: Sequence[LogEntry]) -> None:
        """Add to the log, in order. Raises Conflict where a number or an event is in it already."""
        if not entries:
            return
        now = self._clock.now()
        documents = [
            {
                "_id": f"{team}:{entry.seq:0{_DIGITS}d}",
                "team": team,
                "seq": entry.seq,
                "event": entry.id,
                "at": now,
                "data": entry.data.decode(),
            }
            for entry in entries
        ]
        try:
            await self._log.insert_many(documents, ordered=True)
        except BulkWriteError as error:
            _refuse(error)

    # --- the log -------------------------------------------------------------------------------------------------------

    async def has_logged(self, team: str, seq: int) -> bool:
        """Whether the log still holds that number; all later ones are there then, as it is trimmed from below."""
        return await self._log.find_one({"team": team, "seq": seq}, {"_id": 1}) is not None

    async def log(self, team: str, after: int, upto: int) -> list[bytes]:
        """The events with numbers in (after, upto], in order. Raises Conflict if some of them are no longer there."""
        cursor = self._log.find({"team": team, "seq": {"$gt": after, "$lte": upto}}, {"seq": 1, "data": 1})
        documents = sorted([document async for document in cursor], key=lambda document: int(document["seq"]))
        if len(documents) != upto - after:
            raise Conflict(f"the log no longer holds all from {after + 1} to {upto}")
        return [document["data"].encode() for document in documents]

    async def trim(self, team: str, upto: int) -> int:
        """Remove events with numbers up to `upto`; returns how many there were."""
        result = await self._log.delete_many({"team": team, "seq": {"$lte": upto}})
        return result.deleted_count

    # --- reading -------------------------------------------------------------------------------------------------------

    async def models(self, team: str) -> list[Record]:
        """A team's models."""
        return [record async for record in self._records({"team": team, "kind": "model"})]

    async def model(self, team: str, model_id: str) -> JobView | None:
        """One model, None if the team has none of that id."""
        document = await self._views.find_one({"_id": key("model", team, model_id), "team": team})
        data = None if document is None else _record(document).data
        return None if data is None else msgspec.json.decode(data, type=JobView)

    async def metrics(self, team: str, model_id: str) -> list[MetricPoint]:
        """A model's metrics by step, ascending."""
        cursor = self._metrics.find({"team": team, "model_id": model_id})
        points = [msgspec.json.decode(document["data"], type=MetricPoint) async for document in cursor]
        return sorted(points, key=lambda point: point.step)

    async def point(self, team: str, model_id: str, step: int) -> MetricPoint | None:
        """A model's metrics at one step."""
        found = await self._metrics.find_one({"_id": key("metric", team, metric_id(model_id, step)), "team": team})
        return None if found is None else msgspec.json.decode(found["data"], type=MetricPoint)

    async def newest_predictions(self, team: str, model_id: str) -> PredictionsView | None:
        """Those of the highest step that has any."""
        # Most often the first document is it, and metrics are large where there are many labels.
        cursor = self._metrics.find({"team": team, "model_id": model_id}).sort("_id", -1).batch_size(2)
        async for document in cursor:
            point = msgspec.json.decode(document["data"], type=MetricPoint)
            if point.predictions is not None:
                return point.predictions
        return None

    async def history(self, team: str, model_id: str) -> list[ModelEvent]:
        """A model's story, oldest first."""
        cursor = self._history.find({"team": team, "model_id": model_id})
        documents = sorted([document async for document in cursor], key=lambda document: document["version"])
        return [from_document(document, ModelEvent) for document in documents]

    # --- inside --------------------------------------------------------------------------------------------------------

    async def _epoch(self, team: str, *, anew: bool) -> str:
        known = None if anew else await self._meta.find_one({"_id": f"epoch:{team}"})
        if known is not None:
            return str(known["value"])
        epoch = uuid.uuid4().hex
        await self._meta.update_one({"_id": f"epoch:{team}"}, {"$set": {"value": epoch, "team": team}}, upsert=True)
        return epoch

    async def _records(self, query: Document) -> AsyncIterator[Record]:
        async for document in self._views.find(query):
            yield _record(document)

    def _replacement(self, name: str, before: str | None, record: Record) -> InsertOne[Document] | ReplaceOne[Document]:
        document = {
            "_id": name,
            "team": record.team,
            "kind": record.kind,
            "id": record.id,
            "event": record.event,
            "order": record.order,
            "at": record.at,
            "attempt": record.attempt,
            "state": None if record.state is None else record.state.value,
            "data": None if record.data is None else record.data.decode(),
        }
        if record.gone:
            document["gone_at"] = self._clock.now()
        if record.kind == "metric":
            document["model_id"] = record.id.rpartition(":")[0]
        return InsertOne(document) if before is None else ReplaceOne({"_id": name, "event": before}, document)


def _record(document: Document) -> Record:
    data, state = document["data"], document["state"]
    at: datetime = document["at"]
    return Record(
        kind=document["kind"],
        team=document["team"],
        id=document["id"],
        event=document["event"],
        order=document["order"],
        at=at,
        attempt=document["attempt"],
        state=None if state is None else JobState(state),
        data=None if data is None else data.encode(),
    )


def _refuse(error: BulkWriteError) -> NoReturn:
    """A duplicate key is a Conflict; any other failure of a bulk write stays what it is."""
    if {failure.get("code") for failure in error.details.get("writeErrors", [])} == {_DUPLICATE_KEY}:
        raise Conflict("somebody else wrote first") from error
    raise error
