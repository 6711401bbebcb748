"""The channels for commands: one that isn't confirmed costs its queue's channel, and nobody else waits."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import aio_pika
import pytest
from structlog.testing import capture_logs

from shared.contract import topology
from shared.runtime.bus import CommandLanes
from tests.support.virtual_time import run


class Channel:
    """Confirms until a command for a queue without a leader: that one and all after it wait for ever, as on RabbitMQ 3.10."""

    def __init__(self, *, closes: bool) -> None:
        self.taken: list[str] = []
        self.stuck = self.closed = False
        self._closes = closes

    async def get_exchange(self, name: str, *, ensure: bool) -> Channel:
        assert (name, ensure) == (topology.COMMANDS_EXCHANGE, False)
        return self

    async def publish(self, _: aio_pika.Message, queue: str, *, mandatory: bool) -> None:
        assert mandatory
        self.stuck = self.stuck or queue == "leaderless"
        if self.stuck:
            await asyncio.Event().wait()
        self.taken.append(queue)

    async def close(self) -> None:
        if not self._closes:
            await asyncio.Event().wait()
        self.closed = True


class World:
    """A lane and the channels that it has opened."""

    def __init__(self, *, closes: bool = True) -> None:
        self.channels: list[Channel] = []
        self._closes = closes
        self.lane = CommandLanes(self._open)

    async def _open(self) -> Any:
        await asyncio.sleep(0.1)
        self.channels.append(Channel(closes=self._closes))
        return cast(Any, self.channels[-1])

    async def send(self, queue: str) -> bool:
        try:
            async with asyncio.timeout(4):
                await self.lane.publish(aio_pika.Message(b""), queue)
        except TimeoutError:
            return False
        return True


def test_each_queue_has_a_channel_and_keeps_it() -> None:
    async def go() -> None:
        world = World()
        assert await asyncio.gather(*(world.send(name) for name in "abab")) == [True] * 4
        assert [channel.taken for channel in world.channels] == [["a", "a"], ["b", "b"]]

    run(go())


def test_no_more_channels_are_open_than_a_connection_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        monkeypatch.setattr("shared.runtime.bus._MOST_LANES", 2)
        world = World()
        for name in "abac":
            assert await world.send(name)
        await asyncio.sleep(1)
        assert [(channel.taken, channel.closed) for channel in world.channels] == [
            (["a", "a"], False),
            (["b"], True),
            (["c"], False),
        ]

    run(go())


@pytest.mark.parametrize("closes", [True, False])
def test_a_command_that_is_never_confirmed_costs_its_channel_and_delays_nobody(closes: bool) -> None:
    async def go() -> None:
        world = World(closes=closes)
        with capture_logs() as logged:
            assert await asyncio.gather(*(world.send(name) for name in ("a", "leaderless", "b"))) == [True, False, True]
            assert await world.send("b")
            assert not await world.send("leaderless")
            await asyncio.sleep(5)
        found = sorted((channel.taken, channel.stuck, channel.closed) for channel in world.channels)
        stuck: tuple[list[str], bool, bool] = ([], True, closes)
        assert found == [stuck, stuck, (["a"], False, False), (["b", "b"], False, False)]
        assert ("bus.close_failed" in [line["event"] for line in logged]) is not closes

    run(go())
