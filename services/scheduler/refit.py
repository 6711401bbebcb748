"""Jobs that wait for what won't come, such as a kind of trainer that is gone: made over for another, or told why they wait.

Owns when a queued job is no longer kept for the kind of trainer that it was submitted for. A trainer that restarts is back in a
minute: until then, and for as long as the installation expects one to start, the job stays as it is. Checkpoints are the same
on every kind of trainer, so a job that ran before goes on from its own. Writes through the same guard as everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from msgspec.structs import replace

from services.scheduler import orders
from services.scheduler.admission import lacking
from services.scheduler.board import Board, needs_of_job
from services.scheduler.domain import Change, Job
from services.scheduler.figures import Figures
from services.scheduler.reserve import Reservations
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import JobStore
from shared.contract.errors import Stale
from shared.contract.views import Reason
from shared.runtime import log
from shared.runtime.clock import Clock

# A trainer that was heard so lately is likely to come back.
_RESTART = timedelta(seconds=60)


class Refitter:
    """One round looks at all that waits, if this scheduler plans."""

    def __init__(
        self,
        *,
        settings: SchedulerSettings,
        jobs: JobStore,
        board: Board,
        figures: Figures,
        reservations: Reservations,
        clock: Clock,
        term: Callable[[], int | None],
        changed: Callable[[Job], None],
    ) -> None:
        self._jobs = jobs
        self._board = board
        self._figures = figures
        self._reservations = reservations
        self._clock = clock
        self._term = term
        self._changed = changed
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._patience = max(_RESTART, timedelta(seconds=settings.expect_trainers_seconds))
        self._log = log.get("refitter")

    async def round(self) -> None:
        """See the class."""
        term = self._term()
        if term is None or not self._board.live:
            return
        now = self._clock.now()
        if now - self._board.listening_since <= self._lease:
            return  # who is there isn't known yet
        snapshot, window = self._board.snapshot(now), self._board.longest_window(now)
        waiting, closed = snapshot.waiting, self._figures.closed(snapshot.hours)
        # A queue may be long, but knows only a few needs.
        held = {needs for needs in {one.needs for one in waiting} if self._figures.has_capacity(needs)}
        for one in waiting:
            job = self._board.find(one.id)
            if job is None:
                continue
            try:
                if one.needs in held:
                    await self._explain(job, self._figures.too_slow(one, window) or closed, term)
                else:
                    await self._without_trainer(job, window, term)
            except Stale as why:
                self._log.info("job.moved_on", job=job.view.id, why=str(why))

    async def _without_trainer(self, job: Job, window: float, term: int) -> None:
        """Make a waiting job over, or say why it can't start. Raises Stale."""
        why: Reason | None = lacking(needs_of_job(job))
        fitted = await self._figures.refitted(job) if self._given_up(job) else job
        needs = needs_of_job(fitted)
        if self._figures.has_capacity(needs):
            there = self._figures.waiting_job(job.view.id, job.view.team, needs, self._board.work(fitted))
            if self._figures.too_slow(there, window) is None:
                why = await self._make_over(job, fitted, term)
                if why is None:
                    return
        await self._explain(job, why, term)

    async def _explain(self, job: Job, why: Reason | None, term: int) -> None:
        if job.view.reason != why:
            await self._write(job, lambda job: orders.explain(job, why, term=term))

    async def _make_over(self, job: Job, fitted: Job, term: int) -> Reason | None:
        """Why it can't be, if it would take more minutes than there are. Raises Stale."""
        more, now = fitted.view.max_seconds - job.view.max_seconds, self._clock.now()
        old, new = job.accelerator.upper(), fitted.accelerator.upper()
        if more > 0:
            purpose = f" more on a {new} trainer, as no {old} trainer is there any more"
            refused = await self._reservations.more(job, more, purpose)
            if refused is not None:
                remedy = f"It starts when a {old} trainer is there. Or stop it, and start it again with fewer steps."
                return replace(refused.reason, remedy=remedy)
        try:
            await self._write(job, lambda job: orders.refit(job, fitted, now, term=term))
            self._log.info("job.refitted", job=job.view.id, accelerator=fitted.accelerator)
        finally:
            if more > 0:
                await self._reservations.counted(job)
        return None

    async def _write(self, job: Job, decide: Callable[[Job], Change]) -> None:
        self._changed(await self._jobs.decide(job.view.id, decide, known=job))

    def _given_up(self, job: Job) -> bool:
        """Whether no trainer that could hold the job has been there for so long that none is likely to come."""
        assert job.view.queued_at is not None
        # While nobody could be heard, nobody was missing.
        since = max(job.view.queued_at, self._board.listening_since)
        return self._clock.now() - max(since, self._board.last_able(needs_of_job(job)) or since) > self._patience
