"""What must be true of the scheduler's documents, looked at after each write and whenever everything is at rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, MutableMapping
from typing import Any

import structlog
from msgspec.structs import replace

from services.scheduler import orders
from services.scheduler.budget import balance
from services.scheduler.domain import Job
from services.scheduler.store import _job as read_job
from shared.contract.events import TeamChanged
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState
from shared.contract.topology import STATUS_FACTS
from shared.contract.views import LedgerEntry, TeamView
from shared.contract.wire import decode
from shared.runtime.mongo import Document, from_document
from tests.unit.scheduler.crew import Crew
from tests.unit.scheduler.laws import STOPPED_SOON, cut_off
from tests.unit.scheduler.plant import Plant


class Watch:
    """Sees each job as it was last written. What is wrong is noted, to be raised where a test would see it."""

    def __init__(self, plant: Plant, crew: Crew) -> None:
        self._plant, self._crew = plant, crew
        self._seen: dict[str, Job] = {}
        self._kept: dict[str, Document] = {}
        self.wrong: list[str] = []
        plant.wrote = self._look

    def jobs(self) -> list[Job]:
        """All jobs, in the order in which they were submitted."""
        return [read_job(document) for document in self._documents()]

    def _documents(self) -> list[Document]:
        return list(self._plant.store.collections["jobs"].values())

    def _look(self) -> None:
        for document in self._documents():
            job_id, before = document["_id"], self._kept.get(document["_id"])
            if document is before:
                continue
            self._kept[job_id] = document
            if before is not None and before["view"]["version"] == document["view"]["version"]:
                # Without a version of its own only what was told may be taken out.
                if {**before, "outbox": None} != {**document, "outbox": None}:
                    self.wrong.append(f"version {document['view']['version']} was written over: {document}")
                continue
            earlier, after = self._seen.get(job_id), read_job(document)
            self._seen[job_id] = after
            self.wrong += [f"{what}: {after.view}" for what in self._written(earlier, after)]

    def _written(self, before: Job | None, after: Job) -> Iterator[str]:
        view = after.view
        yield from _contradictions(after)
        claims = self._plant.datasets.claims.get(view.id)
        claimed = set() if claims is None else claims.datasets
        if (view.state not in TERMINAL or view.when_room) and not claimed.issuperset(view.dataset_ids):
            yield f"it holds {claimed or 'nothing'} of its datasets"
        if before is None:
            return
        old = before.view
        if view.version != old.version + 1:
            yield f"version {view.version} after {old.version}"
        if old.state in TERMINAL - {JobState.TRY_AGAIN_LATER} and _result(before) != _result(after):
            yield f"it had ended {old.state}"
        if old.state in STOPPED_SOON and view.state not in STOPPED_SOON | TERMINAL:
            yield f"it was {old.state}"
        if view.attempt != old.attempt and (view.attempt != old.attempt + 1 or old.state is not JobState.QUEUED):
            yield f"attempt {view.attempt} after {old.attempt}, when it was {old.state}"
        if view.steps_completed < old.steps_completed:
            yield f"step {view.steps_completed} after {old.steps_completed}"
        if after.term < before.term:
            yield f"term {after.term} after {before.term}"
        if view.attempts and view.attempts[-1].outcome == "lost" != old.attempts[-1].outcome:
            attempt = view.attempts[-1]
            if self._crew.holder(attempt.trainer, view.id, attempt.number) is not None:
                yield f"attempt {attempt.number} was given up as lost, and {attempt.trainer} holds it with a lease"

    def books(self) -> list[str]:
        """Teams that have spent more than they had."""
        return [
            f"team {team} is {-seconds} s over its minutes" for team, seconds in self._left().items() if seconds < 0
        ]

    def _left(self) -> Counter[str]:
        """Each team's balance."""
        left: Counter[str] = Counter()
        for team in self._plant.store.collections["teams"].values():
            left[team["_id"]] += balance([from_document(line, LedgerEntry) for line in team.get("grants", [])])
        for job in self.jobs():
            left[job.view.team] += balance(job.ledger)
        return left

    def told(self) -> list[str]:
        """Teams whose minutes, as they were told last, are not what their books say."""
        newest: dict[str, TeamView] = {}
        for message in self._plant.broker.waiting(STATUS_FACTS.name):
            body = decode(message.body).body
            if isinstance(body, TeamChanged) and body.team.version >= newest.get(body.team.team, body.team).version:
                newest[body.team.team] = body.team
        left = self._left()
        return [
            f"{view}, but {left[team]} s are left"
            for team, view in newest.items()
            if view.balance_seconds != left[team]
        ]

    def rest(self) -> list[str]:
        """What is wrong though nothing is under way: slots given twice, attempts that go on though they are over."""
        jobs, wrong = {job.view.id: job for job in self.jobs()}, list(self._plant.dead_letters())
        given: Counter[str | None] = Counter(job.view.trainer for job in jobs.values() if job.view.state in ASSIGNED)
        for trainer in self._crew.trainers:
            if not (trainer.alive and trainer.reached):
                continue
            if given[trainer.id] > trainer.slots:
                wrong.append(f"{trainer.id} has {trainer.slots} slots and was given {given[trainer.id]} jobs")
            for attempt in trainer.held.values():
                view = jobs[attempt.job_id].view
                if (view.attempt, view.trainer) != (attempt.number, trainer.id) and not attempt.over:
                    wrong.append(f"{trainer.id} goes on with attempt {attempt.number} of {view}")
        return wrong

    def unfinished(self) -> list[str]:
        """Jobs that neither ended nor say truly why they wait, and what those that ended have left behind, once everybody was
        well for long enough."""
        wrong = []
        claims = set(self._plant.datasets.claims)
        for job in self.jobs():
            view = job.view
            if view.state not in TERMINAL and not (view.state is JobState.QUEUED and not self._somebody()):
                wrong.append(f"it is still {view.state}: {view}")
            keeps = job.deleted_at is None and (view.state is not JobState.TRY_AGAIN_LATER or view.when_room)
            if job.to_release or (view.id in claims) != keeps:
                wrong.append(f"it is {view.state}, its claims are {'kept' if view.id in claims else 'gone'}: {view}")
            if view.when_room and not self._is_true(job):
                wrong.append(f"it waits for room, though there is some: {view}")
        known = {job.view.id for job in self.jobs()}
        return [*wrong, *(f"claims of {job_id}, which is no job" for job_id in claims - known)]

    def _somebody(self) -> bool:
        """Whether there is a trainer that takes jobs."""
        asked = {one["_id"] for one in self._plant.store.documents("trainers") if one.get("drain_asked")}
        return any(one.alive and not one.draining and one.id not in asked for one in self._crew.trainers)

    def _is_true(self, job: Job) -> bool:
        """Whether the reason for which a job waits for room is one."""
        assert job.view.reason is not None
        teams = {team["_id"]: team for team in self._plant.store.documents("teams")}
        match job.view.reason.code:
            case "no_capacity":
                return not self._somebody()
            case "paused":
                return any(teams.get(name, {}).get("pause") for name in ("*", job.view.team))
            case "needs_approval":
                return teams[job.view.team]["member_cap_minutes"] is not None
            case "not_enough_minutes":
                return job.view.max_seconds > self._left()[job.view.team]
            case _:
                return False


