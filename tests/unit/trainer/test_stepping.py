"""What is charged as stepping time, and what the reports say."""

from __future__ import annotations

import pytest

from services.trainer.engine.stepping import Interval, Stepping

LOSS = {"loss": 1.0}


def test_the_first_step_of_a_process_is_not_charged() -> None:
    stepping = Stepping(step=0, seconds=0.0)
    stepping.add(LOSS, 12.0)
    assert (stepping.step, stepping.seconds) == (1, 0.0)
    stepping.add(LOSS, 0.5)
    assert (stepping.step, stepping.seconds) == (2, 0.5)


def test_an_attempt_continues_the_account_of_the_one_before() -> None:
    stepping = Stepping(step=100, seconds=60.0)
    for seconds in (12.0, 0.5, 0.5):
        stepping.add(LOSS, seconds)
    assert (stepping.step, stepping.seconds, stepping.made) == (103, 61.0, 3)


def test_speed_leaves_the_first_step_out() -> None:
    stepping = Stepping(step=0, seconds=0.0)
    stepping.add(LOSS, 12.0)
    assert stepping.since_checkpoint.steps_per_second == 0.0
    stepping.add(LOSS, 0.25)
    stepping.add(LOSS, 0.25)
    assert stepping.take_checkpoint().steps_per_second == 4.0


def test_intervals_hold_the_means_since_they_were_taken() -> None:
    stepping = Stepping(step=0, seconds=0.0)
    stepping.add({"loss": 4.0}, 1.0)
    stepping.add({"loss": 2.0}, 1.0)
    assert stepping.take_report(0.0).means() == {"loss": 3.0}
    stepping.add({"loss": 1.0}, 1.0)
    assert stepping.take_report(0.0).means() == {"loss": 1.0}
    assert stepping.take_checkpoint().means() == {"loss": pytest.approx(7 / 3)}
    assert stepping.take_checkpoint() == Interval()


def test_progress_is_due_at_most_once_a_second() -> None:
    stepping = Stepping(step=0, seconds=0.0)
    assert not stepping.report_due(5.0)
    stepping.add(LOSS, 1.0)
    assert stepping.report_due(5.0)
    stepping.take_report(5.0)
    stepping.add(LOSS, 0.5)
    assert not stepping.report_due(5.9)
    assert stepping.report_due(6.0)
