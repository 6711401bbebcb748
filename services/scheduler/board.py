"""The room as planning sees it, in memory: jobs that have not ended, trainers as last heard, what teams have had.

Owns nothing that couldn't be read from the store again: it is filled from there, follows each write that passes through this
scheduler, and is compared with the store now and then. So an event costs what it changes, not the length of the queue. Knows no
rule: order and liveness are plan.py's.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from types import MappingProxyType

from msgspec.structs import replace

from services.scheduler.domain import PAUSABLE, Job
from services.scheduler.estimate import Work, step_seconds
from services.scheduler.hours import LabHours
from services.scheduler.open_time import OpenTime
from services.scheduler.orders import problem_of
from services.scheduler.plan import ActiveJob, Needs, Snapshot, Standing, Trainer, WaitingJob, can_hold
from services.scheduler.store import JobStore, Spent, spent_by, with_pace
from services.scheduler.trainers import TrainerStore
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState
from shared.contract.starting_models import STARTING_MODELS, Accelerator
from shared.runtime.clock import Clock

# Runs alike: starting model, batch size, accelerator.
Kind = tuple[str, int, Accelerator]
# Usage older than so many half-lives is a thousandth of itself.
_HALF_LIVES = 10
# A trainer that the store doesn't know and that was silent for so long is none any more.
_FORGOTTEN = timedelta(minutes=10)
# A scheduler that doesn't plan looks at the store again after so many seconds.
_FRESH_SECONDS = 1.0
# So many jobs are remembered after their end, for what is still said of them.
_ENDED_KEPT = 256
# How long it may take until jobs that wait are described by the paces of runs that have finished meanwhile.
_PACES_SECONDS = 5.0


class Board:
    """`live` while this scheduler plans and so hears of everything; else `refresh` reads the store where what is here is
    old. `seen` is called with each job that is newer than what was here."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        trainers: TrainerStore,
        clock: Clock,
        lease: timedelta,
        half_life: timedelta,
        hours: LabHours | None,
        pause_lead: timedelta,
        seen: Callable[[Job], None],
    ) -> None:
        self._store = jobs
        self._seen = seen
        self._trainer_store = trainers
        self._clock = clock
        self._lease = lease
        self._half_life = half_life
        self._hours = hours
        self._pause_lead = pause_lead
        self._jobs: dict[str, Job] = {}
        self._ended: dict[str, Job] = {}
        self._waiting: dict[str, WaitingJob] = {}
        self._active: dict[str, ActiveJob] = {}
        self._paces: dict[Kind, list[float]] = {}
        self._outdated: set[Kind] = set()
        self._paced_at = clock.monotonic()
        self._usage: dict[str, tuple[float, datetime]] = {}
        self._served: defaultdict[str, dict[Needs, datetime]] = defaultdict(dict)
        self._loaded_at: float | None = None
        self._loading = asyncio.Lock()
        self.trainers: dict[str, Trainer] = {}
        # Of each kind of slot the trainer that last took jobs, as it was then: it may be forgotten by now.
        self._took: dict[Needs, Trainer] = {}
        self.listening_since = clock.now()
        self.live = False

    async def go_live(self) -> None:
        """Read everything and hear of everything from now on. Silence counts from now."""
        async with self._loading:
            await self._load()
            self.listening_since, self.live = self._clock.now(), True

    async def _load(self) -> None:
        """Read everything from the store, then take it over in one go: nobody sees half of it."""
        now = self._clock.now()
        alive, trainers, ended = await asyncio.gather(
            self._store.alive(),
            self._trainer_store.all(),
            self._store.ended_since(now - _HALF_LIVES * self._half_life),
        )
        paces = {kind: await self._store.finished_paces(*kind) for kind in {kind_of(job) for job in alive}}
        self._jobs.clear()
        self._ended.clear()
        self._waiting.clear()
        self._active.clear()
        self._paces = paces
        self._outdated.clear()
        self._usage.clear()
        self._served.clear()
        self.trainers = {}
        for trainer in trainers:
            self.heard(trainer)
        for spent in sorted(ended, key=lambda spent: spent.ended_at):
            self._charge(spent)
        for job in alive:
            self.put(job)
        self._loaded_at = self._clock.monotonic()

    async def refresh(self) -> None:
        """See the class. Everything is read once; from then on what has changed."""
        async with self._loading:
            if self.live:
                return
            if self._loaded_at is None:
                await self._load()
            elif self._clock.monotonic() - self._loaded_at > _FRESH_SECONDS:
                await self.compare()
                self._loaded_at = self._clock.monotonic()

    async def compare(self) -> list[str]:
        """Read again what is otherwise in the store than here; the ids of those jobs. None is the rule: each is a write that we
        didn't hear of."""
        versions = await self._store.alive_versions()
        differing = [job_id for job_id, job in self._jobs.items() if versions.get(job_id, 0) > job.view.version]
        differing += [job_id for job_id in self._jobs if job_id not in versions]
        differing += [job_id for job_id in versions if job_id not in self._jobs]
        for job_id in differing:
            job = await self._store.find(job_id)
            if job is not None:
                self.put(job)
        kept = {trainer.id: trainer for trainer in await self._trainer_store.all()}
        for trainer_id in self.trainers.keys() - kept.keys():
            # Forgotten, unless it is so new that its first word isn't written yet.
            if self._clock.now() - self.trainers[trainer_id].seen_at > _FORGOTTEN:
                del self.trainers[trainer_id]
        for trainer in kept.values():
            known = self.trainers.get(trainer.id)
            if known is None or known.seen_at < trainer.seen_at:
                self.heard(trainer)
            elif trainer.drain_asked:
                self.trainers[trainer.id] = replace(known, drain_asked=True)
        return differing

    def put(self, job: Job) -> None:
        """A job as it was just written or read; an older one than is here changes nothing."""
        job_id, known = job.view.id, self.recall(job.view.id)
        if known is not None and known.view.version >= job.view.version:
            return
        self._seen(job)
        self._waiting.pop(job_id, None)
        self._active.pop(job_id, None)
        if job.view.state in TERMINAL:
            self._ended[job_id] = job
            if len(self._ended) > _ENDED_KEPT:
                del self._ended[next(iter(self._ended))]
            if self._jobs.pop(job_id, None) is not None:
                self._charge(spent_by(job, self._clock.now()))
                self._pace(job)
            return
        self._ended.pop(job_id, None)
        self._jobs[job_id] = job
        if problem_of(job) is not None:
            return  # nothing is planned with it; whoever audits the board takes it out
        if job.view.state is JobState.QUEUED:
            self._waiting[job_id] = self._waiting_job(job)
        elif job.view.state in ASSIGNED:
            self._active[job_id] = self._active_job(job)
            if job.assigned_at is not None:
                self._serve(job.view.team, needs_of_job(job), job.assigned_at)

    def heard(self, trainer: Trainer) -> None:
        """A trainer as its heartbeat just told, or as the store has it."""
        self.trainers[trainer.id] = trainer
        if trainer.draining or trainer.drain_asked:
            return
        most = Needs(
            accelerator=trainer.accelerator,
            memory_bytes=trainer.memory_bytes,
            labels=tuple(sorted(trainer.labels.items())),
        )
        known = self._took.get(most)
        if known is None or known.seen_at < trainer.seen_at:
            self._took[most] = trainer

    def last_able(self, needs: Needs) -> datetime | None:
        """When a trainer that took jobs and could hold these needs was last heard, None for never."""
        return max((trainer.seen_at for trainer in self._took.values() if can_hold(trainer, needs)), default=None)

    def full(self, trainer_id: str) -> None:
        """A trainer has handed a job back for want of a slot: it gets none before its next heartbeat."""
        known = self.trainers.get(trainer_id)
        if known is not None:
            self.trainers[trainer_id] = replace(known, slots=0)

    def find(self, job_id: str) -> Job | None:
        """A job that has not ended, as far as it is known here."""
        return self._jobs.get(job_id)

    def recall(self, job_id: str) -> Job | None:
        """A job as it was last seen here, also one that ended a little while ago."""
        return self._jobs.get(job_id) or self._ended.get(job_id)

    def jobs(self) -> Iterable[Job]:
        """All jobs that have not ended."""
        return self._jobs.values()

    async def know_paces(self) -> None:
        """Look up how fast finished runs alike were, where that isn't known, and describe by it the jobs that there are; those
        of a kind of which more have finished, some seconds later."""
        news = {kind_of(job) for job in self._jobs.values()} - self._paces.keys()
        await self._know_paces(news)
        if self._clock.monotonic() - self._paced_at > _PACES_SECONDS:
            self._paced_at = self._clock.monotonic()
            more, self._outdated = self._outdated, set()
            if not self.live:
                # Of some ends it has not heard.
                await self._know_paces(more)
            news |= more
        if news:
            for job in self._jobs.values():
                if kind_of(job) in news:
                    self._describe(job)

    async def paces_of(self, kind: Kind) -> Sequence[float]:
        """Seconds a step of finished runs of a kind, newest first; the table's figure where there are none."""
        if kind not in self._paces:
            await self._know_paces({kind})
        return step_seconds(*kind, self._paces[kind])

    def snapshot(self, now: datetime) -> Snapshot:
        """What plan() looks at."""
        return Snapshot(
            waiting=list(self._waiting.values()),
            active=list(self._active.values()),
            trainers=list(self.trainers.values()),
            standings=self.standings(now),
            listening_since=self.listening_since if self.live else now,
            lease=self._lease,
            hours=None if self._hours is None else self._hours.at(now),
            pause_lead=self._pause_lead,
        )

    def longest_window(self, now: datetime) -> float:
        """The most seconds in a row in which jobs may make steps."""
        hours = None if self._hours is None else self._hours.at(now)
        return OpenTime(hours, self._pause_lead, now).longest

    def standings(self, now: datetime) -> dict[str, Standing]:
        """What each team has had lately."""
        return {
            team: Standing(
                usage_seconds=self._decayed(team, now),
                served=dict(self._served.get(team, {})),
            )
            for team in {*self._usage, *self._served}
        }

    def works(self) -> dict[str, Work]:
        """What each job that waits or runs still has to do."""
        return {job_id: self.work(self._jobs[job_id]) for job_id in (*self._waiting, *self._active)}

    def work(self, job: Job) -> Work:
        """What a job still has to do."""
        view = job.view
        since = None if view.checkpoint is None else view.checkpoint.saved_at
        if view.state not in ASSIGNED:
            since = None
        elif since is None or (job.assigned_at is not None and job.assigned_at > since):
            since = view.running_since or job.assigned_at
        return Work(
            remaining_steps=max(0, view.steps_requested - view.steps_completed),
            step_seconds=step_seconds(*kind_of(job), self._paces.get(kind_of(job), ())),
            checkpoint_every=job.checkpoint_every,
            max_seconds=view.max_seconds - view.stepping_seconds_before,
            since=since,
        )

    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Jobs that wait, and jobs on a trainer, by team."""
        return (
            Counter(job.team for job in self._waiting.values()),
            Counter(job.team for job in self._active.values()),
        )

    def held_by(self) -> dict[str, list[Job]]:
        """The jobs on each trainer."""
        result: dict[str, list[Job]] = defaultdict(list)
        for active in self._active.values():
            result[active.trainer].append(self._jobs[active.id])
        return result

    async def _know_paces(self, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            self._paces[kind] = await self._store.finished_paces(*kind)

    def _pace(self, job: Job) -> None:
        kind = kind_of(job)
        if kind in self._paces:
            self._outdated.add(kind)
            if self.live:
                self._paces[kind] = with_pace(self._paces[kind], job)

    def _describe(self, job: Job) -> None:
        if job.view.id in self._waiting:
            self._waiting[job.view.id] = self._waiting_job(job)
        elif job.view.id in self._active:
            self._active[job.view.id] = self._active_job(job)

    def _waiting_job(self, job: Job) -> WaitingJob:
        view, work = job.view, self.work(job)
        assert view.queued_at is not None
        pace = median(work.step_seconds)
        return WaitingJob(
            id=view.id,
            team=view.team,
            queued_at=view.queued_at,
            needs=needs_of_job(job),
            front=job.front,
            priority=view.priority,
            avoid=tuple(job.avoid),
            expected_seconds=work.seconds(pace),
            first_checkpoint_seconds=work.first_checkpoint(pace),
        )

    def _active_job(self, job: Job) -> ActiveJob:
        view, work = job.view, self.work(job)
        assert view.trainer is not None
        assert job.assigned_at is not None
        asked = job.pause_requested_at if view.state in PAUSABLE else None
        if view.state is JobState.STOP_REQUESTED:
            asked = job.stop_requested_at
        return ActiveJob(
            id=view.id,
            team=view.team,
            trainer=view.trainer,
            attempt=view.attempt,
            assigned_at=job.assigned_at,
            expected_seconds=work.seconds(median(work.step_seconds)),
            asked_at=None if job.answered else asked,
            pausable=view.state in PAUSABLE and job.pause_requested_at is None,
        )

    def _serve(self, team: str, needs: Needs, at: datetime) -> None:
        served = self._served[team]
        served[needs] = max(at, served.get(needs, at))

    def _charge(self, spent: Spent) -> None:
        # An old run may be of a model that nobody can ask for any more.
        if spent.served_at is not None and spent.starting_model in STARTING_MODELS:
            needs = needs_of(spent.starting_model, spent.accelerator, spent.batch_size, spent.requires)
            self._serve(spent.team, needs, spent.served_at)
        if spent.used_seconds:
            self._usage[spent.team] = (self._decayed(spent.team, spent.ended_at) + spent.used_seconds, spent.ended_at)

    def _decayed(self, team: str, now: datetime) -> float:
        """Charged seconds, each half of itself after a half-life. Seconds charged after `now` count in full."""
        value, at = self._usage.get(team, (0.0, now))
        age = max(0.0, (now - at).total_seconds()) / self._half_life.total_seconds()
        return value * math.pow(0.5, age)


def kind_of(job: Job) -> Kind:
    """What a job's pace is compared with."""
    return job.view.starting_model, job.view.batch_size, job.accelerator


def needs_of(
    starting_model: str, accelerator: Accelerator, batch_size: int, requires: Mapping[str, str] = MappingProxyType({})
) -> Needs:
    """What a slot must have for a job of this starting model at this batch."""
    model = STARTING_MODELS[starting_model]
    return Needs(
        accelerator=accelerator,
        memory_bytes=model.memory_at(accelerator, batch_size),
        labels=tuple(sorted(requires.items())),
    )


def needs_of_job(job: Job) -> Needs:
    """What a slot must have for this job."""
    return needs_of(job.view.starting_model, job.accelerator, job.view.batch_size, job.view.requires)
