"""The scheduler's background duties: plan, tell places and minutes, clean up.

Each is one small class with one public method that does one round; app.py gives each its pace. Planning is a pure
function over a snapshot (plan.py); here its actions are carried out through the same guard as everything else, so that
two schedulers that plan at once can do no harm.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from services.scheduler import domain
from services.scheduler.datasets import DatasetService
from services.scheduler.domain import Job
from services.scheduler.estimate import Work, places, seconds_per_step
from services.scheduler.plan import Assign, Lose, Snapshot, free_slots, in_order, plan
from services.scheduler.store import JobStore, TeamStore, TrainerStore, active_job, waiting_job
from shared.contract.errors import Stale, UserError
from shared.contract.events import Message, QueueMoved, TeamChanged
from shared.contract.starting_models import Accelerator
from shared.contract.views import QueuePlace
from shared.contract.wire import Envelope
from shared.runtime import log
from shared.runtime.artifacts import Artifacts
from shared.runtime.bus import Bus
from shared.runtime.clock import Clock

# Makes the envelope of a message about a team.
TeamEnveloper = Callable[[Message, str], Envelope]
# Seconds a step of finished runs, by starting model, batch size and accelerator: read once a round.
Paces = dict[tuple[str, int, Accelerator], list[float]]
_FORGET_TRAINERS = timedelta(days=1)
_CLAIM_GRACE_SECONDS = 600
_RESERVATION_GRACE = timedelta(minutes=2)


class Seen(NamedTuple):
    """The jobs that wait and those that are assigned, whole, and what planning needs of them."""

    waiting: list[Job]
    active: list[Job]
    snapshot: Snapshot


async def look(jobs: JobStore, trainers: TrainerStore, listening_since: datetime, lease: timedelta) -> Seen:
    """The store as it is now."""
    waiting, active, known = await asyncio.gather(jobs.waiting(), jobs.active(), trainers.all())
    snapshot = Snapshot(
        waiting=[waiting_job(job) for job in waiting],
        active=[active_job(job) for job in active],
        trainers=known,
        listening_since=listening_since,
        lease=lease,
    )
    return Seen(waiting, active, snapshot)


class Planner:
    """One round: look, plan, carry out. `can_hear` tells whether facts reach us now. While they don't, or the store can't
    keep them, silence is nobody's fault."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        trainers: TrainerStore,
        clock: Clock,
        lease: timedelta,
        can_hear: Callable[[], bool],
        changed: Callable[[Job], None],
    ) -> None:
        self._jobs = jobs
        self._trainers = trainers
        self._clock = clock
        self._lease = lease
        self._can_hear = can_hear
        self._changed = changed
        self._listening_since = clock.now()
        self._log = log.get("planner")

    async def round(self) -> None:
        """See the class."""
        if not self._can_hear():
            self._listening_since = self._clock.now()
            return
        try:
            await self._plan()
        except Exception:
            self._listening_since = self._clock.now()
            raise

    async def _plan(self) -> None:
        seen = await look(self._jobs, self._trainers, self._listening_since, self._lease)
        for action in plan(seen.snapshot, self._clock.now()):
            try:
                match action:
                    case Assign():
                        await self._assign(action)
                    case Lose():
                        await self._lose(action)
            except Stale as why:
                # Somebody was quicker: the next round looks again.
                self._log.debug("action.stale", action=repr(action), why=str(why))

    async def _assign(self, action: Assign) -> None:
        now = self._clock.now()
        job = await self._jobs.decide(action.job_id, lambda job: domain.assign(job, action.trainer, now))
        self._log.info("job.assigned", job=job.view.id, trainer=action.trainer, attempt=job.view.attempt)
        self._changed(job)

    async def _lose(self, action: Lose) -> None:
        now = self._clock.now()

        def decide(job: Job) -> domain.Change:
            if job.view.attempt != action.attempt:
                raise Stale("a later attempt is in force")
            return domain.lost(job, now)

        job = await self._jobs.decide(action.job_id, decide)
        self._log.warning("trainer.lost", job=job.view.id, attempt=action.attempt, state=job.view.state)
        self._changed(job)


