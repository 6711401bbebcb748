"""What the scheduler keeps of jobs, with their outbox.

Owns the database guard: a decision is written only where the job is still the one that was decided on (version, attempt, and a
state from which the transition may leave), and its events go into the same document with the same update. Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from services.scheduler.budget import Account
from services.scheduler.domain import Change, Job
from shared.contract import topology
from shared.contract.errors import NotFound, Retry, TrainyardError
from shared.contract.events import JobAssign, JobChanged, JobDeleted, Message
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState, sources_of
from shared.contract.starting_models import Accelerator
from shared.contract.views import LedgerEntry
from shared.contract.wire import Envelope
from shared.runtime import outbox
from shared.runtime.mongo import (
    ASCENDING,
    DESCENDING,
    Database,
    Document,
    DuplicateKeyError,
    IndexModel,
    ensure_indexes,
    from_document,
    to_document,
)

# Makes the envelope of a message about a job: id, time and trace are the runtime's.
Enveloper = Callable[[Message, Job], Envelope]
_CONFLICTS = 20
# As many finished runs tell how fast those alike are, each of so many steps or more.
_NEWEST, _LEAST_STEPS = 20, 20
_FINISHED = (JobState.SUCCEEDED, JobState.STOPPED)
# What `is_over` looks at.
ABOUT = ("view.state", "view.attempt")
_ALIVE = frozenset(JobState) - TERMINAL
_SPENT = dict.fromkeys(
    (
        "accelerator",
        *(
            f"view.{name}"
            for name in ("team", "starting_model", "batch_size", "requires", "used_seconds", "ended_at", "attempts")
        ),
    ),
    1,
)


_OLDER_AT_ONCE = 500
# The lists that a job may be on, and what puts it there: few are, and all are found by one index.
_LISTS: dict[str, Callable[[Job], bool]] = {
    "children": lambda job: bool(job.children),
    "kept": lambda job: job.kept_at is not None,
    "release": lambda job: job.to_release,
    "room": lambda job: job.view.state is JobState.TRY_AGAIN_LATER and job.view.when_room and job.deleted_at is None,
}


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a job took from its team's share: seconds, until when, and when it was last given a slot, of which kind."""

    team: str
    starting_model: str
    accelerator: Accelerator
    batch_size: int
    requires: dict[str, str]
    served_at: datetime | None
    used_seconds: int
    ended_at: datetime


