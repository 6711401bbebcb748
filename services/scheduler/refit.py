"""Jobs that wait for a kind of trainer that isn't there any more: made over for another kind, or told why they wait.

Owns when a queued job is no longer kept for the kind of trainer that it was submitted for. A trainer that restarts is back in a
minute: until then, and for as long as the installation expects one to start, the job stays as it is. Checkpoints are the same
on every kind of trainer, so a job that ran before goes on from its own. Writes through the same guard as everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from services.scheduler import orders
from services.scheduler.admission import lacking
from services.scheduler.board import Board, needs_of_job
from services.scheduler.domain import Change, Job
from services.scheduler.figures import Figures
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import JobStore
from shared.contract.errors import Stale
from shared.contract.jobs import JobState
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
        clock: Clock,
        term: Callable[[], int | None],
        changed: Callable[[Job], None],
    ) -> None:
        self._jobs = jobs
        self._board = board
        self._figures = figures
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
        if self._clock.now() - self._board.listening_since <= self._lease:
            return  # who is there isn't known yet
        for job in list(self._board.jobs()):
            if job.view.state is not JobState.QUEUED or orders.problem_of(job) is not None:
                continue
            decide = await self._look(job, term)
            if decide is None:
                continue
            try:
                self._changed(await self._jobs.decide(job.view.id, decide, known=job))
            except Stale as why:
                self._log.info("job.moved_on", job=job.view.id, why=str(why))

    async def _look(self, job: Job, term: int) -> Callable[[Job], Change] | None:
        """What is to be done about a waiting job, None for nothing."""
        needs = needs_of_job(job)
        if self._figures.has_capacity(needs):
            return None if job.view.reason is None else lambda now: orders.explain(now, None, term=term)
        if self._given_up(job):
            fitted = self._figures.refitted(job)
            if self._figures.has_capacity(needs_of_job(fitted)):
                self._log.info("job.refitted", job=job.view.id, accelerator=fitted.accelerator)
                return lambda now: orders.refit(now, fitted, term=term)
        why = lacking(needs)
        return None if job.view.reason == why else lambda now: orders.explain(now, why, term=term)

    def _given_up(self, job: Job) -> bool:
        """Whether no trainer that could hold the job has been there for so long that none is likely to come."""
        assert job.view.queued_at is not None
        there = self._board.last_able(needs_of_job(job)) or job.view.queued_at
        return self._clock.now() - max(there, job.view.queued_at) > self._patience
