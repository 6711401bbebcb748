"""A stop signal keeps its first reason, unless the machine goes away."""

from __future__ import annotations

import pytest

from services.trainer.engine.control import StopSignal
from services.trainer.protocol import StopReason


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ([], None),
        (["user"], "user"),
        (["user", "time_limit"], "user"),
        (["user", "drained"], "drained"),
        (["drained", "user"], "drained"),
    ],
)
def test_reason(asked: list[StopReason], reason: StopReason | None) -> None:
    stop = StopSignal()
    for each in asked:
        stop.ask(each)
    assert stop.reason == reason


def test_whoever_asks_makes_itself_heard() -> None:
    stop, heard = StopSignal(), list[StopReason | None]()
    stop.ask("user")
    stop.on_ask = lambda: heard.append(stop.reason)
    stop.ask("time_limit")
    stop.ask("drained")
    assert heard == ["user", "drained"]