class JobStore:
    """The jobs of all teams."""

    def __init__(self, database: Database, envelope: Enveloper) -> None:
        self.collection = database["jobs"]
        self._envelope = envelope

    async def prepare(self) -> None:
        """Create the indexes: as few as will do, as each of them is part of every write."""
        await self._list_older_jobs()
        await ensure_indexes(
            self.collection,
            [
                outbox.INDEX,
                IndexModel([("lists", ASCENDING)], name="lists", sparse=True),
                IndexModel([("view.state", ASCENDING), ("view.ended_at", DESCENDING)], name="state"),
                IndexModel([("view.team", ASCENDING), ("view.state", ASCENDING)], name="team"),
            ],
        )

    async def _list_older_jobs(self) -> None:
        """Jobs may have been written before their lists were; an index of that time tells."""
        if "release" not in await self.collection.index_information():
            return
        while older := await self.collection.find({"lists": {"$exists": False}}).to_list(_OLDER_AT_ONCE):
            for job in map(_job, older):
                unchanged = {"_id": job.view.id, "view.version": job.view.version}
                await self.collection.update_one(unchanged, {"$set": {"lists": _lists(job)}})

    async def insert(self, job: Job) -> bool:
        """Add a new job with its first event; False if the id is there already (a repeated request)."""
        document = _document(job)
        document[outbox.FIELD] = [outbox.entry(self._envelope(JobChanged(job=job.view, trigger="submit"), job))]
        try:
            await self.collection.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def find(self, job_id: str) -> Job | None:
        """A job by id, deleted ones too."""
        document = await self.collection.find_one({"_id": job_id})
        return None if document is None else _job(document)

    async def get(self, team: str, job_id: str) -> Job:
        """A team's job. Raises NotFound."""
        document = await self.collection.find_one({"_id": job_id, "view.team": team, "deleted_at": None})
        if document is None:
            raise NotFound("job", job_id)
        return _job(document)

    async def apply(self, job: Job, change: Change) -> Job | None:
        """Write a decision about `job`; the job afterwards, None where it has changed meanwhile."""
        after = replace(change.job, view=replace(change.job.view, version=job.view.version + 1))
        guard: Document = {"_id": job.view.id, "view.version": job.view.version, "view.attempt": job.view.attempt}
        if change.trigger is not None:
            guard["view.state"] = {"$in": sorted(sources_of(change.trigger))}
        if change.term is not None:
            # A planner that was replaced doesn't know it yet: what its successor has (`outrank`) is not its to change.
            guard["term"] = {"$not": {"$gt": change.term}}
        entries = []
        if not change.silent:
            fact: Message = JobChanged(job=after.view, trigger=change.cause)
            if after.deleted_at is not None:
                fact = JobDeleted(job_id=after.view.id, version=after.view.version)
            entries.append(outbox.entry(self._envelope(fact, after)))
        if change.command is not None and change.trainer is not None:
            queue = topology.trainer_queue(change.trainer).name
            entries.append(outbox.entry(self._envelope(change.command, after), to=queue))
        document = _document(after)
        del document["_id"]
        result = await self.collection.update_one(guard, {"$set": document, "$push": outbox.push(entries)})
        return after if result.matched_count == 1 else None

    async def outrank(self, term: int) -> None:
        """Put every job that has not ended under the planner of this term. Whatever one of an earlier term believes of its
        trainer from then on, because it slept or hears nothing, it can't write.

        The version rises too, so that no write which was decided on before brings the earlier term back."""
        await self.collection.update_many(
            {"view.state": {"$in": sorted(_ALIVE)}, "term": {"$not": {"$gte": term}}},
            {"$set": {"term": term}, "$inc": {"view.version": 1}},
        )

    async def decide(
        self, job_id: str, decide: Callable[[Job], Change], *, team: str | None = None, known: Job | None = None
    ) -> Job:
        """Load, decide, write; again where somebody was quicker. `known` is the job as it was last seen: it saves a look, and
        what has changed since is found by the guard. Raises what `decide` raises, NotFound, Retry."""
        job = known
        for _ in range(_CONFLICTS):
            if job is None:
                job = await self.find(job_id) if team is None else await self.get(team, job_id)
            if job is None:
                raise NotFound("job", job_id)
            try:
                change = decide(job)
            except TrainyardError:
                if job is not known:
                    raise
                # What was last seen may be outdated: only the store's word is good enough for a no.
                job = None
                continue
            after = await self.apply(job, change)
            if after is not None:
                return after
            job = None
        raise Retry(f"job {job_id} kept changing under {_CONFLICTS} decisions")

    async def alive(self) -> list[Job]:
        """All jobs that have not ended."""
        cursor = self.collection.find({"view.state": {"$in": sorted(_ALIVE)}})
        return [_job(document) async for document in cursor]

    async def alive_versions(self) -> dict[str, int]:
        """The version of each job that has not ended, by id."""
        cursor = self.collection.find({"view.state": {"$in": sorted(_ALIVE)}}, {"view.version": 1})
        return {document["_id"]: int(document["view"]["version"]) async for document in cursor}

    async def for_room(self) -> list[Job]:
        """Jobs that queue by themselves once they may, the longest known first."""
        cursor = self.collection.find({"lists": "room"}).sort("view.created_at", ASCENDING)
        return [_job(document) async for document in cursor]

    async def ended_since(self, since: datetime) -> list[Spent]:
        """What was spent by jobs that ended since then and used some seconds. Of each no more is read than that: there are a
        season's."""
        where = {
            "view.state": {"$in": sorted(TERMINAL)},
            "view.ended_at": {"$gte": since},
            "view.used_seconds": {"$gt": 0},
        }
        cursor = self.collection.find(where, _SPENT)
        return [_spent(document) async for document in cursor]

    async def of_team(self, team: str) -> list[Job]:
        """A team's jobs that have not ended."""
        cursor = self.collection.find({"view.team": team, "view.state": {"$in": sorted(_ALIVE)}})
        return [_job(document) async for document in cursor]

    async def descriptions(self, job_ids: Sequence[str]) -> dict[str, str]:
        """The names that these jobs' models have in their team's list, by id; deleted ones aren't there."""
        where = {"_id": {"$in": list(job_ids)}, "deleted_at": None}
        cursor = self.collection.find(where, {"view.description": 1})
        return {document["_id"]: document["view"]["description"] async for document in cursor}

    async def finished_paces(self, starting_model: str, batch_size: int, accelerator: Accelerator) -> list[float]:
        """Seconds a step of the last runs alike that got somewhere, the newest first; `with_pace` keeps them so."""
        cursor = self.collection.find(
            {
                "view.starting_model": starting_model,
                "view.state": {"$in": list(_FINISHED)},
                "view.batch_size": batch_size,
                "accelerator": accelerator,
                "view.checkpoint.step": {"$gte": _LEAST_STEPS},
                "view.checkpoint.stepping_seconds": {"$gt": 0},
            },
            {"view.checkpoint": 1},
        )
        documents = await cursor.sort("view.ended_at", DESCENDING).limit(_NEWEST).to_list(_NEWEST)
        checkpoints = [document["view"]["checkpoint"] for document in documents]
        return [float(checkpoint["stepping_seconds"]) / checkpoint["step"] for checkpoint in checkpoints]

    async def accounts(self, team: str) -> dict[str, Account]:
        """What each of a team's jobs takes from its minutes, deleted jobs' too, by id."""
        wanted = (
            "ledger",
            "capped",
            *(f"view.{name}" for name in ("created_by", "approved_by", "state", "version")),
        )
        return {
            document["_id"]: Account.of(
                [(line["kind"], int(line["seconds"])) for line in document["ledger"]],
                version=int(document["view"]["version"]),
                created_by=document["view"]["created_by"],
                capped=document.get("capped", True),
                approved_by=document["view"].get("approved_by"),
                state=JobState(document["view"]["state"]),
            )
            async for document in self.collection.find({"view.team": team}, dict.fromkeys(wanted, 1))
        }

    async def lines(self, team: str) -> list[LedgerEntry]:
        """The ledger lines of all of a team's jobs, deleted jobs' too."""
        cursor = self.collection.find({"view.team": team}, {"ledger": 1})
        return [from_document(line, LedgerEntry) async for document in cursor for line in document["ledger"]]

    async def to_release(self) -> list[Job]:
        """Jobs whose claims (and artifacts, where deleted) are to be let go."""
        cursor = self.collection.find({"lists": "release"}).limit(1000)
        return [_job(document) async for document in cursor]

    async def abandoned(self, before: datetime) -> list[str]:
        """Jobs that somebody began to try again before then, and never finished: ids."""
        where = {"lists": "kept", "view.when_room": False, "kept_at": {"$lt": before}}
        return [document["_id"] async for document in self.collection.find(where, {"_id": 1})]

    async def count_for_room(self, team: str) -> int:
        """A team's jobs that queue by themselves once they may."""
        where = {"view.team": team, "view.state": JobState.TRY_AGAIN_LATER, "view.when_room": True, "deleted_at": None}
        return int(await self.collection.count_documents(where))

    async def begin_release(self, job: Job) -> bool:
        """Nobody may use what the job holds from now on; False where it isn't to be let go any more."""
        result = await self.collection.update_one(
            {"_id": job.view.id, "view.version": job.view.version, "to_release": True},
            {"$set": {"releasing": True}, "$inc": {"view.version": 1}},
        )
        return result.matched_count == 1

    async def released(self, job_id: str) -> None:
        """The job holds nothing outside any more."""
        await self.collection.update_one(
            {"_id": job_id},
            {
                "$set": {"to_release": False, "releasing": False},
                "$pull": {"lists": "release"},
                "$inc": {"view.version": 1},
            },
        )

    async def parents(self) -> list[Job]:
        """Jobs that others hold because they train on from them."""
        cursor = self.collection.find({"lists": "children"})
        return [_job(document) async for document in cursor]

    async def exists(self, job_ids: Sequence[str]) -> set[str]:
        """Which of these ids are jobs."""
        cursor = self.collection.find({"_id": {"$in": list(job_ids)}}, {"_id": 1})
        return {document["_id"] async for document in cursor}


