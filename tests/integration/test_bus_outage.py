"""RabbitMQ killed under a publisher and a consumer: nothing confirmed is lost, both come back by themselves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import aio_pika
import msgspec
import pytest
from aio_pika.exceptions import ChannelPreconditionFailed
from structlog.testing import capture_logs

from shared.contract.errors import Reject, Retry
from shared.contract.events import JobStop, TrainingAccepted
from shared.contract.topology import SCHEDULER_FACTS, STATUS_PROGRESS, trainer_queue
from shared.contract.wire import Envelope
from shared.runtime import bus as bus_module
from shared.runtime.bus import RabbitBus
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing
from tests.support.broker import Broker
from tests.support.waiting import until
from tests.support.worlds import Inbox, RabbitWorld, counted

pytestmark = pytest.mark.timeout(90)


def message(number: int) -> Envelope:
    return Envelope(
        id=f"m{number}",
        time=datetime(2026, 3, 14, tzinfo=UTC),
        source="gpu-1",
        team="demo",
        job_id=f"j{number % 3}",
        body=TrainingAccepted(trainer="gpu-1"),
    )


async def test_a_broker_that_is_killed_loses_nothing_that_it_confirmed(
    private_rabbitmq: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_PUBLISH_TIMEOUT", 1.0)
    metrics, inbox, commands = Metrics(), Inbox(), Inbox()
    bus = RabbitBus(private_rabbitmq.url, service="test", metrics=metrics, tracing=Tracing("test"))
    await bus.connect()
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await bus.consume(trainer_queue("gpu-1"), {JobStop: commands})
    confirmed: list[str] = []
    refused = 0
    stop = asyncio.Event()

    async def publish() -> None:
        nonlocal refused
        number = 0
        while not stop.is_set():
            try:
                await bus.publish(message(number))
            except Retry:
                refused += 1
                await asyncio.sleep(0.1)
            else:
                confirmed.append(f"m{number}")
                number += 1
                await asyncio.sleep(0.005)

    publisher = asyncio.create_task(publish())
    await asyncio.sleep(2)  # a quorum queue that is killed younger may stay without a leader on 3.10
    private_rabbitmq.kill()
    await until(lambda: not bus.connected)
    before = len(confirmed)
    assert before > 50
    with pytest.raises(Retry, match=r"the broker did not take training\.accepted\.v1"):
        await bus.publish(message(-1))
    # Nor a command for a trainer that was told nothing yet: its channel can't be opened.
    stop_it = msgspec.structs.replace(message(-2), body=JobStop(reason="user"))
    with pytest.raises(
        Retry, match=r"job\.stop\.v2: ConnectionError\('the connection to the broker is being made again"
    ):
        await bus.command(trainer_queue("gpu-2").name, stop_it)
    await asyncio.to_thread(private_rabbitmq.restart)
    await until(lambda: bus.connected and len(confirmed) > before + 50, 60)
    stop.set()
    await publisher
    await until(lambda: set(confirmed) <= {envelope.id for envelope in inbox.got})
    stop_command = Envelope(id="c1", time=message(0).time, source="s", team="demo", body=JobStop(reason="user"))
    await bus.command("trainer.gpu-1", stop_command)
    assert await commands.has(1) == [stop_command]
    assert refused > 0
    failed = counted(metrics, "trainyard_published_total", type="training.accepted.v1", outcome="failed")
    assert failed == refused + 1

    # Told to stop while the broker is gone: an end in bounded time all the same.
    private_rabbitmq.kill()
    await until(lambda: not bus.connected)
    with capture_logs() as logged:
        async with asyncio.timeout(10):
            await bus.stop_consuming(1)
            await bus.close()
    assert not bus.connected
    assert {entry["event"] for entry in logged} >= {"bus.cancel_failed"}


async def test_a_broker_that_comes_up_later_is_waited_for(private_rabbitmq: Broker) -> None:
    private_rabbitmq.stop_node()
    bus = RabbitBus(private_rabbitmq.url, service="test", metrics=Metrics(), tracing=Tracing("test"))
    assert not bus.connected
    await bus.stop_consuming(1)
    await bus.close()
    with capture_logs() as logged:
        connecting = asyncio.create_task(bus.connect())
        await until(lambda: [entry for entry in logged if entry["event"] == "bus.waiting"])
        await asyncio.to_thread(private_rabbitmq.start)
        await connecting
    assert bus.connected
    await bus.publish(message(1))
    await bus.close()


async def test_a_queue_of_another_shape_is_an_error_and_not_waited_for(amqp_url: str) -> None:
    connection = await aio_pika.connect(amqp_url)
    async with connection, connection.channel() as channel:
        await channel.declare_queue(STATUS_PROGRESS.name, durable=True, arguments={"x-queue-type": "quorum"})
    bus = RabbitBus(amqp_url, service="test", metrics=Metrics(), tracing=Tracing("test"))
    with pytest.raises(ChannelPreconditionFailed, match=r"status\.progress"):
        await bus.connect()
    assert not bus.connected


async def test_a_dead_letter_that_finds_no_queue_gives_the_message_back(amqp_url: str) -> None:
    world = RabbitWorld(amqp_url)
    bus, inbox = await world.bus(), Inbox(Reject("never"))
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await world.remove(SCHEDULER_FACTS.dead_name)
    with capture_logs() as logged:
        await bus.publish(message(1))
        assert await inbox.has(2) == [message(1)] * 2
    assert [entry["to"] for entry in logged if entry["event"] == "message.move_failed"] == ["scheduler.facts.dead"]
    await world.close()


async def test_a_handler_that_ends_after_its_channel_leaves_the_message_to_the_next(amqp_url: str) -> None:
    """A handler that doesn't let itself be cancelled can't acknowledge any more, and nobody takes that for a bug."""
    world, started = RabbitWorld(amqp_url), asyncio.Event()

    async def stubborn(_: Envelope) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    first, inbox = await world.bus("first"), Inbox()
    await first.consume(SCHEDULER_FACTS, {TrainingAccepted: stubborn})
    await first.publish(message(1))
    await started.wait()
    with capture_logs() as logged:
        await first.close()
        await until(lambda: [entry for entry in logged if entry["event"] == "message.unsettled"])
    second = await world.bus("second")
    await second.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    assert await inbox.has(1) == [message(1)]
    await world.close()