class Teller:
    """Tells each team the places of its waiting jobs and its minutes, whenever they are not what was told last.

    Both are derived, so nothing is lost with the process: the first round after a start tells everything.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        trainers: TrainerStore,
        teams: TeamStore,
        bus: Bus,
        clock: Clock,
        lease: timedelta,
        envelope: TeamEnveloper,
    ) -> None:
        self._jobs = jobs
        self._trainers = trainers
        self._teams = teams
        self._bus = bus
        self._clock = clock
        self._lease = lease
        self._envelope = envelope
        self._told: dict[str, list[QueuePlace]] = {}
        self._dirty: set[str] = set()
        self._first = True

    def touch(self, team: str) -> None:
        """The team's minutes may have changed, or somebody of a new team wants to see them: tell them in the next round."""
        self._dirty.add(team)

    async def round(self) -> None:
        """See the class."""
        if self._first:
            self._dirty.update(await self._teams.teams())
        await self._tell_places()
        while self._dirty:
            team = self._dirty.pop()
            try:
                view = await self._teams.view(team, self._clock.now())
                await self._bus.publish(self._envelope(TeamChanged(team=view), team))
            except BaseException:
                self._dirty.add(team)
                raise
        self._first = False

    async def _tell_places(self) -> None:
        now = self._clock.now()
        by_team: dict[str, list[QueuePlace]] = defaultdict(list)
        teams: dict[str, str] = {}
        current = await self.current_places(now, teams)
        for place in current:
            by_team[teams[place.job_id]].append(place)
        known = set(self._told) | (set(await self._teams.teams()) if self._first else set())
        for team in sorted(known | set(by_team)):
            found = by_team.get(team, [])
            if self._first or _differ(self._told.get(team, []), found):
                await self._bus.publish(self._envelope(QueueMoved(places=found), team))
                self._told[team] = found

    async def current_places(self, now: datetime, teams: dict[str, str]) -> list[QueuePlace]:
        """The whole queue, all teams; `teams` is filled with the team of each waiting job."""
        seen = await look(self._jobs, self._trainers, now, self._lease)
        jobs = {job.view.id: job for job in (*seen.waiting, *seen.active)}
        teams.update({job.view.id: job.view.team for job in seen.waiting})
        paces: Paces = {}
        ordered = [await self._work(jobs[job.id], paces) for job in in_order(seen.snapshot)]
        running = {job.view.id: await self._work(job, paces) for job in seen.active}
        free = free_slots(seen.snapshot, now)
        slots = sum(trainer.slots for trainer in seen.snapshot.trainers if trainer.id in free)
        return places(ordered, running, slots, now)

    async def _work(self, job: Job, paces: Paces) -> Work:
        view = job.view
        alike = (view.starting_model, view.batch_size, job.accelerator)
        if alike not in paces:
            paces[alike] = await self._jobs.finished_paces(*alike)
        return Work(
            job_id=view.id,
            remaining_steps=max(0, view.steps_requested - view.steps_completed),
            seconds_per_step=seconds_per_step(view.starting_model, view.batch_size, job.accelerator, paces[alike]),
            checkpoint_every=job.checkpoint_every,
            max_seconds=view.max_seconds - view.stepping_seconds_before,
        )


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
    ) -> None:
        self._jobs = jobs
        self._trainers = trainers
        self._teams = teams
        self._datasets = datasets
        self._artifacts = artifacts
        self._clock = clock
        self._log = log.get("cleaner")

    async def round(self) -> None:
        """See the class."""
        now = self._clock.now()
        for job in await self._jobs.to_release():
            try:
                await self._release(job)
            except (UserError, OSError) as error:
                # One that can't be let go now must not keep the others, nor the rest of the round, from it.
                self._log.warning("job.unreleased", job=job.view.id, error=repr(error)[:300])
        await self._trainers.forget(now - _FORGET_TRAINERS)
        await self._teams.drop_stale_reservations(now - _RESERVATION_GRACE)
        try:
            claimed = await self._datasets.old_claims(_CLAIM_GRACE_SECONDS)
        except UserError as error:
            self._log.info("claims.unread", error=error.message)
            return
        known = await self._jobs.exists(claimed)
        for job_id in claimed:
            if job_id not in known:
                await self._datasets.release("", job_id)
                self._log.warning("claim.orphaned", job=job_id)

    async def _release(self, job: Job) -> None:
        await self._datasets.release(job.view.team, job.view.id)
        if job.deleted_at is not None:
            await asyncio.to_thread(self._artifacts.delete, f"jobs/{job.view.id}")
        await self._jobs.released(job.view.id)
        self._log.info("job.released", job=job.view.id)


def _differ(told: list[QueuePlace], found: list[QueuePlace]) -> bool:
    """Whether a reader would see a difference: another order, or a time that moved by more than 15 s."""
    if [place.job_id for place in told] != [place.job_id for place in found]:
        return True
    if any(old.position != new.position for old, new in zip(told, found, strict=True)):
        return True
    return any(
        _moved(old.start_from, new.start_from) or _moved(old.end_to, new.end_to)
        for old, new in zip(told, found, strict=True)
    )


def _moved(before: datetime | None, after: datetime | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs((after - before).total_seconds()) > 15
