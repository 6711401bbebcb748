"""Scenes from random days of the whole scheduler that went wrong once, each played on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from services.scheduler.settings import SchedulerSettings
from shared.runtime import auth
from tests.unit.scheduler.crew import Crew
from tests.unit.scheduler.people import People
from tests.unit.scheduler.plant import SECRET, Plant, patched, play
from tests.unit.scheduler.watch import Complaints, Watch

SETTINGS: dict[str, Any] = {
    "trainyard_secret": SECRET,
    "artifacts_url": "memory://plant",
    "min_steps": 10,
    "lease_seconds": 8,
    "leader_seconds": 4,
    "audit_seconds": 5,
    "drain_seconds": 1,
}


@pytest.fixture(autouse=True)
def around() -> Iterator[None]:
    with patched(), Complaints():
        yield


class Stage:
    """A plant, its crew and its people; make it inside the event loop."""

    def __init__(self) -> None:
        self.plant = Plant(SchedulerSettings(**SETTINGS))
        self.crew = Crew(self.plant)
        self.watch = Watch(self.plant, self.crew)
        self.people = People(self.plant, self.watch)


@pytest.mark.parametrize("away", [10.0 + 0.5 * number for number in range(12)])
def test_an_old_heartbeat_that_a_replaced_scheduler_had_in_hand_is_no_news(away: float) -> None:
    """Cut off from the store, it keeps trying to handle what it was given; when it is joined again, another one plans, and has
    given the trainer a job since."""

    async def scene() -> None:
        stage = Stage()
        first = stage.plant.start("a")
        await asyncio.sleep(1)
        stage.plant.start("b")
        trainer = stage.crew.join(2)
        await trainer.come_back()
        await asyncio.sleep(1)
        first.cut = True
        await asyncio.sleep(9)
        await stage.people.wish("submit", 0, 1)
        await asyncio.sleep(away)
        assert [attempt.number for attempt in trainer.held.values()] == [1]
        first.cut = False
        await asyncio.sleep(10)
        assert not stage.watch.wrong

    play(scene)


def test_a_drain_that_could_not_be_told_is_told_later() -> None:
    """The broker is away when the operator asks: that is written down, and the trainer is given no more jobs."""

    async def scene() -> None:
        stage = Stage()
        stage.plant.start("a")
        await asyncio.sleep(1)
        trainer = stage.crew.join(1)
        await trainer.come_back()
        await asyncio.sleep(1)
        stage.plant.broker.down()
        now = stage.plant.clock.now()
        token = auth.mint(SECRET, team="ops", role="admin", name="Op", now=now, lifetime=None)
        (process,) = stage.plant.living()
        status, content = await process.ask("POST", f"/api/trainers/{trainer.id}/drain", token)
        assert (status, content["trainer"]["status"]) == (200, "draining")
        stage.plant.broker.up()
        await asyncio.sleep(30)
        assert not trainer.alive

    play(scene)
