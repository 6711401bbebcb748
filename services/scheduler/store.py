"""What the scheduler keeps: jobs with their outbox, trainers as last heard, teams with their grants.

Owns the database guard: a decision is written only where the job is still the one that was decided on (version, attempt, and a
state from which the transition may leave), and its events go into the same document with the same update. Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec.structs import replace

from services.scheduler.budget import balance
from services.scheduler.domain import Change, Job
from services.scheduler.plan import ActiveJob, Lease, Trainer, WaitingJob
from shared.contract import topology
from shared.contract.errors import NotFound, Retry
from shared.contract.events import JobChanged, JobDeleted, Message
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState, sources_of
from shared.contract.starting_models import Accelerator
from shared.contract.views import LedgerEntry, TeamView
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


class JobStore:
    """The jobs of all teams."""

    def __init__(self, database: Database, envelope: Enveloper) -> None:
        self.collection = database["jobs"]
        self._envelope = envelope

    async def prepare(self) -> None:
        """Create the indexes."""
        await ensure_indexes(
            self.collection,
            [
                outbox.INDEX,
                IndexModel([("view.state", ASCENDING), ("view.queued_at", ASCENDING)], name="queue"),
                IndexModel([("view.team", ASCENDING), ("view.state", ASCENDING)], name="team"),
                IndexModel(
                    [("view.starting_model", ASCENDING), ("view.state", ASCENDING), ("view.ended_at", DESCENDING)],
                    name="finished",
                ),
                IndexModel([("to_release", ASCENDING)], name="release"),
            ],
        )

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
        fact: Message = JobChanged(job=after.view, trigger=change.cause)
        if after.deleted_at is not None:
            fact = JobDeleted(job_id=after.view.id, version=after.view.version)
        entries = [outbox.entry(self._envelope(fact, after))]
        if change.command is not None and change.trainer is not None:
            queue = topology.trainer_queue(change.trainer).name
            entries.append(outbox.entry(self._envelope(change.command, after), to=queue))
        document = _document(after)
        del document["_id"]
        result = await self.collection.update_one(guard, {"$set": document, "$push": outbox.push(entries)})
        return after if result.matched_count == 1 else None

    async def decide(self, load: str, decide: Callable[[Job], Change], *, team: str | None = None) -> Job:
        """Load, decide, write; again where somebody was quicker. Raises what `decide` raises, NotFound, Retry."""
        for _ in range(_CONFLICTS):
            job = await self.find(load) if team is None else await self.get(team, load)
            if job is None:
                raise NotFound("job", load)
            after = await self.apply(job, decide(job))
            if after is not None:
                return after
        raise Retry(f"job {load} kept changing under {_CONFLICTS} decisions")

    async def waiting(self) -> list[Job]:
        """All queued jobs, oldest first."""
        cursor = self.collection.find({"view.state": JobState.QUEUED}).sort("view.queued_at", ASCENDING)
        return [_job(document) async for document in cursor]

    async def active(self) -> list[Job]:
        """All jobs that are assigned to a trainer."""
        cursor = self.collection.find({"view.state": {"$in": sorted(ASSIGNED)}})
        return [_job(document) async for document in cursor]

    async def finished_paces(self, starting_model: str, batch_size: int, accelerator: Accelerator) -> list[float]:
        """Seconds a step of the last 20 runs alike that got somewhere."""
        cursor = self.collection.find(
            {
                "view.starting_model": starting_model,
                "view.state": {"$in": [JobState.SUCCEEDED, JobState.STOPPED]},
                "view.batch_size": batch_size,
                "accelerator": accelerator,
                "view.checkpoint.step": {"$gte": 20},
            },
            {"view.checkpoint": 1},
        )
        documents = await cursor.sort("view.ended_at", DESCENDING).limit(20).to_list(20)
        checkpoints = [document["view"]["checkpoint"] for document in documents]
        return [float(c["stepping_seconds"]) / c["step"] for c in checkpoints if c["stepping_seconds"] > 0]

    async def ledger(self, team: str) -> dict[str, list[LedgerEntry]]:
        """A team's ledger lines by job, deleted jobs' too."""
        cursor = self.collection.find({"view.team": team}, {"ledger": 1})
        result: dict[str, list[LedgerEntry]] = {}
        async for document in cursor:
            result[document["_id"]] = [from_document(line, LedgerEntry) for line in document["ledger"]]
        return result

    async def count_alive(self, team: str | None = None) -> int:
        """Jobs that wait or run, of one team or of all."""
        alive = [state for state in JobState if state not in TERMINAL]
        where: Document = {"view.state": {"$in": alive}}
        if team is not None:
            where["view.team"] = team
        return int(await self.collection.count_documents(where))

    async def to_release(self) -> list[Job]:
        """Jobs whose claims (and artifacts, where deleted) are to be let go."""
        cursor = self.collection.find({"to_release": True}).limit(100)
        return [_job(document) async for document in cursor]

    async def released(self, job_id: str) -> None:
        """The job holds nothing outside any more."""
        await self.collection.update_one({"_id": job_id}, {"$set": {"to_release": False}})

    async def exists(self, job_ids: Sequence[str]) -> set[str]:
        """Which of these ids are jobs."""
        cursor = self.collection.find({"_id": {"$in": list(job_ids)}}, {"_id": 1})
        return {document["_id"] async for document in cursor}


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
        """Keep what a heartbeat said."""
        await self._collection.replace_one({"_id": trainer.id}, to_document(trainer), upsert=True)

    async def forget(self, before: datetime) -> None:
        """Drop trainers that have been silent since `before`."""
        await self._collection.delete_many({"seen_at": {"$lt": before}})


class TeamStore:
    """Grants, and reservations on their way into a job."""

    def __init__(self, database: Database, jobs: JobStore, granted_at_first: int) -> None:
        self._collection = database["teams"]
        self._jobs = jobs
        self._granted = granted_at_first

    async def view(self, team: str, now: datetime) -> TeamView:
        """The team's minutes; the version rises with every call, so that of two views the later wins."""
        document = await self._load(team, now)
        counted = await self._collection.find_one_and_update(
            {"_id": team}, {"$inc": {"view_version": 1}}, return_document=True, projection={"view_version": 1}
        )
        lines = [line for job in (await self._jobs.ledger(team)).values() for line in job]
        granted = balance(_grants(document))
        used = -sum(line.seconds for line in lines if line.kind == "use")
        left = granted + balance(lines)
        return TeamView(
            team=team,
            granted_seconds=granted,
            used_seconds=used,
            reserved_seconds=granted - used - left,
            balance_seconds=left,
            version=int(counted["view_version"]) if counted else 0,
        )

    async def lines(self, team: str, now: datetime) -> list[LedgerEntry]:
        """The team's whole statement, oldest first."""
        document = await self._load(team, now)
        jobs = await self._jobs.ledger(team)
        return sorted([*_grants(document), *(line for job in jobs.values() for line in job)], key=lambda line: line.at)

    async def available(self, team: str, now: datetime, *, besides: str | None = None) -> tuple[int, int]:
        """(balance less reservations on their way, version of the team): what can be reserved if the version still holds."""
        document = await self._load(team, now)
        jobs = await self._jobs.ledger(team)
        pending = sum(
            int(entry["seconds"])
            for entry in document["pending"]
            if entry["job_id"] not in jobs and entry["job_id"] != besides
        )
        left = balance(_grants(document)) + balance([line for job in jobs.values() for line in job])
        return left - pending, int(document["version"])

    async def reserve(self, team: str, job_id: str, seconds: int, now: datetime, *, version: int) -> bool:
        """Announce a reservation before its job is inserted; False where another one came between (look again)."""
        result = await self._collection.update_one(
            {"_id": team, "version": version},
            {"$push": {"pending": {"job_id": job_id, "seconds": seconds, "at": now}}, "$inc": {"version": 1}},
        )
        return result.matched_count == 1

    async def arrived(self, team: str, job_id: str) -> None:
        """The job is inserted (or never will be): its own line counts from now on."""
        await self._collection.update_one({"_id": team}, {"$pull": {"pending": {"job_id": job_id}}})

    async def drop_stale_reservations(self, before: datetime) -> None:
        """Forget announcements whose submitter died before it inserted the job."""
        await self._collection.update_many(
            {"pending.at": {"$lt": before}}, {"$pull": {"pending": {"at": {"$lt": before}}}, "$inc": {"version": 1}}
        )

    async def teams(self) -> list[str]:
        """All teams that were ever seen."""
        return [document["_id"] async for document in self._collection.find({}, {"_id": 1})]

    async def _load(self, team: str, now: datetime) -> Document:
        document = await self._collection.find_one({"_id": team})
        if document is not None:
            return document
        grant = LedgerEntry(kind="grant", seconds=self._granted, at=now, note="season grant")
        fresh = {"_id": team, "version": 0, "view_version": 0, "pending": [], "grants": [to_document(grant)]}
        try:
            await self._collection.insert_one(fresh)
        except DuplicateKeyError:
            # Two requests saw a new team at once; the first one's document is the team's.
            return await self._load(team, now)
        return fresh


