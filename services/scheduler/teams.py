"""What the scheduler keeps of teams: grants, limits, pauses, and reservations on their way into a job.

Owns that no minute is spent twice: a reservation is announced here, guarded by the team's version, before its job is
inserted. A balance is nowhere kept: it is the sum of the grants here and of the ledger lines in the jobs. Nothing here decides.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import msgspec

from services.scheduler.books import Books
from services.scheduler.budget import balance
from services.scheduler.store import JobStore
from shared.contract.api.teams import Pause, Reservation
from shared.contract.errors import KeyReused, NotFound
from shared.contract.views import LedgerEntry, TeamView
from shared.runtime.mongo import Database, Document, DuplicateKeyError, from_document, to_document

# An announced reservation that found no job after so long belongs to a submitter that died.
_PENDING_LIFETIME = timedelta(minutes=2)
_EVERYBODY = "*"


class TeamLook(msgspec.Struct, frozen=True, kw_only=True):
    """A team at one moment, reservations on their way counted. `left` is what can be reserved (seconds), if `version` still
    holds; `jobs` wait or run; `pause` is the team's or everybody's; `member_left` is what the asking member may reserve without
    approval, None for no cap. `pending` are the announced reservations whose jobs have no lines yet."""

    left: int
    version: int
    jobs: int
    member_left: int | None
    pause: Pause | None
    pending: list[Document]


class TeamSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A team among all the others; `pause` is the one in force for it, be it everybody's, `members` how many are listed."""

    minutes: TeamView
    members: int
    pause: Pause | None


