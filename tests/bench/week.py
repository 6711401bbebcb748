"""A simulated week of the queue, planned by plan() itself: who submits when, how long runs take, what goes wrong.

Owns what is true in that world; what is estimated about it is compared in bench_estimates. Times are simulated, nothing sleeps.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from math import exp, inf, log, pi, sin

import msgspec
from msgspec.structs import replace

from services.scheduler.estimate import Work, forecast_of
from services.scheduler.hours import LabHours
from services.scheduler.plan import (
    ActiveJob,
    Assign,
    Enforce,
    Lease,
    Lose,
    Needs,
    Pause,
    Snapshot,
    Standing,
    Trainer,
    WaitingJob,
    plan,
)
from shared.contract.views import QueuePlace

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
LEASE = timedelta(seconds=25)
HALF_LIFE = 24 * 3600.0
PACE = 0.25
EVERY = 100
PREPARING, EVALUATION, EXPORT = 45.0, 6.0, 25.0
SMALL, LARGE = Needs(accelerator="gpu", memory_bytes=4 << 30), Needs(accelerator="gpu", memory_bytes=12 << 30)


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """A case. `load` is the work that comes in by the work that the slots can do; `early` is the share of runs that are stopped
    early; `lost` is the hours between two losses of a trainer; `spread` is that of paces (natural logarithm)."""

    name: str
    teams: int = 12
    slots: tuple[int, ...] = (2, 1, 1)
    memory: tuple[int, ...] = (24, 24, 24)
    load: float = 0.9
    early: float = 0.1
    lost: float = inf
    spread: float = 0.05
    hours: str = ""
    large: float = 0.0


class Run(msgspec.Struct, kw_only=True):
    """A job with its fate."""

    id: str
    team: str
    needs: Needs
    steps: int
    pace: float
    stops_at: int
    max_seconds: float
    submitted_at: datetime
    told: QueuePlace | None = None
    baseline: float = 0.0
    queued_at: datetime
    front: bool = False
    done: int = 0
    attempt: int = 0
    trainer: str | None = None
    assigned_at: datetime | None = None
    first_start: datetime | None = None
    ended_at: datetime | None = None

    def end(self) -> datetime:
        """When the attempt in force would end by itself."""
        assert self.assigned_at is not None
        left = min(self.stops_at, self.steps) - self.done
        seconds = PREPARING + left * self.pace + left // EVERY * EVALUATION + EXPORT
        return self.assigned_at + timedelta(seconds=seconds)

    def durable(self, now: datetime) -> tuple[int, datetime | None]:
        """The step of the last checkpoint, and since when it is there."""
        if self.assigned_at is None:
            return self.done, None
        stepping = (now - self.assigned_at).total_seconds() - PREPARING
        if stepping < 0:
            return self.done, self.assigned_at
        chunk = EVERY * self.pace + EVALUATION
        chunks = int(stepping // chunk)
        since = self.assigned_at + timedelta(seconds=PREPARING + chunks * chunk)
        return min(self.steps, self.done + chunks * EVERY), since

    def work(self, paces: list[float], now: datetime) -> Work:
        step, since = self.durable(now)
        return Work(
            remaining_steps=self.steps - step,
            step_seconds=paces,
            checkpoint_every=EVERY,
            max_seconds=self.max_seconds - step * self.pace,
            since=since,
        )


class World:
    """Trainers and a queue; every event is followed by a round of planning."""

    def __init__(self, week: Week, days: float, seed: int) -> None:
        self.week, self.days = week, days
        self.chance = random.Random(f"{seed} {week.name}")
        self.now = BEGIN
        self.trainers = {
            f"t{index}": Trainer(
                id=f"t{index}", slots=slots, accelerator="gpu", device="GPU", memory_bytes=memory << 30, seen_at=BEGIN
            )
            for index, (slots, memory) in enumerate(zip(week.slots, week.memory, strict=True))
        }
        self.hours = LabHours(week.hours, "Europe/Vienna") if week.hours else None
        self.waiting: dict[str, Run] = {}
        self.queue: dict[str, WaitingJob] = {}
        self.running: dict[str, Run] = {}
        self.ended: list[Run] = []
        self.paces: list[float] = []
        self.usage: dict[str, tuple[float, datetime]] = {}
        self.served: dict[str, dict[Needs, datetime]] = {}
        self.events: list[tuple[datetime, int, str, str]] = []
        self.count = 0
        self.seconds: list[float] = []

    def post(self, at: datetime, kind: str, name: str = "") -> None:
        self.count += 1
        heappush(self.events, (at, self.count, kind, name))

    def submissions(self) -> Iterator[Run]:
        """By the rhythm of a day: none before 7, most in the afternoon."""
        mean = exp(log(3000) + 0.5**2 / 2) * PACE + PREPARING + EXPORT + 30 * EVALUATION
        slots = sum(self.week.slots) * (1 if not self.week.hours else 54 / 168)
        rate = self.week.load * slots / (mean * (1 - self.week.early / 2))
        at, number = 0.0, 0
        habits = [self.chance.lognormvariate(0, 0.7) for _ in range(self.week.teams)]
        while at < self.days * 86400:
            at += self.chance.expovariate(rate * pi / 2 * 24 / 17)
            hour = at / 3600 % 24 + 1
            if self.chance.random() > (sin((hour - 7) / 17 * pi) if hour > 7 else 0.0):
                continue
            number += 1
            steps = max(300, round(self.chance.lognormvariate(log(3000), 0.5) / 100) * 100)
            early = self.chance.random() < self.week.early
            moment = BEGIN + timedelta(seconds=at)
            yield Run(
                id=f"job-{number}",
                team=f"team-{self.chance.choices(range(self.week.teams), habits)[0]}",
                needs=LARGE if self.chance.random() < self.week.large else SMALL,
                steps=steps,
                pace=PACE * self.chance.lognormvariate(0.15, self.week.spread),
                stops_at=round(steps * self.chance.random()) if early else steps,
                max_seconds=steps * PACE * 2,
                submitted_at=moment,
                queued_at=moment,
            )

    def play(self) -> None:
        """The days, and whatever is left then."""
        coming = {run.id: run for run in self.submissions()}
        for run in coming.values():
            self.post(run.submitted_at, "submit", run.id)
        if self.week.lost < inf:
            at = 0.0
            while at < self.days * 86400:
                at += self.chance.expovariate(1 / (self.week.lost * 3600))
                self.post(BEGIN + timedelta(seconds=at), "lose", self.chance.choice(sorted(self.trainers)))
        if self.hours is not None:
            moment = BEGIN
            while moment < BEGIN + timedelta(days=self.days + 7):
                until = self.hours.at(moment).until
                assert until is not None
                self.post(until - timedelta(seconds=60), "tick")
                self.post(until, "tick")
                moment = until
        while self.events:
            self.now, _, kind, name = heappop(self.events)
            match kind:
                case "submit":
                    self.submit(coming[name])
                case "end":
                    self.end(name)
                case "lose":
                    self.trainers[name] = replace(self.trainers[name], seen_at=BEGIN - timedelta(days=1))
                    self.post(self.now + LEASE + timedelta(seconds=1), "tick")
                    self.post(self.now + timedelta(minutes=30), "back", name)
                case "back":
                    self.trainers[name] = replace(self.trainers[name], seen_at=self.now)
                case _:
                    pass
            self.round()

    def snapshot(self) -> Snapshot:
        paces, held = self.known_paces(), defaultdict(list)
        pace = statistics.median(paces)
        for run in self.running.values():
            held[run.trainer].append(Lease(job_id=run.id, attempt=run.attempt, seen_at=self.now))
        return Snapshot(
            waiting=list(self.queue.values()),
            active=[
                ActiveJob(
                    id=run.id,
                    team=run.team,
                    trainer=run.trainer or "",
                    attempt=run.attempt,
                    assigned_at=run.assigned_at or self.now,
                    expected_seconds=run.work(paces, self.now).seconds(pace),
                    pausable=True,
                )
                for run in self.running.values()
            ],
            # Those that are not lost were heard just now, with all that they hold.
            trainers=[
                replace(trainer, seen_at=self.now, leases=held[trainer.id]) if trainer.seen_at >= BEGIN else trainer
                for trainer in self.trainers.values()
            ],
            listening_since=BEGIN - timedelta(days=1),
            lease=LEASE,
            standings={
                team: Standing(usage_seconds=self.decayed(team), served=dict(self.served.get(team, {})))
                for team in {*self.usage, *self.served}
            },
            hours=None if self.hours is None else self.hours.at(self.now),
        )

    def known_paces(self) -> list[float]:
        return self.paces[:-21:-1] or [PACE]

    def waiting_job(self, run: Run) -> WaitingJob:
        paces = self.known_paces()
        work, pace = run.work(paces, self.now), statistics.median(paces)
        return WaitingJob(
            id=run.id,
            team=run.team,
            queued_at=run.queued_at,
            needs=run.needs,
            front=run.front,
            expected_seconds=work.seconds(pace),
            first_checkpoint_seconds=work.first_checkpoint(pace),
        )

    def submit(self, run: Run) -> None:
        paces = self.known_paces()
        everything = {**self.waiting, **self.running}
        works = {name: other.work(paces, self.now) for name, other in everything.items()}
        snapshot, job = self.snapshot(), self.waiting_job(run)
        begun = time.perf_counter()
        run.told = forecast_of(snapshot, job, run.work(paces, self.now), works, self.now)
        self.seconds.append(time.perf_counter() - begun)
        mean = statistics.fmean([one.expected_seconds for one in [*snapshot.waiting, job]])
        slots = sum(self.week.slots)
        run.baseline = 0.0 if len(self.running) < slots else (run.told.position - 0.5) * mean / slots
        self.waiting[run.id], self.queue[run.id] = run, job

    def end(self, name: str) -> None:
        run = self.running.get(name.partition(" ")[0])
        if run is None or name != f"{run.id} {run.attempt}":
            return
        del self.running[run.id]
        run.ended_at = self.now
        used = min(run.stops_at, run.steps) * run.pace
        self.usage[run.team] = (self.decayed(run.team) + used, self.now)
        self.paces.append(run.pace)
        self.ended.append(run)

    def decayed(self, team: str) -> float:
        value, at = self.usage.get(team, (0.0, self.now))
        return value * float(0.5 ** ((self.now - at).total_seconds() / HALF_LIFE))

    def requeue(self, job_id: str) -> None:
        run = self.running.pop(job_id)
        run.done, run.queued_at, run.front = run.durable(self.now)[0], self.now, True
        run.trainer = run.assigned_at = None
        self.waiting[run.id], self.queue[run.id] = run, self.waiting_job(run)

    def round(self) -> None:
        for action in plan(self.snapshot(), self.now):
            match action:
                case Assign():
                    run = self.waiting.pop(action.job_id)
                    del self.queue[run.id]
                    run.trainer, run.assigned_at, run.attempt = action.trainer, self.now, run.attempt + 1
                    run.first_start = run.first_start or self.now
                    self.served.setdefault(run.team, {})[run.needs] = self.now
                    self.running[run.id] = run
                    self.post(run.end(), "end", f"{run.id} {run.attempt}")
                case Lose() | Pause():
                    self.requeue(action.job_id)
                case Enforce():
                    pass
