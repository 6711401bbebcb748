"""A stop is answered once, as soon as it is known that no further step is made, and ends what nobody wants any more."""

from __future__ import annotations

import threading

import pytest

from services.trainer.engine.control import Interrupted, StopSignal
from services.trainer.engine.stops import Stops
from services.trainer.protocol import FromChild, RunStopping, StopReason


class Run:
    """A run's step and what it reported."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.signal = StopSignal()
        self.said: list[FromChild] = []
        self.stops = Stops(self.signal, lambda: self.step, self.said.append)

    def make_step(self, stop: StopReason | None = None) -> bool:
        """Make a step, in the middle of which a stop may come; False if none may be made."""
        if self.stops.begin_step() is not None:
            return False
        if stop is not None:
            self.signal.ask(stop)
        assert self.said == []
        self.step += 1
        self.stops.end_step()
        return True


def test_between_steps_whoever_hears_of_it_answers() -> None:
    run = Run(step=5)
    asking = threading.Thread(target=run.signal.ask, args=("user",))
    asking.start()
    asking.join()
    assert run.said == [RunStopping(step=5, reason="user")]
    assert not run.make_step()
    assert run.step == 5


def test_a_step_under_way_is_finished_first() -> None:
    run = Run(step=5)
    assert run.make_step("user")
    assert run.said == [RunStopping(step=6, reason="user")]
    assert not run.make_step()


def test_it_is_answered_once() -> None:
    run = Run(step=5)
    run.signal.ask("user")
    run.stops.answer("time_limit")
    run.stops.answer()
    run.stops.look()
    run.signal.ask("drained")
    assert run.said == [RunStopping(step=5, reason="user")]


def test_without_a_stop_there_is_no_answer() -> None:
    run = Run(step=5)
    run.stops.answer()
    run.stops.look()
    assert run.make_step()
    assert run.said == []


def test_the_time_limit_is_a_reason_of_the_runs_own() -> None:
    run = Run(step=5)
    run.stops.answer("time_limit")
    assert run.said == [RunStopping(step=5, reason="time_limit")]


def test_before_any_step_it_ends_in_silence() -> None:
    run = Run(step=0)
    run.signal.ask("user")
    with pytest.raises(Interrupted) as interrupted:
        run.stops.look()
    run.stops.answer()
    assert interrupted.value.reason == "user"
    assert run.said == []


def test_what_was_asked_before_anybody_listened_is_answered_at_the_first_look() -> None:
    signal, said = StopSignal(), list[FromChild]()
    signal.ask("user")
    stops = Stops(signal, lambda: 5, said.append)
    stops.look()
    assert said == [RunStopping(step=5, reason="user")]


@pytest.mark.parametrize("step", [0, 5])
def test_a_drain_ends_whatever_takes_long(step: int) -> None:
    run = Run(step)
    run.signal.ask("user")
    run.signal.ask("drained")
    with pytest.raises(Interrupted) as interrupted:
        run.stops.look()
    assert interrupted.value.reason == "drained"


def test_a_report_may_ask_for_a_stop() -> None:
    signal, said = StopSignal(), list[FromChild]()

    def report(message: FromChild) -> None:
        said.append(message)
        signal.ask("drained")

    Stops(signal, lambda: 5, report).answer("time_limit")
    assert said == [RunStopping(step=5, reason="time_limit")]
