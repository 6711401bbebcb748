"""What the dataset service keeps: one document a dataset, with its claims and its outbox.

Owns the database guards; decides nothing. A document is `importing` while an upload is read (it holds the team's slot and
names the importer that may finish it), then `ready`; `deleted` remains as a tombstone until its files are gone and a repeated
request can no longer come; `abandoned` is an import that failed and whose files are to be removed. Every query of
a user's names the team.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from services.dataset import index
from services.dataset.domain import Dataset
from shared.contract.api.claims import ClaimingJob
from shared.contract.api.datasets import Claim, ImportReport
from shared.contract.events import DatasetCreated, DatasetDeleted, Message
from shared.contract.views import DatasetView, Finding
from shared.contract.wire import Envelope
from shared.runtime import outbox
from shared.runtime.mongo import (
    Database,
    Document,
    DuplicateKeyError,
    IndexModel,
    ensure_indexes,
    from_document,
    to_document,
)

# Makes the envelope of a message for a team: id, time and trace are the runtime's.
Enveloper = Callable[[Message, str], Envelope]

# How long a deleted dataset's id is remembered, so that a repeated POST doesn't bring it back.
TOMBSTONE = timedelta(days=7)


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """The right to finish one import: `owner` is the secret of the importer that has it."""

    id: str
    team: str
    owner: str


class Existing(msgspec.Struct, frozen=True, kw_only=True):
    """What is already there under an id: another request's import, a dataset (`ready` alone has one), a tombstone."""

    state: Literal["importing", "ready", "deleted", "abandoned"]
    fingerprint: str
    dataset: Dataset | None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset and who uses it."""

    view: DatasetView
    claims: list[Claim] = []


class DatasetStore:
    """The datasets of all teams."""

    def __init__(self, database: Database, envelope: Enveloper) -> None:
        self.collection = database["datasets"]
        self._envelope = envelope

    async def prepare(self) -> None:
        """Create the indexes."""
        await ensure_indexes(
            self.collection,
            [
                outbox.INDEX,
                # A team's datasets are limited by the number of its slots, however many requests come at once.
                IndexModel(
                    [("team", 1), ("slot", 1)],
                    name="slot",
                    unique=True,
                    partialFilterExpression={"slot": {"$exists": True}},
                ),
                IndexModel([("state", 1)], name="state"),
                IndexModel([("purged_at", 1)], name="tombstones", expireAfterSeconds=int(TOMBSTONE.total_seconds())),
            ],
        )

    # --- reading -------------------------------------------------------------------------------------------------------

    async def all(self, team: str) -> list[Listed]:
        """A team's datasets, newest first."""
        cursor = self.collection.find({"team": team, "state": "ready"}, {"view": 1, "claims": 1})
        listed = [from_document(document, Listed) async for document in cursor]
        return sorted(listed, key=lambda one: (one.view.created_at, one.view.id), reverse=True)

    async def find(self, team: str | None, dataset_id: str) -> Dataset | None:
        """A dataset of a team or (None) of whichever, None if there is no such (any more)."""
        document = await self.collection.find_one(_ready(team, dataset_id))
        return None if document is None else _dataset(document)

    async def view(self, team: str | None, dataset_id: str) -> DatasetView | None:
        """As `find`, what is public of it alone."""
        document = await self.collection.find_one(_ready(team, dataset_id), {"view": 1})
        return from_document(document["view"], DatasetView) if document else None

    async def existing(self, dataset_id: str) -> Existing | None:
        """Whatever there is under an id."""
        document = await self.collection.find_one({"_id": dataset_id})
        if document is None:
            return None
        dataset = _dataset(document) if document["state"] == "ready" else None
        return Existing(state=document["state"], fingerprint=document["fingerprint"], dataset=dataset)

    # --- a dataset's life ----------------------------------------------------------------------------------------------

    async def reserve(self, reservation: Reservation, fingerprint: str, limit: int, now: datetime) -> bool:
        """Take one of a team's `limit` slots for an import; False if none is free or the id is there already."""
        cursor = self.collection.find({"team": reservation.team, "slot": {"$exists": True}}, {"slot": 1})
        taken = {document["slot"] async for document in cursor}
        for slot in (slot for slot in range(limit) if slot not in taken):
            try:
                await self.collection.insert_one(
                    {
                        "_id": reservation.id,
                        "team": reservation.team,
                        "state": "importing",
                        "slot": slot,
                        "fingerprint": fingerprint,
                        "owner": reservation.owner,
                        "touched_at": now,
                    }
                )
            except DuplicateKeyError:
                if await self.collection.find_one({"_id": reservation.id}, {"_id": 1}) is not None:
                    return False
            else:
                return True
        return False

    async def touch(self, reservation: Reservation, now: datetime) -> bool:
        """Say that the import is alive; False if it has been given up meanwhile."""
        result = await self.collection.update_one(_held(reservation), {"$set": {"touched_at": now}})
        return result.matched_count == 1

    async def finish(self, reservation: Reservation, view: DatasetView, report: ImportReport) -> bool:
        """Make the dataset exist, with its event; False if the import has been given up meanwhile."""
        entry = outbox.entry(self._envelope(DatasetCreated(dataset=view), view.team))
        result = await self.collection.update_one(
            _held(reservation),
            {
                "$set": {
                    "state": "ready",
                    "view": msgspec.to_builtins(view, builtin_types=(datetime,)),
                    "report": msgspec.to_builtins(report),
                    "claims": [],
                    "indexed": index.VERSION,
                },
                "$unset": {"owner": "", "touched_at": ""},
                "$push": outbox.push([entry]),
            },
        )
        return result.matched_count == 1

    async def abandon(self, reservation: Reservation) -> bool:
        """Give an import up and free its slot; its files are to be removed next. False if there is nothing to give up."""
        result = await self.collection.update_one(
            _held(reservation), {"$set": {"state": "abandoned"}, "$unset": {"slot": ""}}
        )
        return result.matched_count == 1

    async def delete(self, team: str, dataset_id: str) -> bool:
        """Delete a dataset that no model uses, with its event; False if it isn't there or in use."""
        entry = outbox.entry(self._envelope(DatasetDeleted(dataset_id=dataset_id), team))
        result = await self.collection.update_one(
            {"_id": dataset_id, "team": team, "state": "ready", "claims": []},
            {
                "$set": {"state": "deleted"},
                "$unset": {"slot": "", "view": "", "report": ""},
                "$push": outbox.push([entry]),
            },
        )
        return result.matched_count == 1

    # --- what is derived -----------------------------------------------------------------------------------------------

    async def unindexed(self) -> list[DatasetView]:
        """Datasets whose pictures were indexed by an older version than this, or never."""
        cursor = self.collection.find({"state": "ready", "indexed": {"$ne": index.VERSION}}, {"view": 1})
        return [from_document(document["view"], DatasetView) async for document in cursor]

    async def indexed(self, dataset_id: str, findings: Sequence[Finding]) -> bool:
        """Note that a dataset's pictures are indexed, and what was found in them; False if the dataset is gone."""
        result = await self.collection.update_one(
            {"_id": dataset_id, "state": "ready"},
            {"$set": {"indexed": index.VERSION, "view.findings": msgspec.to_builtins(findings)}},
        )
        return result.matched_count == 1

    # --- claims --------------------------------------------------------------------------------------------------------

    # No index on claims: it would have an entry for each of a season's models, all rewritten with each that comes.

    async def claim(self, team: str, dataset_id: str, claim: Claim) -> DatasetView | None:
        """Note that a model uses a dataset, which can't be deleted any more; None if it did already, or nothing is there."""
        document = await self.collection.find_one_and_update(
            {**_ready(team, dataset_id), "claims.job_id": {"$ne": claim.job_id}},
            {"$push": {"claims": to_document(claim)}},
            projection={"view": 1},
        )
        return from_document(document["view"], DatasetView) if document else None

    async def release(self, team: str, job_id: str, dataset_ids: Sequence[str] | None = None) -> None:
        """Take the claims of a team's model back: those on `dataset_ids`, or all."""
        query: Document = {"team": team, "slot": {"$exists": True}, "claims.job_id": job_id}
        if dataset_ids is not None:
            query["_id"] = {"$in": [*dataset_ids]}
        await self.collection.update_many(query, {"$pull": {"claims": {"job_id": job_id}}})

    async def claims_before(self, moment: datetime) -> list[ClaimingJob]:
        """Jobs that have held claims since before `moment`, by id."""
        found: dict[str, ClaimingJob] = {}
        cursor = self.collection.find(
            {"state": "ready", "claims.claimed_at": {"$lte": moment}}, {"team": 1, "claims": 1}
        )
        async for document in cursor:
            for claim in msgspec.convert(document["claims"], list[Claim], strict=False):
                known = found.get(claim.job_id)
                if claim.claimed_at <= moment and (known is None or claim.claimed_at < known.since):
                    found[claim.job_id] = ClaimingJob(
                        job_id=claim.job_id, team=document["team"], since=claim.claimed_at
                    )
        return [found[job_id] for job_id in sorted(found)]

    # --- cleaning ------------------------------------------------------------------------------------------------------

    async def silent_imports(self, since: datetime) -> list[Reservation]:
        """Imports that gave no sign of life since then: their importer is gone."""
        return await self._reservations({"state": "importing", "touched_at": {"$lt": since}})

    async def disown(self, reservation: Reservation, fingerprint: str) -> Reservation | None:
        """Have removed what an import left that was given up while it published; None if others use the id.

        Until that is done nobody can reserve the id, and who is removing right now has to look again.
        """
        mine = msgspec.structs.replace(reservation, owner=uuid.uuid4().hex)
        try:
            await self.collection.update_one(
                {"_id": mine.id, "state": "abandoned"},
                {"$set": {"owner": mine.owner}, "$setOnInsert": {"team": mine.team, "fingerprint": fingerprint}},
                upsert=True,
            )
        except DuplicateKeyError:
            return None
        return mine

    async def abandoned(self) -> list[Reservation]:
        """Imports whose files are to be removed."""
        return await self._reservations({"state": "abandoned"})

    async def forget(self, reservation: Reservation) -> None:
        """Drop an abandoned import, once its files are gone; not if more was left meanwhile."""
        await self.collection.delete_one({"_id": reservation.id, "state": "abandoned", "owner": reservation.owner})

    async def to_purge(self) -> list[str]:
        """Ids of deleted datasets whose event is out and whose files are still there."""
        return await self._ids({"state": "deleted", "purged_at": None, "outbox.id": {"$exists": False}})

    async def purged(self, dataset_id: str, now: datetime) -> None:
        """Note that a deleted dataset's files are gone: the tombstone goes too, after a while."""
        await self.collection.update_one({"_id": dataset_id, "state": "deleted"}, {"$set": {"purged_at": now}})

    async def _reservations(self, query: Document) -> list[Reservation]:
        cursor = self.collection.find(query, {"team": 1, "owner": 1})
        return [Reservation(id=doc["_id"], team=doc["team"], owner=doc["owner"]) async for doc in cursor]

    async def _ids(self, query: Document) -> list[str]:
        return [document["_id"] async for document in self.collection.find(query, {"_id": 1})]


def _ready(team: str | None, dataset_id: str) -> Document:
    return {"_id": dataset_id, "state": "ready", **({} if team is None else {"team": team})}


def _held(reservation: Reservation) -> dict[str, Any]:
    return {"_id": reservation.id, "state": "importing", "owner": reservation.owner}


def _dataset(document: Document) -> Dataset:
    return from_document(document, Dataset)
