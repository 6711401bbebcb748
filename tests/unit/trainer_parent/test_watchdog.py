"""When a child counts as stalled: the arithmetic of the limits, and the loop that looks."""

from __future__ import annotations

import pytest

from services.trainer.protocol import (
    CheckpointSaved,
    FromChild,
    Notice,
    Phase,
    RunPhase,
    RunProgressed,
    RunStarted,
    RunStopping,
)
from services.trainer.watchdog import Stall, Watchdog
from tests.support.virtual_time import run
from tests.unit.trainer_parent.clock import LoopClock


def made() -> Watchdog:
    return Watchdog(stall_seconds=60, phase_seconds=900, step=4)


def progressed(step: int, seconds: float) -> RunProgressed:
    """A report of steps that took `seconds` each."""
    speed = 1 / seconds if seconds else 0.0
    return RunProgressed(step=step, stepping_seconds=1, steps_per_second=speed, learning_rate=0.1, losses={})


def stepping(first_seconds: float = 1.0) -> Watchdog:
    """One that has made its first step."""
    watchdog = made()
    watchdog.hear(RunStarted(step=5, resumed_from=4, seconds=first_seconds))
    watchdog.hear(RunPhase(phase="stepping"))
    return watchdog


def idle(watchdog: Watchdog, seconds: int, begin: int = 0) -> Stall | None:
    """What is found within so many seconds of silence, looked at twice a second."""
    for half in range(2 * begin, 2 * (begin + seconds) + 1):
        if (stall := watchdog.look(half / 2)) is not None:
            return stall
    return None


class TestLimits:
    @pytest.mark.parametrize(
        ("step_seconds", "limit"),
        [
            ([0.1] * 5, 60),
            ([3.0] * 5, 60),
            ([4.0] * 5, 80),
            # The median: neither a hiccup nor a burst moves it.
            ([4.0, 4.0, 90.0], 80),
            ([4.0, 0.1, 4.0], 80),
            # A report without a timed step says nothing of the pace.
            ([4.0, 0.0, 0.0], 80),
        ],
    )
    def test_twenty_steps_or_a_minute(self, step_seconds: list[float], limit: float) -> None:
        watchdog = stepping()
        for step, seconds in enumerate(step_seconds, start=6):
            watchdog.hear(progressed(step, seconds))
        assert watchdog.limit == pytest.approx(limit)

    def test_only_the_last_reports_count(self) -> None:
        watchdog = stepping()
        for step in range(6, 106):
            watchdog.hear(progressed(step, 10.0))
        for step in range(106, 146):
            watchdog.hear(progressed(step, 5.0))
        assert watchdog.limit == pytest.approx(100)

    @pytest.mark.parametrize(("first", "limit"), [(1.0, 60), (30.0, 600)])
    def test_until_a_step_is_timed_the_first_one_stands_for_it(self, first: float, limit: float) -> None:
        watchdog = stepping(first)
        assert watchdog.limit == limit
        watchdog.hear(progressed(5, 0.0))
        assert watchdog.limit == limit
        watchdog.hear(progressed(6, 0.5))
        assert watchdog.limit == 60

    @pytest.mark.parametrize("phase", ["preparing", "saving", "evaluating", "exporting"])
    def test_what_is_not_stepping_has_a_limit_of_its_own(self, phase: Phase) -> None:
        watchdog = stepping()
        watchdog.hear(RunPhase(phase=phase))
        assert watchdog.limit == 900


class TestLook:
    def test_preparing_is_what_it_begins_with(self) -> None:
        watchdog = made()
        assert idle(watchdog, 899) is None
        assert idle(watchdog, 2, begin=899) == Stall("preparing", 900.0, 4)

    def test_a_child_without_steps_is_found_at_the_limit(self) -> None:
        watchdog = stepping()
        assert idle(watchdog, 59) is None
        assert idle(watchdog, 2, begin=59) == Stall("stepping", 60.0, 5)

    @pytest.mark.parametrize("message", [progressed(6, 0.1), RunPhase(phase="stepping")])
    def test_headway_begins_the_count_anew(self, message: FromChild) -> None:
        watchdog = stepping()
        assert idle(watchdog, 50) is None
        watchdog.hear(message)
        assert idle(watchdog, 59, begin=50) is None
        assert idle(watchdog, 2, begin=109) is not None

    @pytest.mark.parametrize(
        "message",
        [
            Notice(code="c", message="m"),
            RunStopping(step=5, reason="user"),
            CheckpointSaved(step=5, stepping_seconds=1, path="/p", training={}),
        ],
    )
    def test_other_words_are_no_headway(self, message: FromChild) -> None:
        watchdog = stepping()
        assert idle(watchdog, 59) is None
        watchdog.hear(message)
        assert idle(watchdog, 1, begin=59) is not None

    def test_the_step_is_the_last_that_was_told(self) -> None:
        watchdog = stepping()
        watchdog.hear(progressed(17, 0.1))
        assert idle(watchdog, 61) == Stall("stepping", 60.0, 17)

    def test_what_the_parent_slept_through_does_not_count(self) -> None:
        watchdog = stepping()
        assert watchdog.look(0) is None
        assert watchdog.look(10_000) is None
        # From then on it does.
        assert idle(watchdog, 58, begin=10_000) is None
        assert idle(watchdog, 2, begin=10_058) is not None

    def test_nothing_is_expected_of_one_that_has_said_all(self) -> None:
        watchdog = stepping()
        watchdog.rest()
        assert idle(watchdog, 2000) is None


def test_the_loop_finds_it_in_time() -> None:
    async def go() -> None:
        clock = LoopClock()
        stall = await stepping().found(clock)
        assert stall.phase == "stepping"
        assert 60 <= stall.seconds <= clock.monotonic() <= 61

    run(go())
