"""A background duty's pace, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from shared.runtime.loop import Loop
from shared.runtime.metrics import Metrics
from tests.support.virtual_time import run
from tests.support.worlds import counted

Duty = Callable[[], Awaitable[object]]


def rounds(duty: Duty, *, seconds: float, until: float, metrics: Metrics | None = None) -> list[float]:
    """When the rounds of a duty begin, seconds from the start."""

    async def main() -> list[float]:
        started: list[float] = []

        async def counted_duty() -> None:
            started.append(asyncio.get_running_loop().time())
            await duty()

        loop = Loop("sweep", counted_duty, seconds=seconds, metrics=metrics or Metrics())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(until):
                await loop.run()
        return started

    return run(main())


async def nothing() -> None: ...


def test_a_duty_runs_at_once_and_then_every_so_often() -> None:
    assert rounds(nothing, seconds=5, until=16) == pytest.approx([0, 5, 10, 15])


def test_rounds_never_overlap() -> None:
    assert rounds(lambda: asyncio.sleep(7), seconds=5, until=30) == pytest.approx([0, 12, 24])


def test_a_failing_duty_is_tried_again_after_growing_pauses_and_counted() -> None:
    async def fail() -> None:
        raise ZeroDivisionError("a bug")

    metrics = Metrics()
    with capture_logs() as logged:
        started = rounds(fail, seconds=1, until=60, metrics=metrics)
    assert started == pytest.approx([0, 2, 6, 14, 29, 44, 59])
    assert counted(metrics, "trainyard_loop_failures_total", loop="sweep") == 7
    events = [(entry["event"], entry["loop"], entry["failures"]) for entry in logged]
    assert events == [("loop.failed", "sweep", count) for count in range(1, 8)]
    # One trace is enough for a row of failures.
    assert [entry["exc_info"] for entry in logged] == [True] + [False] * 6


def test_after_a_good_round_the_pace_is_the_old_one() -> None:
    failures = [ZeroDivisionError(), ConnectionError()]

    async def fail_twice() -> None:
        if failures:
            raise failures.pop()

    assert rounds(fail_twice, seconds=1, until=8.5) == pytest.approx([0, 2, 6, 7, 8])


def test_wake_starts_a_round_now_or_right_after_the_one_under_way() -> None:
    async def main() -> list[float]:
        clock = asyncio.get_running_loop().time
        started: list[float] = []

        async def slow() -> None:
            started.append(clock())
            await asyncio.sleep(2)

        loop = Loop("relay", slow, seconds=100, metrics=Metrics())
        task = asyncio.create_task(loop.run())
        await asyncio.sleep(10)
        loop.wake()  # while it waits
        await asyncio.sleep(1)
        loop.wake()  # while it works
        loop.wake()
        await asyncio.sleep(50)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return started

    assert run(main()) == pytest.approx([0, 10, 12])


def test_what_wakes_it_in_the_pause_after_a_round_is_done_in_one() -> None:
    async def main() -> list[float]:
        clock = asyncio.get_running_loop().time
        started: list[float] = []

        async def note() -> None:
            started.append(clock())

        loop = Loop("tell", note, seconds=10, metrics=Metrics(), least=2)
        task = asyncio.create_task(loop.run())
        for _ in range(15):  # every tenth of a second
            await asyncio.sleep(0.1)
            loop.wake()
        await asyncio.sleep(20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return started

    assert run(main()) == pytest.approx([0, 2, 12])
