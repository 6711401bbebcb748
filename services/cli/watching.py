"""Follows one job from the stream to its end, whatever shows it.

Owns the loop: which job of the stream, metrics fetched beside it, the server's clock, the end. Drawing is a Screen's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from services.cli.api import Api
from services.cli.fold import with_model
from services.cli.scene import Scene, scene
from services.cli.stream import Folded, Offline
from shared.contract.errors import UserError
from shared.contract.jobs import TERMINAL
from shared.contract.stream import MetricPoint
from shared.contract.views import JobView
from shared.runtime.clock import Clock

TICK_SECONDS = 0.5
# More than this and the local clock was set, or the machine slept.
_CLOCK_JUMP = timedelta(seconds=2)


class Screen(Protocol):
    """Shows a job to somebody. `now` is always the server's time."""

    def show(self, before: Scene | None, after: Scene, now: datetime) -> None:
        """The job changed; `before` is None the first time."""
        ...

    def offline(self, reason: str, pause_seconds: float) -> None:
        """The connection is gone; it is tried again after a pause. The next `show` means that it is back."""
        ...

    def tick(self, now: datetime) -> None:
        """Time passed."""
        ...


class ServerClock:
    """The server's time from the local one. A frame is never early, only late: the largest difference seen is the best."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: timedelta | None = None

    def hear(self, server_time: datetime) -> None:
        """A frame says the time."""
        seen = server_time - self._clock.now()
        if self._offset is None or abs(seen - self._offset) > _CLOCK_JUMP:
            self._offset = seen
        else:
            self._offset = max(self._offset, seen)

    def now(self) -> datetime:
        """The server's time, the local one before any frame."""
        return self._clock.now() + (self._offset or timedelta())


async def follow_job(api: Api, job: JobView, screen: Screen, clock: Clock) -> Scene:
    """Shows the job until it ends; returns how it ended. Raises UserError `deleted` when somebody deletes it meanwhile."""
    server_clock = ServerClock(clock)
    if job.state in TERMINAL:
        ended = Scene(job=job, points=await _past_metrics(api, job.id))
        screen.show(None, ended, server_clock.now())
        return ended
    ticking = asyncio.create_task(_tick(screen, server_clock))
    try:
        return await _follow(api, job, screen, server_clock)
    finally:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking


async def _follow(api: Api, job: JobView, screen: Screen, clock: ServerClock) -> Scene:
    shown: Scene | None = None
    past: Mapping[int, MetricPoint] = {}
    fetched, seen = 0, False
    async with aclosing(api.stream.follow()) as updates:
        async for update in updates:
            match update:
                case Offline(reason, pause_seconds):
                    screen.offline(reason, pause_seconds)
                    continue
                case Folded(state, time):
                    clock.hear(time)
            in_stream = job.id in state.models
            if seen and not in_stream:
                raise UserError("deleted", f"Job {job.id} was deleted.", "job", status=404)
            seen = in_stream
            if state.snapshots > fetched and in_stream:
                fetched, past = state.snapshots, await _past_metrics(api, job.id)
            # The answer to a submit may be quicker than the stream: `job` counts until the stream knows better.
            current = scene(with_model(state, job), job.id)
            assert current is not None  # with_model has put it there
            current = msgspec.structs.replace(current, points={**past, **current.points})
            screen.show(shown, current, clock.now())
            shown = current
            if current.ended:
                return current
    raise AssertionError("the stream has no end")


async def _past_metrics(api: Api, job_id: str) -> Mapping[int, MetricPoint]:
    """Metrics are no part of a snapshot. Nothing else hangs on them, so trouble here must not end the watching."""
    try:
        return {point.step: point for point in (await api.model(job_id)).metrics}
    except UserError:
        return {}


async def _tick(screen: Screen, clock: ServerClock) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        screen.tick(clock.now())
