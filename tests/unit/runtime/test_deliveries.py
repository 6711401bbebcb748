"""The acknowledgement table's pauses and counts, on virtual time over the bus in memory. Its rows: test_bus_contract.py."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from shared.contract.errors import Retry
from shared.contract.events import TrainingAccepted
from shared.contract.topology import DELIVERY_LIMIT, SCHEDULER_FACTS, STATUS_PROGRESS
from shared.contract.wire import Envelope
from shared.runtime.deliveries import Handler
from shared.runtime.trace import trace_id
from tests.support.virtual_time import run
from tests.support.worlds import MemoryWorld, counted

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def message(name: str = "m1", job: str = "j1") -> Envelope:
    return Envelope(
        id=name,
        time=datetime(2026, 3, 14, tzinfo=UTC),
        source="gpu-1",
        team="demo",
        job_id=job,
        traceparent=TRACEPARENT,
        body=TrainingAccepted(trainer="gpu-1"),
    )


async def consuming(handler: Handler, *messages: Envelope) -> MemoryWorld:
    world = MemoryWorld()
    bus = await world.bus()
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: handler})
    for envelope in messages:
        await bus.publish(envelope)
    return world


def when_tried(failure: Exception, seconds: float) -> tuple[list[float], MemoryWorld]:
    tried: list[float] = []

    async def handler(_: Envelope) -> None:
        tried.append(asyncio.get_running_loop().time())
        raise failure

    async def main() -> MemoryWorld:
        world = await consuming(handler, message())
        await asyncio.sleep(seconds)
        await world.close()
        return world

    return tried, run(main())


def test_pauses_grow_to_ten_seconds_and_end_at_the_limit() -> None:
    tried, world = when_tried(Retry("not yet"), 100)
    assert tried == pytest.approx([0, 0.4, 1.2, 2.8, 6.0, 12.4, 22.4, 32.4])
    (dead,) = world.broker.waiting(SCHEDULER_FACTS.dead_name)
    assert dead.headers["x-reason"] == "gave up after 8 attempts: Retry('not yet')"


def test_an_outage_is_tried_again_every_two_seconds_for_ever() -> None:
    tried, world = when_tried(ConnectionError("the store"), 61)
    assert tried[:6] == pytest.approx([0, 0.2, 0.6, 1.4, 3.0, 5.0])
    assert len(tried) == 33
    assert world.broker.waiting(SCHEDULER_FACTS.dead_name) == []


def test_a_pause_delays_its_own_job_alone() -> None:
    ended: list[tuple[str, float]] = []
    failures = [Retry("not yet")]

    async def handler(envelope: Envelope) -> None:
        if envelope.id == "m1" and failures:
            raise failures.pop()
        ended.append((envelope.id, round(asyncio.get_running_loop().time(), 3)))

    async def main() -> None:
        world = await consuming(handler, message("m1"), message("m2"), message("other", job="j2"))
        await asyncio.sleep(5)
        await world.close()

    run(main())
    assert ended == [("other", 0.0), ("m2", 0.4), ("m1", 0.4)]


def test_no_later_message_of_a_job_overtakes_one_that_waits_out_an_outage() -> None:
    ended: list[tuple[str, float]] = []
    failures = [ConnectionError("the store"), ConnectionError("the store")]

    async def handler(envelope: Envelope) -> None:
        if envelope.id == "m1" and failures:
            raise failures.pop()
        ended.append((envelope.id, round(asyncio.get_running_loop().time(), 3)))

    async def main() -> None:
        world = await consuming(handler, message("m1"), message("m2"), message("other", job="j2"))
        await asyncio.sleep(5)
        await world.close()

    run(main())
    assert ended == [("other", 0.0), ("m1", 0.6), ("m2", 0.6)]


def test_a_bug_is_logged_with_its_trace_and_a_retry_without() -> None:
    for failure, traced in ((ZeroDivisionError("a bug"), True), (Retry("not yet"), False)):
        with capture_logs() as logged:
            when_tried(failure, 0.1)
        (entry,) = [entry for entry in logged if entry["event"] == "message.failed"]
        assert (entry["exc_info"], entry["attempts"], entry["type"]) == (traced, 1, "training.accepted.v1")


def test_a_handler_runs_in_the_sender_s_trace_and_is_timed() -> None:
    traces: list[str | None] = []

    async def handler(_: Envelope) -> None:
        traces.append(trace_id())

    async def main() -> MemoryWorld:
        world = await consuming(handler, message())
        await asyncio.sleep(1)
        return world

    world = run(main())
    assert traces == ["4bf92f3577b34da6a3ce929d0e0e4736"]
    assert counted(world.metrics(), "trainyard_message_seconds_count", type="training.accepted.v1") == 1


def test_a_count_of_attempts_that_is_no_number_counts_as_none() -> None:
    tried: list[str] = []

    async def handler(envelope: Envelope) -> None:
        tried.append(envelope.id)
        raise Retry("not yet")

    async def main() -> None:
        world = await consuming(handler)
        await (await world.bus()).publish(message())
        world.broker.waiting(SCHEDULER_FACTS.name)
        await asyncio.sleep(0.1)
        await world.close()
        (stored,) = world.broker.waiting(SCHEDULER_FACTS.name)
        stored.headers["x-attempts"] = "many"
        again = await world.bus()
        await again.consume(SCHEDULER_FACTS, {TrainingAccepted: handler})
        await asyncio.sleep(0.5)
        await again.close()
        assert world.broker.waiting(SCHEDULER_FACTS.name)[0].headers["x-attempts"] == 1

    run(main())
    assert tried == ["m1"] * 3


def test_a_message_that_kills_its_consumers_ends_with_the_dead() -> None:
    async def hang(_: Envelope) -> None:
        await asyncio.Event().wait()

    async def main() -> MemoryWorld:
        world = await consuming(hang, message())
        for _ in range(DELIVERY_LIMIT + 1):
            await asyncio.sleep(0.1)
            world.broker.down()
            world.broker.up()
        await asyncio.sleep(0.1)
        await world.close()
        return world

    world = run(main())
    assert [dead.message_id for dead in world.broker.waiting(SCHEDULER_FACTS.dead_name)] == ["m1"]


def test_publishing_into_an_outage_is_retry_and_consumers_come_back() -> None:
    got: list[str] = []

    async def handler(envelope: Envelope) -> None:
        got.append(envelope.id)

    async def main() -> None:
        world = await consuming(handler)
        bus = await world.bus()
        world.broker.down()
        assert not bus.connected
        with pytest.raises(Retry, match=r"the broker did not take training\.accepted\.v1"):
            await bus.publish(message())
        world.broker.up()
        await bus.publish(message())
        await asyncio.sleep(0.1)

    run(main())
    assert got == ["m1"]


def test_a_bounded_queue_drops_its_oldest() -> None:
    async def main() -> list[bytes]:
        world = MemoryWorld()
        for number in range(10_003):
            await world.put(STATUS_PROGRESS.name, str(number).encode())
        return [stored.body for stored in world.broker.waiting(STATUS_PROGRESS.name)]

    bodies = run(main())
    assert (len(bodies), bodies[0], bodies[-1]) == (10_000, b"3", b"10002")
