"""Reserving minutes for a job that asks to queue: what admission looks at, and the reservation that only its yes leads to.

Owns that both belong together: the team's version is that of the look, so that two requests at once can't spend the same
minutes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from services.scheduler.admission import Refused, Room, admit, afford
from services.scheduler.board import Board, kind_of, needs_of_job
from services.scheduler.domain import Job
from services.scheduler.estimate import Work, forecast_ends
from services.scheduler.figures import Figures
from services.scheduler.plan import WaitingJob
from services.scheduler.settings import SchedulerSettings
from services.scheduler.teams import TeamLook, TeamStore
from shared.contract.errors import Retry
from shared.runtime.auth import Principal
from shared.runtime.clock import Clock
from shared.runtime.locks import KeyedLocks

_TRIES = 20


class Asker(NamedTuple):
    """Whose minutes it is, and whether the team's cap for members counts."""

    name: str
    capped: bool

    @classmethod
    def of(cls, who: Principal) -> Asker:
        """Who makes a request: mentors pass the cap."""
        return cls(who.name, not who.may("mentor"))


class Reservations:
    """Admits and reserves."""

    def __init__(
        self,
        *,
        settings: SchedulerSettings,
        teams: TeamStore,
        board: Board,
        figures: Figures,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._teams = teams
        self._board = board
        self._figures = figures
        self._clock = clock
        # One after another, where otherwise all but one would have looked in vain.
        self._turns = KeyedLocks()

    async def reserve(self, job: WaitingJob, asker: Asker, work: Work, seconds: int) -> Refused | None:
        """Announce the minutes if the job may queue; looks again where another scheduler came between. Raises Retry."""
        now = self._clock.now()
        async with self._turns.hold(job.team):
            afresh = False
            for _ in range(_TRIES):
                room, look = await self.room(job, asker, work, afresh=afresh)
                refused = admit(job.needs, seconds, room, now)
                if refused is not None and afresh:
                    return refused
                if refused is None and await self._teams.reserve(
                    job.team, job.id, seconds, now, look, by=asker.name, capped=asker.capped
                ):
                    return None
                afresh = True
        raise Retry(f"team {job.team} kept changing under {_TRIES} reservations")

    async def again(self, job: Job, asker: Asker) -> Refused | None:
        """The same for a job that had to be tried later."""
        view = job.view
        await self._board.paces_of(kind_of(job))
        work = self._board.work(job)
        waiting = self._figures.waiting_job(view.id, view.team, needs_of_job(job), work, priority=view.priority)
        return await self.reserve(waiting, asker, work, view.max_seconds)

    async def more(self, job: Job, seconds: int, purpose: str) -> Refused | None:
        """Announce so many seconds more for a queued job; `counted` ends that once its own lines say so. Raises Retry."""
        now, view = self._clock.now(), job.view
        capped = job.capped and view.approved_by is None
        async with self._turns.hold(view.team):
            for _ in range(_TRIES):
                look = await self._teams.look(
                    view.team, now, member=view.created_by, besides=_more(view.id), afresh=True
                )
                refused = afford(seconds, look.left, look.member_left if capped else None, purpose)
                if refused is not None:
                    return refused
                if await self._teams.reserve(
                    view.team, _more(view.id), seconds, now, look, by=view.created_by, capped=capped
                ):
                    return None
        raise Retry(f"team {view.team} kept changing under {_TRIES} reservations")

    async def counted(self, job: Job) -> None:
        """What was announced by `more` is in the job's own lines, or came to nothing."""
        await self._teams.withdraw(job.view.team, _more(job.view.id))

    async def room(self, job: WaitingJob, asker: Asker, work: Work, *, afresh: bool = True) -> tuple[Room, TeamLook]:
        """What admission looks at now, and the look at the team in it; not `afresh`, it may be too strict."""
        now, team, limits = self._clock.now(), job.team, self._settings
        await self._board.refresh()
        look = await self._teams.look(team, now, member=asker.name, besides=job.id, afresh=afresh)

        def next_end(of_team: bool) -> datetime | None:
            # A refusal by what is remembered is told to nobody.
            return self._next_end(team if of_team else None, now) if afresh else None

        room = Room(
            trainers=list(self._board.trainers.values()),
            lease=timedelta(seconds=limits.lease_seconds),
            waiting=self._board.waiting(),
            max_waiting=limits.max_queued,
            team_jobs=look.jobs,
            max_team_jobs=limits.max_team_jobs,
            balance_seconds=look.left,
            next_end=next_end,
            pause=look.pause,
            expect_trainers=timedelta(seconds=limits.expect_trainers_seconds),
            unmet_since=self._unmet_since(job),
            listening_since=self._board.listening_since if self._board.live else None,
            too_slow=self._figures.too_slow(job, self._board.longest_window(now)),
            estimated_wait=await self._figures.wait(job, work) if limits.max_wait_seconds else None,
            max_wait=timedelta(seconds=limits.max_wait_seconds) if limits.max_wait_seconds else None,
            cap_seconds=look.member_left if asker.capped else None,
        )
        return room, look

    def _unmet_since(self, job: WaitingJob) -> datetime | None:
        """Since when a job has waited for a trainer of this kind and none was there; None where one is there or none waits."""
        if self._figures.has_capacity(job.needs):
            return None
        waiting = self._board.snapshot(self._clock.now()).waiting
        kind = job.needs.accelerator, job.needs.labels
        alike = {one.needs for one in waiting if (one.needs.accelerator, one.needs.labels) == kind}
        unmet = {needs for needs in alike if not self._figures.has_capacity(needs)}
        first = min((one.queued_at for one in waiting if one.needs in unmet), default=None)
        if first is None:
            return None
        # While nobody could be heard, nobody was missing.
        heard = self._board.listening_since if self._board.live else first
        return max(first, heard, self._board.last_able(job.needs) or first)

    def _next_end(self, team: str | None, now: datetime) -> datetime | None:
        """When the first running job of a team, or (None) of anybody, has likely ended: the late end of its range."""
        snapshot = self._board.snapshot(now)
        ends = forecast_ends(snapshot, self._board.works(), now)
        of_team = {job.id for job in snapshot.active if team is None or job.team == team}
        return min((until for job_id, (_, until) in ends.items() if job_id in of_team), default=None)


def _more(job_id: str) -> str:
    """What a second announcement for a job goes by: it counts beside the job's own lines until it is withdrawn."""
    return f"{job_id}+"
