"""What everybody may see of the room, by real services: the queue of all teams without who and what in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from shared.contract.events import RoomMoved
from tests.support.running import Caller
from tests.support.scheduling import Platform, open_platform, open_trainer, until


@pytest.fixture
async def platform(amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(amqp_url, mongo_url, mongo_prefix, tmp_path) as running:
        yield running


async def test_everybody_sees_the_whole_queue_and_of_others_neither_who_nor_what(platform: Platform) -> None:
    viewer = platform.caller("viewer", "Vi")

    async def room(by: Caller = viewer) -> Any:
        return await platform.api("GET", "/queue", by=by)

    def moves() -> int:
        return sum(isinstance(envelope.body, RoomMoved) for envelope in platform.facts)

    assert await room() == {
        "slots": 0, "busy": 0, "running": [], "waiting": [], "start_from": None, "start_to": None,
    }  # fmt: skip
    await platform.api("GET", "/queue", by=Caller(platform.session, "no token"), expect=401)
    dataset, other = await platform.add_dataset(), platform.of_team("others")
    theirs_data = await other.add_dataset("Secret field")
    async with open_trainer(platform) as trainer:
        running = await platform.queued(dataset, description="Ours runs")
        await trainer.holds(running)
        before = moves()
        ours = await platform.queued(dataset, description="Ours waits")
        theirs = await other.queued(theirs_data, description="Secret plan")
        await until(lambda: moves() > before)

        async def both() -> Any:
            answer = await room()
            return answer if len(answer["waiting"]) == 2 else None

        seen = await until(both)
        assert (seen["slots"], seen["busy"]) == (1, 1)
        # The other team has nothing running: it comes first.
        assert [(one["position"], one["job_id"], one["description"]) for one in seen["waiting"]] == [
            (1, None, None),
            (2, ours, "Ours waits"),
        ]
        assert all(one["start_from"] and one["end_to"] and one["queued_at"] for one in seen["waiting"])
        (run,) = seen["running"]
        assert (run["job_id"], run["description"], run["steps_completed"], run["steps_requested"]) == (
            running, "Ours runs", 0, 40,
        )  # fmt: skip
        assert run["end_from"] <= run["end_to"]
        assert seen["start_from"] <= seen["start_to"]
        told = json.dumps(seen)
        assert not [word for word in (theirs, theirs_data, "others", "Secret", trainer.id) if word in told]
        from_there = await room(other.caller("viewer", "Xi"))
        assert [one["job_id"] for one in from_there["waiting"]] == [theirs, None]
        assert from_there["running"][0]["job_id"] is None
        # A job that goes on is told of to all.
        before = moves()
        await trainer.started(running, 1)
        await trainer.checkpointed(running, 1, 20, 5.0)
        await until(lambda: moves() > before)
        assert (await room())["running"][0]["steps_completed"] == 20
        times = [envelope.time for envelope in platform.facts if isinstance(envelope.body, RoomMoved)]
        assert all((later - earlier).total_seconds() > 0.5 for earlier, later in pairwise(times))
