"""What duties of the scheduler stand on in tests that come between their steps: a clock, jobs and a board, all in hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from math import inf
from typing import Any

from services.scheduler import orders
from services.scheduler.board import needs_of
from services.scheduler.domain import Change, Job
from services.scheduler.snapshot import Snapshot, WaitingJob
from shared.contract.errors import NotFound
from tests.unit.scheduler.samples import NOW, after, queued, running


class Clock:
    """Stands still until it is put forward, by `seconds`; `set_by` is how much of that the wall clock alone was set."""

    seconds = 0.0
    set_by = 0.0

    def now(self) -> Any:
        return after(self.seconds)

    def monotonic(self) -> float:
        return self.seconds - self.set_by


class Jobs:
    """Keeps jobs in a dictionary; `refusals` are raised by decide, by job."""

    def __init__(self, *jobs: Job) -> None:
        self.kept = {job.view.id: job for job in jobs}
        self.refusals: dict[str, Exception] = {}

    async def for_room(self) -> list[Job]:
        return list(self.kept.values())

    async def find(self, job_id: str) -> Job | None:
        return self.kept.get(job_id)

    async def decide(self, job_id: str, decide: Callable[[Job], Change], **_: object) -> Job:
        if job_id in self.refusals:
            raise self.refusals[job_id]
        if job_id not in self.kept:
            raise NotFound("job", job_id)
        self.kept[job_id] = decide(self.kept[job_id]).job
        return self.kept[job_id]


class BoardOf:
    """A board with these jobs on it, of which it says that it is live."""

    live = True
    listening_since = NOW

    def __init__(self, *jobs: Job) -> None:
        self.on_it = {job.view.id: job for job in jobs}
        self.seen: Snapshot | None = None
        self.while_waiting: Callable[[], None] = lambda: None

    def jobs(self) -> list[Job]:
        return list(self.on_it.values())

    def longest_window(self, _: object) -> float:
        return inf

    def last_able(self, _: object) -> datetime | None:
        return None

    def find(self, job_id: str) -> Job | None:
        return self.on_it.get(job_id)

    def put(self, job: Job) -> None:
        self.on_it[job.view.id] = job

    async def compare(self) -> list[str]:
        return []

    async def know_paces(self) -> None:
        self.while_waiting()

    def snapshot(self, _: object) -> Snapshot:
        assert self.seen is not None
        return self.seen


def waiting_job(job_id: str) -> WaitingJob:
    """A job that waits, as planning sees it."""
    job = queued(job_id)
    assert job.view.queued_at is not None
    needs = needs_of(job.view.starting_model, "cpu", 8)
    return WaitingJob(id=job_id, team="demo", queued_at=job.view.queued_at, needs=needs)


def assigned(job_id: str) -> Job:
    """A job that runs."""
    return running(orders.assign(queued(job_id), "t1", NOW).job)
