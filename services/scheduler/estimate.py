"""How long things take: seconds a step, a run's length, and when each waiting job may start and end.

Pure. Figures come from finished runs of the same model, batch size and accelerator where there are any, else from the
starting models' table. When jobs start and end is played forward many times (playout.py) and told as the range of the
middle six of ten.

What is uncertain: how fast a run is, whether somebody stops it early, how much longer running jobs take, and how many
jobs of teams that have had less come in meanwhile and go ahead.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import inf, sqrt

import msgspec
import numpy as np
from msgspec.structs import replace

from services.scheduler.open_time import OpenTime
from services.scheduler.order import Ledger, in_order
from services.scheduler.playout import Chance, Floats, Indexes, Luck, Slots
from services.scheduler.snapshot import ActiveJob, Snapshot, WaitingJob, takers
from shared.contract.starting_models import STARTING_MODELS, Accelerator
from shared.contract.views import QueuePlace

# What a run takes besides stepping: fetching data and building the model, evaluating each checkpoint, exporting.
_PREPARING_SECONDS = 40.0
_EVALUATION_SECONDS = 5.0
_EXPORT_SECONDS = 20.0
# How long a trainer takes to save and to let go of a job that was asked to stop.
_STOPPING_SECONDS = 20.0
# Runs that somebody stops, or that fail, before their last step: one in so many, at any step alike.
_STOPPED_EARLY = 0.1
# Of the slots that come free, newcomers take any share from none to this times that of the teams which would go ahead.
# Found by bench_estimates: less promises too much, more widens the ranges for nothing.
_RUSH = 1.25
# The most that newcomers can take: some slots are left for those who wait.
_MOST_NEWCOMERS = 0.8
# Standard deviations of the natural logarithm: of one run's pace from the next one's, of a single known pace from the
# truth.
_PACE_SPREAD, _PACE_ERROR = 0.05, 0.3
_QUANTILES = (0.2, 0.8)


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Steps that a job still has to make. `step_seconds` are those of finished runs alike, newest first, or the one
    figure of the table; `max_seconds` is the stepping that its time limit leaves; `since` is when a running job had so
    many steps left."""

    remaining_steps: int
    step_seconds: Sequence[float]
    checkpoint_every: int
    max_seconds: float
    since: datetime | None = None

    def seconds(self, pace: float) -> float:
        """Wall time at `pace` seconds a step."""
        stepping = max(0.0, min(self.remaining_steps * pace, self.max_seconds))
        checkpoints = stepping / pace / self.checkpoint_every
        return _PREPARING_SECONDS + stepping + checkpoints * _EVALUATION_SECONDS + _EXPORT_SECONDS

    def first_checkpoint(self, pace: float) -> float:
        """Wall time until the next checkpoint is durable and evaluated."""
        stepping = max(0.0, min(min(self.checkpoint_every, self.remaining_steps) * pace, self.max_seconds))
        return _PREPARING_SECONDS + stepping + _EVALUATION_SECONDS


def step_seconds(
    starting_model: str, batch_size: int, accelerator: Accelerator, finished: Sequence[float]
) -> Sequence[float]:
    """Seconds a step of finished runs alike; the table's figure, scaled to the batch, where there are none."""
    if finished:
        return finished
    model = STARTING_MODELS[starting_model]
    return [model.seconds_per_step[accelerator] * batch_size / model.batch_size[accelerator]]


def forecast(snapshot: Snapshot, works: Mapping[str, Work], now: datetime) -> list[QueuePlace]:
    """A place for each waiting job, in the queue's order. No times where no live trainer can hold the job, nor where
    the lab doesn't open as long as its hours were looked up."""
    queue = in_order(snapshot, now)
    return _places(queue, len(queue), snapshot, works, now)


def forecast_of(
    snapshot: Snapshot, job: WaitingJob, work: Work, works: Mapping[str, Work], now: datetime
) -> QueuePlace:
    """The place that `job` would have if it were submitted now."""
    joined = replace(snapshot, waiting=[*snapshot.waiting, job])
    queue = in_order(joined, now)
    position = next(index for index, one in enumerate(queue, 1) if one is job)
    return _places(queue, position, joined, {**works, job.id: work}, now)[-1]


def forecast_ends(snapshot: Snapshot, works: Mapping[str, Work], now: datetime) -> dict[str, tuple[datetime, datetime]]:
    """When each running job may end: from and to. One is left out where the lab doesn't open as long as its hours were
    looked up."""
    if not snapshot.active:
        return {}
    left = _left(snapshot.active, [works[job.id] for job in snapshot.active], Chance(len(snapshot.active)), now)
    hours = OpenTime(snapshot.hours, snapshot.pause_lead, now)
    ends = [[hours.ends(at) for at in found] for found in _quantiles(left)]
    return {
        job.id: (now + timedelta(seconds=end_from), now + timedelta(seconds=end_to))
        for job, (end_from, end_to) in zip(snapshot.active, ends, strict=True)
        if end_to != inf
    }