class TeamStore:
    """Teams. One that is first heard of is made with the installation's season grant (seconds)."""

    def __init__(self, database: Database, jobs: JobStore, books: Books, granted_at_first: int) -> None:
        self.collection = database["teams"]
        self._jobs = jobs
        self._books = books
        self._granted = granted_at_first
        # Whose announcements these are: the same request, sent to two schedulers, is announced by both.
        self._name = uuid.uuid4().hex

    async def view(self, team: str, now: datetime, *, afresh: bool = True) -> TeamView:
        """The team's minutes; the version rises with every call, so that of two views the later wins. Not `afresh`, what is
        remembered of its jobs will do: whoever plans hears of each write, and tells again what it hears later."""
        document = await self._counted(team, now)
        if afresh:
            self._books.forget(team)
        accounts = (await self._books.of(team, int(document["version"]))).values()
        return _view(
            document,
            sum(account.seconds for account in accounts),
            sum(account.used for account in accounts),
            int(document["view_version"]) + 1,
        )

    async def summaries(self, now: datetime) -> list[TeamSummary]:
        """All teams that were ever seen, by name. The store sums up the lines of their jobs; no job is read."""
        sums = await self._sums()
        documents = [document async for document in self.collection.find({}, {"outbox": 0})]
        everybodys = next((_pause(document, now) for document in documents if document["_id"] == _EVERYBODY), None)
        return [
            TeamSummary(
                minutes=_view(
                    document, *sums.get(document["_id"], (0, 0)), version=int(document.get("view_version", 0))
                ),
                members=len(document.get("members", [])),
                pause=everybodys or _pause(document, now),
            )
            for document in sorted(documents, key=lambda document: str(document["_id"]))
            if document["_id"] != _EVERYBODY
        ]

    async def lines(self, team: str, now: datetime) -> list[LedgerEntry]:
        """The team's whole statement, oldest first."""
        document = await self.load(team, now)
        return sorted([*_grants(document), *await self._jobs.lines(team)], key=lambda line: line.at)

    async def reservations(self, team: str) -> list[Reservation]:
        """What jobs that have not ended keep from the balance."""
        return [
            Reservation(
                job_id=job.view.id,
                description=job.view.description,
                state=job.view.state,
                seconds=job.view.reserved_seconds,
            )
            for job in await self._jobs.of_team(team)
        ]

    async def look(
        self, team: str, now: datetime, *, member: str = "", besides: str | None = None, afresh: bool = False
    ) -> TeamLook:
        """What admission looks at; `besides` is the job that asks. `afresh` asks the store, as a no should: what is remembered
        may lack what another scheduler has given back."""
        found = {
            document["_id"]: document async for document in self.collection.find({"_id": {"$in": [team, _EVERYBODY]}})
        }
        document = found.get(team) or await self.load(team, now)
        if afresh:
            self._books.forget(team)
        accounts = await self._books.of(team, int(document["version"]))
        pending = [
            entry
            for entry in document["pending"]
            if entry["job_id"] not in accounts or not accounts[entry["job_id"]].booked
        ]
        others = [entry for entry in pending if entry["job_id"] != besides]
        left = balance(_grants(document)) + sum(account.seconds for account in accounts.values())
        cap = document.get("member_cap_minutes")
        of_member = sum(one.seconds for one in accounts.values() if one.capped and one.created_by == member)
        under_way = sum(int(entry["seconds"]) for entry in others if entry.get("capped") and entry.get("by") == member)
        pauses = (_pause(found[name], now) for name in (team, _EVERYBODY) if name in found)
        return TeamLook(
            left=left - sum(int(entry["seconds"]) for entry in others),
            version=int(document["version"]),
            jobs=sum(account.alive for account in accounts.values()) + len(others),
            member_left=None if cap is None else int(cap) * 60 + of_member - under_way,
            pause=next((pause for pause in pauses if pause is not None), None),
            pending=pending,
        )

    async def reserve(
        self, team: str, job_id: str, seconds: int, now: datetime, look: TeamLook, *, by: str = "", capped: bool = True
    ) -> bool:
        """Announce a reservation before its job is inserted; False where another one came since the look. Those whose jobs have
        their own lines by now need no announcement any more."""
        entry = {"job_id": job_id, "seconds": seconds, "at": now, "by": by, "capped": capped, "from": self._name}
        waiting = [one for one in look.pending if (one["job_id"], one.get("from")) != (job_id, self._name)]
        result = await self.collection.update_one(
            {"_id": team, "version": look.version}, {"$set": {"pending": [*waiting, entry]}, "$inc": {"version": 1}}
        )
        if result.matched_count == 1:
            self._books.reserved(team, look.version)
        return result.matched_count == 1

    async def withdraw(self, team: str, job_id: str) -> None:
        """What was announced here for a job that didn't come to be, or that another scheduler made, counts no longer."""
        ours = {"job_id": job_id, "from": self._name}
        await self.collection.update_one({"_id": team}, {"$pull": {"pending": ours}, "$inc": {"version": 1}})

    async def drop_stale_reservations(self, now: datetime) -> None:
        """Forget announcements whose submitter died before it inserted the job."""
        before = now - _PENDING_LIFETIME
        await self.collection.update_many(
            {"pending.at": {"$lt": before}}, {"$pull": {"pending": {"at": {"$lt": before}}}, "$inc": {"version": 1}}
        )

    async def teams(self) -> list[str]:
        """All teams that were ever seen, by name."""
        return sorted([document["_id"] async for document in self._named({}) if document["_id"] != _EVERYBODY])

    async def create(self, team: str, seconds: int | None, now: datetime, by: str, request: str) -> bool:
        """A new team with a season grant; False if it is there already and another request made it."""
        fresh = self._fresh(team, self._granted if seconds is None else seconds, now, by)
        try:
            await self.collection.insert_one({**fresh, "made_by": request})
        except DuplicateKeyError:
            return await self.collection.find_one({"_id": team, "made_by": request}, {"_id": 1}) is not None
        return True

    async def grant(self, team: str, grant_id: str, line: LedgerEntry) -> None:
        """Add a line to a team's grants, once by its id. Raises NotFound for a team that was never seen, and UserError
        `idempotency_key_reused` where another line has this id."""
        entry = {"id": grant_id, **to_document(line)}
        result = await self.collection.update_one(
            {"_id": team, "grants.id": {"$ne": grant_id}}, {"$push": {"grants": entry}, "$inc": {"version": 1}}
        )
        if result.matched_count == 1:
            return
        document = await self.collection.find_one({"_id": team}, {"grants": 1})
        if document is None:
            raise NotFound("team", team)
        known = next(entry for entry in document["grants"] if entry.get("id") == grant_id)
        if (known["seconds"], known["note"]) != (line.seconds, line.note):
            raise KeyReused("grant")

    async def pause(self, team: str | None, pause: Pause | None) -> None:
        """Close training for a team (None: for everybody), or open it. Raises NotFound for a team that was never seen."""
        value = None if pause is None else to_document(pause)
        result = await self.collection.update_one(
            {"_id": _EVERYBODY if team is None else team}, {"$set": {"pause": value}}, upsert=team is None
        )
        if team is not None and result.matched_count == 0:
            raise NotFound("team", team)

    async def paused(self, team: str | None, now: datetime) -> Pause | None:
        """The pause that is in force for a team, be it everybody's; for None everybody's alone."""
        names = [_EVERYBODY] if team is None else [_EVERYBODY, team]
        found = [_pause(document, now) async for document in self._named({"_id": {"$in": names}})]
        return next((pause for pause in found if pause is not None), None)

    async def cap(self, team: str, now: datetime) -> int | None:
        """Minutes that a member may use without a mentor's approval."""
        return (await self.load(team, now)).get("member_cap_minutes")

    async def set_cap(self, team: str, minutes: int | None, now: datetime) -> None:
        """Set it, None for no cap."""
        await self.load(team, now)
        await self.collection.update_one({"_id": team}, {"$set": {"member_cap_minutes": minutes}})

    async def _sums(self) -> dict[str, tuple[int, int]]:
        """By team, the sum of all its jobs' ledger lines and that of those which are for use (seconds)."""
        of_kind = self._jobs.collection.aggregate(
            [
                {"$project": {"view.team": 1, "ledger.kind": 1, "ledger.seconds": 1}},
                {"$unwind": "$ledger"},
                {
                    "$group": {
                        "_id": {"team": "$view.team", "kind": "$ledger.kind"},
                        "seconds": {"$sum": "$ledger.seconds"},
                    }
                },
            ]
        )
        sums: dict[str, tuple[int, int]] = {}
        async for found in of_kind:
            team, seconds = found["_id"]["team"], int(found["seconds"])
            total, used = sums.get(team, (0, 0))
            sums[team] = total + seconds, used + (seconds if found["_id"]["kind"] == "use" else 0)
        return sums

    def _named(self, where: Document):  # type: ignore[no-untyped-def]  # motor's cursor has no public type
        return self.collection.find(where, {"pause": 1})

    async def _counted(self, team: str, now: datetime) -> Document:
        """The team's document, its count of views raised by one after it was read."""
        while True:
            document = await self.load(team, now)
            counted = await self.collection.update_one(
                {"_id": team, "view_version": document["view_version"]}, {"$inc": {"view_version": 1}}
            )
            if counted.matched_count == 1:
                return document

    async def load(self, team: str, now: datetime) -> Document:
        """The team's document; one that is first heard of is made."""
        document = await self.collection.find_one({"_id": team})
        if document is not None:
            return document
        fresh = self._fresh(team, self._granted, now, "")
        try:
            await self.collection.insert_one(fresh)
        except DuplicateKeyError:
            # Two requests saw a new team at once; the first one's document is the team's.
            return await self.load(team, now)
        return fresh

    @staticmethod
    def _fresh(team: str, seconds: int, now: datetime, by: str) -> Document:
        grant = LedgerEntry(kind="grant", seconds=seconds, at=now, note="season grant", by=by)
        return {
            "_id": team,
            "version": 0,
            "view_version": 0,
            "pending": [],
            "grants": [{"id": "season", **to_document(grant)}],
            "members": [],
            "former": [],
            "list_version": 0,
            "member_cap_minutes": None,
            "pause": None,
        }


def _view(document: Document, lines: int, used: int, version: int) -> TeamView:
    """A team's minutes, of the sum of its jobs' lines and of those which are for use (seconds, at most 0)."""
    granted = balance(_grants(document))
    return TeamView(
        team=document["_id"],
        granted_seconds=granted,
        used_seconds=-used,
        reserved_seconds=-lines + used,
        balance_seconds=granted + lines,
        version=version,
    )


def _pause(document: Document, now: datetime) -> Pause | None:
    """The document's pause, while it is in force."""
    if not document.get("pause"):
        return None
    pause = from_document(document["pause"], Pause)
    return pause if pause.until is None or pause.until > now else None


def _grants(document: Document) -> list[LedgerEntry]:
    return [from_document(entry, LedgerEntry) for entry in document["grants"]]
