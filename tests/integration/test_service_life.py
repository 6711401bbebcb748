"""A service on the real broker and the real store: ready with them, not ready without one, and ended in good order."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from deploy.local.ports import free_ports
from shared.contract.events import TrainerGone
from shared.contract.topology import SCHEDULER_FACTS
from shared.contract.wire import Envelope
from shared.runtime.bus import RabbitBus
from shared.runtime.service import Runtime, serve
from shared.runtime.settings import CommonSettings
from tests.support.broker import Broker
from tests.support.worlds import Inbox

pytestmark = pytest.mark.timeout(60)


async def readiness(port: int, status: int) -> dict[str, Any]:
    """What /readyz says once it answers with `status`."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                    content: dict[str, Any] = await response.json()
                    if response.status == status:
                        return content
            except aiohttp.ClientConnectionError:
                pass  # the port isn't open yet
            await asyncio.sleep(0.02)


async def test_a_service_lives_with_its_broker_and_its_store(
    private_rabbitmq: Broker, mongo_url: str, mongo_prefix: str
) -> None:
    (port,) = free_ports(1)
    settings = CommonSettings.model_validate(
        {
            "port": port,
            "rabbitmq_url": private_rabbitmq.url,
            "mongo_url": mongo_url,
            "mongo_prefix": mongo_prefix,
            "trainyard_secret": "a-secret-of-more-than-32-characters",
            "drain_seconds": 1,
        }
    )
    buses: list[RabbitBus] = []
    inbox = Inbox()

    async def compose(runtime: Runtime[CommonSettings], _: web.Application) -> None:
        await (await runtime.store()).database("test")["things"].insert_one({"_id": "t1"})
        buses.append(await runtime.bus())
        await buses[0].consume(SCHEDULER_FACTS, {TrainerGone: inbox})

    serving = asyncio.create_task(serve("test", settings, compose))
    await readiness(port, 200)
    gone = Envelope(
        id="m1", time=datetime(2026, 3, 14, tzinfo=UTC), source="gpu-1", team="", body=TrainerGone(trainer="gpu-1")
    )
    await buses[0].publish(gone)
    assert await inbox.has(1) == [gone]

    await asyncio.sleep(1.5)  # a quorum queue that is killed younger may stay without a leader on 3.10
    private_rabbitmq.kill()
    assert (await readiness(port, 503))["problems"] == {"broker": "the broker can't be reached"}
    await asyncio.to_thread(private_rabbitmq.restart)
    await readiness(port, 200)

    os.kill(os.getpid(), signal.SIGTERM)
    assert await serving == 0
    assert not buses[0].connected