class Complaints:
    """Hears what the scheduler's own log says that it must never say; the rest of the log is dropped meanwhile."""

    # An error that nobody reckoned with, whoever it befell.
    _NEVER = frozenset({"job.inconsistent", "request.failed", "background.died", "drain.failed", "message.rejected"})
    _FAILED = frozenset({"loop.failed", "message.failed", "job.unreleased"})
    _EXPECTED = ("AutoReconnect", "Retry", "datasets_unreachable", "can't be reached")

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._before: dict[str, Any] = {}

    def __enter__(self) -> Complaints:
        self._before = structlog.get_config()
        structlog.configure(processors=[self._hear])
        return self

    def __exit__(self, *_: object) -> None:
        structlog.configure(**self._before)

    def _hear(self, _: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event, error = entry["event"], str(entry.get("error", ""))
        if event in self._NEVER or (event in self._FAILED and not any(one in error for one in self._EXPECTED)):
            self.heard.append(str({**entry, "exc_info": None}))
        raise structlog.DropEvent


def _contradictions(job: Job) -> Iterator[str]:
    """A job that doesn't fit itself."""
    view, total = job.view, balance(job.ledger)
    if view.state in TERMINAL:
        seconds = 0.0 if view.checkpoint is None else view.checkpoint.stepping_seconds
        used, most = view.used_seconds or 0, min(int(seconds), view.reserved_seconds)
        if total != -used or (used > most if cut_off(job) else used != most):
            yield f"it made {seconds} s of steps, was charged {view.used_seconds} s, and its lines sum up to {total}"
    elif total != -view.reserved_seconds or view.used_seconds is not None:
        yield f"it has not ended, and its lines sum up to {total}"
    if view.state is JobState.STATE_UNSPECIFIED or orders.problem_of(job) is not None:
        yield f"it contradicts itself: {orders.problem_of(job)}"
    if (view.trainer is not None) != (view.state in ASSIGNED):
        yield f"it is {view.state} on {view.trainer}"
    if view.steps_completed != (0 if view.checkpoint is None else view.checkpoint.step):
        yield "its steps are not its checkpoint's"


def _result(job: Job) -> Any:
    """What never changes once a job has ended. Of one that was cut off a last checkpoint may be heard of."""
    view = replace(job.view, export=None, version=0, when_room=False)
    if cut_off(job):
        view = replace(view, checkpoint=None, steps_completed=0)
    return view, job.ledger, job.log_tail
