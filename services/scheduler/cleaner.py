"""Letting go of what ended, and looking after the books: claims, artifacts, old trainers, jobs that contradict
themselves, how full the room is.

Each is one small class with one public method that does one round; app.py gives each its pace. Only the scheduler that plans
does any of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from services.scheduler import orders
from services.scheduler.board import Board
from services.scheduler.datasets import DatasetService
from services.scheduler.domain import Change, Job
from services.scheduler.plan import is_live
from services.scheduler.records import CapacityHistory
from services.scheduler.store import JobStore
from services.scheduler.teams import TeamStore
from services.scheduler.trainers import TrainerStore
from shared.contract.api.admin import CapacityPoint
from shared.contract.errors import NotFound, Stale, UserError
from shared.runtime import log
from shared.runtime.artifacts import Artifacts
from shared.runtime.clock import Clock

_FORGET_SILENT, _FORGET_GONE = timedelta(days=1), timedelta(hours=1)
_CLAIM_GRACE_SECONDS = 600


class Cleaner:
    """Lets go of what ended: claims of refused and deleted jobs, artifacts of deleted ones, claims and reservations whose
    submitter died, trainers long gone."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        trainers: TrainerStore,
        teams: TeamStore,
        datasets: DatasetService,
        artifacts: Artifacts,
        clock: Clock,
        term: Callable[[], int | None],
    ) -> None:
        self._jobs = jobs
        self._trainers = trainers
        self._teams = teams
        self._datasets = datasets
        self._artifacts = artifacts
        self._clock = clock
        self._term = term
        self._log = log.get("cleaner")

    async def round(self) -> None:
        """See the class."""
        if self._term() is None:
            return
        now = self._clock.now()
        for job in await self._jobs.to_release():
            try:
                await self._release(job)
            except Exception as error:  # noqa: BLE001 - whatever an artifact store's client raises
                # One that can't be let go now must not keep the others, nor the rest of the round, from it.
                self._log.warning("job.unreleased", job=job.view.id, error=repr(error)[:300])
        await self._trainers.forget(silent_since=now - _FORGET_SILENT, gone_since=now - _FORGET_GONE)
        await self._teams.drop_stale_reservations(now)
        for job_id in await self._jobs.abandoned(now - timedelta(seconds=_CLAIM_GRACE_SECONDS)):
            with suppress(Stale):
                await self._jobs.decide(job_id, orders.let_claims_go)
        await self._forget_children()
        try:
            claimed = await self._datasets.old_claims(_CLAIM_GRACE_SECONDS)
        except UserError as error:
            self._log.info("claims.unread", error=error.message)
            return
        known = await self._jobs.exists([claim.job_id for claim in claimed])
        for claim in claimed:
            if claim.job_id not in known:
                await self._datasets.release(claim.team, claim.job_id)
                self._log.warning("claim.orphaned", job=claim.job_id)

    async def _release(self, job: Job) -> None:
        if not job.releasing and not await self._jobs.begin_release(job):
            return  # it was tried again in the meantime
        await self._datasets.release(job.view.team, job.view.id)
        if job.deleted_at is not None:
            await asyncio.to_thread(self._artifacts.delete, f"jobs/{job.view.id}")
            await self.release_parent(job)
        await self._jobs.released(job.view.id)
        self._log.info("job.released", job=job.view.id)

    async def release_parent(self, job: Job) -> None:
        """A deleted job doesn't keep its parent any longer."""
        if job.view.parent_id is None:
            return
        try:
            await self._jobs.decide(job.view.parent_id, lambda parent: orders.release_child(parent, job.view.id))
        except (Stale, NotFound) as why:
            self._log.debug("parent.free", job=job.view.id, why=str(why))

    async def _forget_children(self) -> None:
        """Let go of parents that are held by jobs which never came to be."""
        before = self._clock.now() - timedelta(seconds=_CLAIM_GRACE_SECONDS)
        for parent in await self._jobs.parents():
            old = [child.id for child in parent.children if child.at < before]
            for job_id in set(old) - await self._jobs.exists(old):
                await self._jobs.decide(parent.view.id, partial(orders.release_child, child_id=job_id))
                self._log.warning("child.orphaned", job=parent.view.id, child=job_id)


class Auditor:
    """Compares the board with the store, and takes a job that contradicts itself out of the play before more is done with
    it."""

    def __init__(
        self, *, jobs: JobStore, board: Board, term: Callable[[], int | None], changed: Callable[[Job], None]
    ) -> None:
        self._jobs = jobs
        self._board = board
        self._term = term
        self._changed = changed
        self._log = log.get("auditor")

    async def round(self) -> None:
        """See the class."""
        term = self._term()
        if term is None or not self._board.live:
            return
        missed = await self._board.compare()
        if missed:
            self._log.info("board.behind", jobs=missed[:20], count=len(missed))
        for job in list(self._board.jobs()):
            problem = orders.problem_of(job)
            if problem is None:
                continue
            try:
                after = await self._jobs.decide(job.view.id, lambda job: _condemn(job, term))
            except Stale as why:
                self._log.info("job.sound", job=job.view.id, why=str(why))
                continue
            self._log.error("job.inconsistent", job=job.view.id, problem=problem)
            self._changed(after)


class CapacityRecorder:
    """Writes down how full the room is."""

    def __init__(
        self,
        *,
        board: Board,
        history: CapacityHistory,
        clock: Clock,
        lease: timedelta,
        term: Callable[[], int | None],
    ) -> None:
        self._board = board
        self._history = history
        self._clock = clock
        self._lease = lease
        self._term = term

    async def round(self) -> None:
        """See the class."""
        if self._term() is None or not self._board.live:
            return
        now = self._clock.now()
        live = [trainer for trainer in self._board.trainers.values() if is_live(trainer, self._lease, now)]
        waiting, active = self._board.counts()
        await self._history.add(
            CapacityPoint(
                at=now,
                trainers=len(live),
                slots=sum(trainer.slots for trainer in live),
                busy=active.total(),
                waiting=waiting.total(),
            )
        )


def _condemn(job: Job, term: int) -> Change:
    """Raises Stale for a job that is sound as the store has it."""
    problem = orders.problem_of(job)
    if problem is None:
        raise Stale("it is sound now")
    return orders.inconsistent(job, problem, term=term)
