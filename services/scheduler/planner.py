"""Planning, carried out: look at the board, plan, write; and queueing by itself what waited for room.

Planning is a pure function over a snapshot (plan.py); here its actions are carried out through the same guard as everything
else, with the term of the scheduler that plans, so that two that plan at once can do no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from services.scheduler import orders
from services.scheduler.board import Board
from services.scheduler.domain import Change, Job
from services.scheduler.plan import Action, Assign, Enforce, Lose, Pause, plan
from services.scheduler.store import JobStore
from services.scheduler.submit import Submissions
from shared.contract.errors import Stale, UserError
from shared.contract.views import Reason
from shared.runtime import log
from shared.runtime.clock import Clock

_JUMP_SECONDS = 5.0
# As many jobs are assigned at once: written one by one, a long queue would wait for the store's answers.
_SIDE_BY_SIDE = 16
_LAB_HOURS = Reason(
    code="lab_hours",
    message="The lab's hours are over: the job is saved and goes on from there when they begin again.",
)


class Planner:
    """One round: look, plan, carry out, if this scheduler plans (`term` says in which term, None for not). `can_hear` tells
    whether facts reach us now. While they don't, or the store can't keep them, silence is nobody's fault."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        board: Board,
        clock: Clock,
        lease_seconds: float,
        term: Callable[[], int | None],
        can_hear: Callable[[], bool],
        changed: Callable[[Job], None],
    ) -> None:
        self._jobs = jobs
        self._board = board
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._term = term
        self._can_hear = can_hear
        self._changed = changed
        self._looked_at = (clock.now(), clock.monotonic())
        self._log = log.get("planner")

    async def round(self) -> None:
        """See the class."""
        # The time before anything else: however long this process sleeps after it, nobody's silence grows by that.
        now, term = self._clock.now(), self._term()
        try:
            whole = term is not None and self._may_judge(term) and await self._plan(term, now)
        except Exception:
            self._board.listening_since = self._clock.now()
            raise
        if not whole:
            self._board.listening_since = self._clock.now()

    def _may_judge(self, term: int) -> bool:
        """Whether what this scheduler believes of the trainers can be trusted: it plans in this term, and facts reach it. To
        be asked again after whatever it waited for, as it may have slept through a lease there."""
        return not self._clock_jumped() and self._term() == term and self._board.live and self._can_hear()

    def _clock_jumped(self) -> bool:
        """Whether the wall clock, by which silence is told, was set or stood still since the last look."""
        wall, steady = self._clock.now(), self._clock.monotonic()
        before, self._looked_at = self._looked_at, (wall, steady)
        return abs((wall - before[0]).total_seconds() - (steady - before[1])) > _JUMP_SECONDS

    async def _plan(self, term: int, now: datetime) -> bool:
        """Plan by what was known at `now`; False where the round was broken off."""
        await self._board.know_paces()
        if not self._may_judge(term):
            return False
        # While the first actions are written, the jobs of the others may change.
        actions = [(action, self._board.find(action.job_id)) for action in plan(self._board.snapshot(now), now)]
        judgements = [one for one in actions if isinstance(one[0], Lose | Enforce)]
        others = [one for one in actions if not isinstance(one[0], Lose | Enforce)]
        for action, known in judgements:
            if not self._may_judge(term):
                self._log.warning("planner.unsure", action=repr(action))
                return False
            await self._carry_out(action, known, term)
        # Nobody is harmed by one of the others that is late. One that fails keeps no other from being told of its write.
        turns = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def in_turn(action: Action, known: Job | None) -> None:
            async with turns:
                await self._carry_out(action, known, term)

        for outcome in await asyncio.gather(*(in_turn(*one) for one in others), return_exceptions=True):
            if outcome is not None:
                raise outcome
        return True

    async def _carry_out(self, action: Action, known: Job | None, term: int) -> None:
        seen = None if known is None else known.view.version
        try:
            job = await self._jobs.decide(action.job_id, self._decision(action, term, seen), known=known)
        except Stale as why:
            # Somebody was quicker: the next round looks again.
            self._log.debug("action.stale", action=repr(action), why=str(why))
            current = await self._jobs.find(action.job_id)
            if current is not None:
                self._board.put(current)
            return
        self._tell(action, job)
        self._changed(job)

    def _decision(self, action: Action, term: int, seen: int | None) -> Callable[[Job], Change]:
        now = self._clock.now()
        match action:
            case Assign():
                return lambda job: orders.assign(job, action.trainer, now, lease_seconds=self._lease_seconds, term=term)
            case Lose():
                return lambda job: orders.lost(job, action.attempt, now, term=term, seen=seen)
            case Enforce():
                return lambda job: orders.enforce(job, action.attempt, now, term=term, seen=seen)
            case Pause():
                return lambda job: orders.pause(job, action.attempt, now, _LAB_HOURS, term=term)

    def _tell(self, action: Action, job: Job) -> None:
        view = job.view
        match action:
            case Assign():
                self._log.info("job.assigned", job=view.id, trainer=view.trainer, attempt=view.attempt)
            case Lose():
                self._log.warning("trainer.lost", job=view.id, attempt=action.attempt, state=view.state)
            case Enforce():
                self._log.warning("job.enforced", job=view.id, attempt=action.attempt, state=view.state)
            case Pause():
                self._log.info("job.paused", job=view.id, attempt=action.attempt)


class Usher:
    """Queues jobs that wait for room, in the order in which they first asked; a refusal of one doesn't keep the next from
    it."""

    def __init__(self, *, jobs: JobStore, submissions: Submissions, term: Callable[[], int | None]) -> None:
        self._jobs = jobs
        self._submissions = submissions
        self._term = term
        self._log = log.get("usher")

    async def round(self) -> None:
        """See the class."""
        if self._term() is None:
            return
        for job in await self._jobs.for_room():
            try:
                after = await self._submissions.when_room(job)
            except (Stale, UserError) as why:
                # Deleted or tried by hand in the meantime.
                self._log.info("room.untried", job=job.view.id, why=str(why))
                continue
            if after is not None:
                self._log.info("room.tried", job=job.view.id, state=after.view.state)
