"""The room as operators see it: teams, the whole queue, trainers with what they hold. Owns views alone; nothing is decided."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from services.scheduler.board import Board
from services.scheduler.domain import Job
from services.scheduler.plan import Standing, Trainer, is_live
from services.scheduler.store import JobStore
from services.scheduler.teams import TeamStore
from shared.contract.api.admin import HeldJobRow, QueueRow, TeamRow, TrainerRow
from shared.contract.jobs import JobState
from shared.contract.views import QueuePlace
from shared.runtime.clock import Clock

Places = Callable[[datetime], Awaitable[list[QueuePlace]]]


class AdminViews:
    """Reads the board, which is read from the store again where this scheduler isn't the one that plans."""

    def __init__(
        self, *, board: Board, jobs: JobStore, teams: TeamStore, places: Places, clock: Clock, lease: timedelta
    ) -> None:
        self._board = board
        self._jobs = jobs
        self._teams = teams
        self._places = places
        self._clock = clock
        self._lease = lease

    async def teams(self) -> list[TeamRow]:
        """Every team that was ever seen, by name."""
        await self._board.refresh()
        now = self._clock.now()
        waiting, active = self._board.counts()
        standings = self._board.standings(now)
        return [
            TeamRow(
                minutes=summary.minutes,
                members=summary.members,
                waiting=waiting[summary.minutes.team],
                running=active[summary.minutes.team],
                usage_seconds=standings.get(summary.minutes.team, Standing()).usage_seconds,
                pause=summary.pause,
            )
            for summary in await self._teams.summaries(now)
        ]

    async def queue(self) -> list[QueueRow]:
        """The whole queue, next first."""
        await self._board.refresh()
        rows = []
        for place in await self._places(self._clock.now()):
            job = self._board.find(place.job_id)
            if job is not None and job.view.queued_at is not None:
                rows.append(_queue_row(place, job, job.view.queued_at))
        return rows

    async def unspecified(self) -> list[HeldJobRow]:
        """Jobs that contradict themselves, the first known first."""
        await self._board.refresh()
        found = [job for job in self._board.jobs() if job.view.state is JobState.STATE_UNSPECIFIED]
        return [_held_row(job) for job in sorted(found, key=lambda job: job.view.created_at)]

    async def for_room(self) -> list[HeldJobRow]:
        """Jobs that queue by themselves once there is room, the first to ask first."""
        return [_held_row(job) for job in await self._jobs.for_room()]

    async def trainers(self) -> list[TrainerRow]:
        """Every trainer that was heard of and isn't forgotten, by id."""
        await self._board.refresh()
        return [self._row(trainer) for _, trainer in sorted(self._board.trainers.items())]

    async def trainer(self, trainer: Trainer) -> TrainerRow:
        """One trainer."""
        await self._board.refresh()
        return self._row(self._board.trainers.get(trainer.id, trainer))

    def drain_asked(self, trainer: Trainer) -> None:
        """A trainer was asked to drain: it gets no more jobs from now on."""
        known = self._board.trainers.get(trainer.id, trainer)
        self._board.heard(replace(known, drain_asked=True))

    def _row(self, trainer: Trainer) -> TrainerRow:
        held = self._board.held_by().get(trainer.id, [])
        return TrainerRow(
            id=trainer.id,
            status=self._status(trainer),
            accelerator=trainer.accelerator,
            device=trainer.device,
            memory_bytes=trainer.memory_bytes,
            slots=trainer.slots,
            seen_at=trainer.seen_at,
            jobs=[_held_row(job) for job in held],
            labels=trainer.labels,
            started_at=trainer.started_at,
            utilization=trainer.utilization,
            memory_used_bytes=trainer.memory_used_bytes,
        )

    def _status(self, trainer: Trainer) -> Literal["live", "draining", "silent", "gone"]:
        if trainer.gone:
            return "gone"
        if not is_live(trainer, self._lease, self._clock.now()):
            return "silent"
        return "draining" if trainer.draining or trainer.drain_asked else "live"


def _held_row(job: Job) -> HeldJobRow:
    view = job.view
    return HeldJobRow(
        job_id=view.id,
        team=view.team,
        description=view.description,
        attempt=view.attempt,
        state=view.state,
        steps_completed=view.steps_completed,
        steps_requested=view.steps_requested,
    )


def _queue_row(place: QueuePlace, job: Job, queued_at: datetime) -> QueueRow:
    view = job.view
    return QueueRow(
        place=place,
        team=view.team,
        description=view.description,
        created_by=view.created_by,
        starting_model=view.starting_model,
        accelerator=job.accelerator,
        queued_at=queued_at,
        priority=view.priority,
        resumed=job.front,
        reserved_seconds=view.reserved_seconds,
        requires=view.requires,
    )