def _places(
    queue: Sequence[WaitingJob], count: int, snapshot: Snapshot, works: Mapping[str, Work], now: datetime
) -> list[QueuePlace]:
    """The first `count` places."""
    if not count:
        return []
    trainers = takers(snapshot, now)
    size = sum(trainer.slots for trainer in trainers)
    chance = Chance(count * size)
    slots = Slots(trainers, chance.draws)
    left = _left(snapshot.active, [works[active.id] for active in snapshot.active], chance, now)
    for active, until in zip(snapshot.active, left, strict=True):
        slots.occupy(active.trainer, until)
    hours = OpenTime(snapshot.hours, snapshot.pause_lead, now)
    names = [job.id for job in queue[:count]]
    lengths = _lengths(names, [works[name] for name in names], chance) + _PREPARING_SECONDS
    # Where fewer wait than there are slots, jobs come in more slowly than they are served.
    rush = _RUSH * min(1.0, len(queue) / max(1, size))
    shares = rush * np.asarray(_less_served(queue, snapshot, now)[:count])
    newcomers = _in_a_row(shares[:, None] * chance.uniform(Luck.NEWCOMERS, ["all"]), names, chance)
    expected = np.asarray([job.expected_seconds for job in queue])
    newcomer = expected[(chance.uniform(Luck.LENGTH, names) * len(expected)).astype(np.intp)]
    ranges = np.full((count, 2, chance.draws), inf)
    for index, job in enumerate(queue[:count]):
        if not len(slots.able(job.needs)):
            continue
        free, slot = slots.first(job.needs, newcomers[index], newcomer[index])
        start = hours.fitting(free, job.first_checkpoint_seconds)
        end = start + lengths[index]
        # A job that can never start leaves its slot to the next.
        slots.take(slot, np.where(np.isfinite(end), end, free))
        ranges[index] = start, end
    return [
        _place(name, position, now, hours, found)
        for position, (name, found) in enumerate(zip(names, _quantiles(ranges), strict=True), 1)
    ]


def _quantiles(draws: Floats) -> list[list[float]]:
    """Of each job, of each of its figures in turn: from, to."""
    ordered = np.sort(draws, axis=-1)
    picks = [round(quantile * (ordered.shape[-1] - 1)) for quantile in _QUANTILES]
    found: list[list[float]] = ordered[..., picks].reshape(len(draws), -1).tolist()
    return found


def _place(name: str, position: int, now: datetime, hours: OpenTime, found: Sequence[float]) -> QueuePlace:
    start_from, start_to = (hours.starts(at) for at in found[:2])
    end_from, end_to = (hours.ends(at) for at in found[2:])
    if end_to == inf:
        return QueuePlace(job_id=name, position=position)
    return QueuePlace(
        job_id=name,
        position=position,
        start_from=now + timedelta(seconds=start_from),
        start_to=now + timedelta(seconds=start_to),
        end_from=now + timedelta(seconds=end_from),
        end_to=now + timedelta(seconds=end_to),
    )


def _less_served(queue: Sequence[WaitingJob], snapshot: Snapshot, now: datetime) -> list[float]:
    """Of each job, the share of teams whose next jobs, if they came now, would go ahead of it."""
    ledger = Ledger(snapshot, now)
    had = []
    for job in queue:
        had.append(0.0 if job.front else ledger.had[job.team])
        ledger.charge(job)
    final = sorted(ledger.had.values())
    return [bisect_left(final, one) / len(final) for one in had]


def _in_a_row(probability: Floats, names: Sequence[str], chance: Chance) -> Indexes:
    """(jobs, draws) how often what has that probability happens one after another."""
    uniform = chance.uniform(Luck.NEWCOMERS, names)
    times: Floats = np.log(uniform + 1e-12) / np.log(np.clip(probability, 1e-9, _MOST_NEWCOMERS))
    return times.astype(np.intp)


def _lengths(names: Sequence[str], works: Sequence[Work], chance: Chance) -> Floats:
    """(jobs, draws) seconds from the first step to the end."""
    result = np.zeros((len(names), chance.draws))
    kinds: dict[tuple[float, ...], list[int]] = {}
    for index, work in enumerate(works):
        kinds.setdefault(tuple(work.step_seconds), []).append(index)
    error = chance.normal(Luck.PACE, ["all"])
    for figures, rows in kinds.items():
        own, known = [names[row] for row in rows], np.asarray(figures)
        remaining = np.asarray([[works[row].remaining_steps] for row in rows])
        limit = np.asarray([[max(0.0, works[row].max_seconds)] for row in rows])
        every = np.asarray([[works[row].checkpoint_every] for row in rows])
        pick = known[(chance.uniform(Luck.PACE, own) * len(known)).astype(np.intp)]
        pace = pick * np.exp(error * _PACE_ERROR / sqrt(len(known)) + chance.normal(Luck.NOISE, own) * _PACE_SPREAD)
        stepping = np.minimum(remaining * pace, limit)
        # One draw serves for whether it is stopped early and for when.
        stepping *= np.minimum(1.0, chance.uniform(Luck.STOP, own) / _STOPPED_EARLY)
        result[rows] = stepping + stepping / pace / every * _EVALUATION_SECONDS + _EXPORT_SECONDS
    return result


def _left(active: Sequence[ActiveJob], works: Sequence[Work], chance: Chance, now: datetime) -> Floats:
    """(jobs, draws) what running jobs still take, given that they haven't ended yet."""
    result = _lengths([job.id for job in active], works, chance)
    for row, job, work in zip(result, active, works, strict=True):
        if job.asked_at is not None:
            row[:] = _STOPPING_SECONDS
            continue
        if work.since in (None, job.assigned_at):
            row += _PREPARING_SECONDS
        passed = (now - (work.since or now)).total_seconds()
        possible = row[row > passed] - passed
        if not len(possible):
            # It takes longer than anything known: the longer so far, the longer still.
            possible = _STOPPING_SECONDS - 0.1 * passed * np.log1p(-chance.uniform(Luck.LENGTH, [job.id])[0])
        row[:] = np.resize(possible, len(row))
    return result