def is_over(document: Document, command: Envelope) -> bool:
    """Whether a command in a job's outbox comes too late: an assignment whose attempt has ended would begin it once more."""
    view = document["view"]
    assigned = JobState(view["state"]) in ASSIGNED and view["attempt"] == command.attempt
    return isinstance(command.body, JobAssign) and not assigned


def _document(job: Job) -> Document:
    document = to_document(job)
    return {"_id": document["view"].pop("id"), **document, "lists": _lists(job)}


def _lists(job: Job) -> list[str]:
    return [name for name, is_on in _LISTS.items() if is_on(job)]


def with_pace(paces: list[float], job: Job) -> list[float]:
    """What `finished_paces` gives once this job has ended, where these are what it gave before."""
    checkpoint = job.view.checkpoint
    if job.view.state not in _FINISHED or checkpoint is None:
        return paces
    if checkpoint.step < _LEAST_STEPS or checkpoint.stepping_seconds <= 0:
        return paces
    return [checkpoint.stepping_seconds / checkpoint.step, *paces][:_NEWEST]


def spent_by(job: Job, now: datetime) -> Spent:
    """What a job took that has ended, if only just."""
    view = job.view
    return Spent(
        team=view.team,
        starting_model=view.starting_model,
        accelerator=job.accelerator,
        batch_size=view.batch_size,
        requires=view.requires,
        served_at=view.attempts[-1].assigned_at if view.attempts else None,
        used_seconds=view.used_seconds or 0,
        ended_at=view.ended_at or now,
    )


def _spent(document: Document) -> Spent:
    view = document["view"]
    attempts = view["attempts"]
    return Spent(
        team=view["team"],
        starting_model=view["starting_model"],
        accelerator=document["accelerator"],
        batch_size=view["batch_size"],
        requires=view.get("requires", {}),
        served_at=attempts[-1]["assigned_at"] if attempts else None,
        used_seconds=view["used_seconds"],
        ended_at=view["ended_at"],
    )


def _job(document: Document) -> Job:
    view = {"id": document["_id"], **document["view"]}
    return from_document({**document, "view": view}, Job)
