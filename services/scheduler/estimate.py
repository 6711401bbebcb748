"""How long things take: seconds a step, a run's length, and when each waiting job may start and end.

Pure. Figures come from finished runs of the same model, batch size and accelerator where there are any, else from the starting
models' table. Starts and ends are a range: the queue is played forward twice, with quick and with slow steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from statistics import median

import msgspec

from shared.contract.starting_models import STARTING_MODELS, Accelerator
from shared.contract.views import QueuePlace

# What a run takes besides stepping: fetching, building, evaluations and export.
_OVERHEAD_SECONDS = 60.0
_EVALUATION_SECONDS = 5.0
_QUICK, _SLOW = 0.8, 1.4


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Steps that a job still has to make, at so many seconds each."""

    job_id: str
    remaining_steps: int
    seconds_per_step: float
    checkpoint_every: int
    max_seconds: float

    def seconds(self, pace: float) -> float:
        """Expected wall time, `pace` times as slow as expected."""
        stepping = min(self.remaining_steps * self.seconds_per_step, self.max_seconds)
        evaluations = self.remaining_steps / self.checkpoint_every * _EVALUATION_SECONDS
        return pace * (stepping + evaluations + _OVERHEAD_SECONDS)


def seconds_per_step(
    starting_model: str, batch_size: int, accelerator: Accelerator, finished: Sequence[float]
) -> float:
    """The median of finished runs alike, else the table's figure scaled to the batch."""
    if finished:
        return median(finished)
    model = STARTING_MODELS[starting_model]
    return model.seconds_per_step[accelerator] * batch_size / model.batch_size[accelerator]


def places(waiting: Sequence[Work], running: Mapping[str, Work], slots: int, now: datetime) -> list[QueuePlace]:
    """A place for each waiting job, in queue order, given `slots` in all of which `running` jobs hold some.

    Without any slot nothing can be said of the time: the place alone is given.
    """
    if slots == 0:
        return [QueuePlace(job_id=work.job_id, position=index) for index, work in enumerate(waiting, 1)]
    quick = _forward(waiting, running, slots, _QUICK)
    slow = _forward(waiting, running, slots, _SLOW)
    return [
        QueuePlace(
            job_id=work.job_id,
            position=index,
            start_from=now + timedelta(seconds=quick[index - 1][0]),
            start_to=now + timedelta(seconds=slow[index - 1][0]),
            end_from=now + timedelta(seconds=quick[index - 1][1]),
            end_to=now + timedelta(seconds=slow[index - 1][1]),
        )
        for index, work in enumerate(waiting, 1)
    ]


def _forward(
    waiting: Sequence[Work], running: Mapping[str, Work], slots: int, pace: float
) -> list[tuple[float, float]]:
    """(start, end) of each waiting job in seconds from now, each taking the slot that is free first."""
    busy = sorted(work.seconds(pace) for work in running.values())
    free = ([0.0] * max(0, slots - len(busy)) + busy)[:slots]
    heapify(free)
    result: list[tuple[float, float]] = []
    for work in waiting:
        start = heappop(free)
        end = start + work.seconds(pace)
        heappush(free, end)
        result.append((start, end))
    return result