def waiting_job(job: Job) -> WaitingJob:
    """What planning needs of a queued job."""
    assert job.view.queued_at is not None
    return WaitingJob(
        id=job.view.id,
        team=job.view.team,
        queued_at=job.view.queued_at,
        front=job.front,
        starting_model=job.view.starting_model,
        accelerator=job.accelerator,
    )


def active_job(job: Job) -> ActiveJob:
    """What planning needs of an assigned job."""
    assert job.view.trainer is not None
    assert job.assigned_at is not None
    return ActiveJob(
        id=job.view.id,
        team=job.view.team,
        trainer=job.view.trainer,
        attempt=job.view.attempt,
        assigned_at=job.assigned_at,
    )


def merged_leases(known: Sequence[Lease], held: Sequence[Lease], now: datetime, keep_seconds: float) -> list[Lease]:
    """What a trainer holds by its latest word, and for a while what it held before: an end may still be on its way."""
    current = {(lease.job_id, lease.attempt): lease for lease in held}
    earlier = [
        lease
        for lease in known
        if (lease.job_id, lease.attempt) not in current and (now - lease.seen_at).total_seconds() <= keep_seconds
    ]
    return [*current.values(), *earlier]


def _grants(document: Document) -> list[LedgerEntry]:
    return [from_document(entry, LedgerEntry) for entry in document["grants"]]


def _document(job: Job) -> Document:
    document = to_document(job)
    return {"_id": document["view"].pop("id"), **document}


def _job(document: Document) -> Job:
    view = {"id": document["_id"], **document["view"]}
    return from_document({**document, "view": view}, Job)
