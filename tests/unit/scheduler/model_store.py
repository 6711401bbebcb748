"""What the real store would write for a decision: its guard and the commands in its outbox, and whether a job fits a guard."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Any, NamedTuple, cast

from msgspec.structs import replace

from services.scheduler.domain import Change, Job
from services.scheduler.store import JobStore
from shared.contract.events import JobAssign, JobStop, Message
from shared.contract.wire import Envelope, decode
from shared.runtime.mongo import Database, Document
from tests.support.documents import matches
from tests.unit.scheduler.model_trainer import Command
from tests.unit.scheduler.samples import NOW

_PARTS = {"version": {"view.version"}, "states": {"view.state", "view.attempt"}, "term": {"term"}}


class Written(NamedTuple):
    """A write as the store would have made it."""

    guard: Document
    commands: list[Command]


class RecordingStore:
    """The real store on a collection that only notes what is asked of it."""

    def __init__(self) -> None:
        self._asked: list[tuple[Document, Document]] = []
        self._store = JobStore(cast(Database, {"jobs": self}), _envelope)

    def write(self, job: Job, change: Change) -> Written:
        """The one update that carries a decision about `job` out."""
        self._asked.clear()
        work = self._store.apply(job, change)
        try:
            work.send(None)
        except StopIteration:
            ((guard, update),) = self._asked
        else:
            raise AssertionError("a write to memory never waits")
        outbox = update["$push"]["outbox"]["$each"]
        return Written(guard, [_command(one["to"], decode(one["data"])) for one in outbox if one["to"] is not None])

    def outranked(self, job: Job, term: int) -> Job:
        """The job once a planner of this term has taken over."""
        self._asked.clear()
        with contextlib.suppress(StopIteration):
            self._store.outrank(term).send(None)
        ((guard, update),) = self._asked
        assert update["$inc"] == {"view.version": 1}, "what was decided on before would be written all the same"
        return replace(job, term=update["$set"]["term"]) if fits(guard, job, version=1, without=()) else job

    async def update_one(self, guard: Document, update: Document) -> Any:
        """The collection's part."""
        self._asked.append((guard, update))
        return _Found

    update_many = update_one


class _Found:
    matched_count = 1


def fits(guard: Document, job: Job, *, version: int, without: Collection[str]) -> bool:
    """Whether the store takes a write with this guard where it has this job, in this version."""
    off = {path for name in without for path in _PARTS.get(name, ())}
    view = {"version": version, "attempt": job.view.attempt, "state": job.view.state.value}
    document = {"_id": job.view.id, "view": view, "term": job.term}
    return matches(document, {path: guard[path] for path in guard.keys() - off})


def _command(queue: str, envelope: Envelope) -> Command:
    index, attempt, body = int(queue.removeprefix("trainer.t")), envelope.attempt, envelope.body
    assert attempt is not None
    if isinstance(body, JobAssign):
        return Command("assign", index, attempt, known=body.known_step)
    assert isinstance(body, JobStop)
    return Command("stop", index, attempt, body.reason)


def _envelope(body: Message, job: Job) -> Envelope:
    view = job.view
    return Envelope(
        id="m", time=NOW, source="scheduler", team=view.team, body=body, job_id=view.id, attempt=view.attempt
    )
