"""The outbox: what a document's change tells is told in order, at least once, and never lost. On the real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from shared.contract.errors import Reject, Retry
from shared.contract.events import JobDeleted, JobStop, TrainingAccepted
from shared.contract.topology import SCHEDULER_FACTS, STATUS_FACTS, trainer_queue
from shared.contract.wire import Envelope, decode
from shared.runtime import outbox
from shared.runtime.clock import SystemClock
from shared.runtime.metrics import Metrics
from shared.runtime.mongo import Collection, Document, Store, ensure_indexes
from shared.runtime.outbox import FIELD, INDEX, Relay, entry, push
from tests.support.broker import Broker
from tests.support.memory_bus import MemoryBroker, MemoryBus
from tests.support.worlds import Inbox, RabbitWorld, counted

pytestmark = pytest.mark.timeout(90)


@pytest_asyncio.fixture
async def jobs(mongo_url: str, mongo_prefix: str) -> AsyncIterator[Collection]:
    client = Store(mongo_url, mongo_prefix)
    collection = client.database("scheduler")["jobs"]
    await ensure_indexes(collection, [INDEX])
    yield collection
    client.close()


@pytest.fixture
def broker_in_memory() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def bus(broker_in_memory: MemoryBroker) -> MemoryBus:
    return MemoryBus(broker_in_memory, service="scheduler", metrics=Metrics())


def fact(number: int, job: str = "j1") -> Envelope:
    return Envelope(
        id=f"{job}-{number:03}",
        time=datetime(2026, 3, 14, tzinfo=UTC),
        source="scheduler",
        team="demo",
        job_id=job,
        body=JobDeleted(job_id=job, version=number),
    )


def stop(job: str = "j1") -> Envelope:
    return Envelope(
        id=f"{job}-stop",
        time=datetime(2026, 3, 14, tzinfo=UTC),
        source="scheduler",
        team="demo",
        job_id=job,
        attempt=1,
        body=JobStop(reason="user"),
    )


async def change(jobs: Collection, *envelopes: Envelope, job: str = "j1", to: str | None = None) -> None:
    """A state change and what it tells, in one write."""
    update = {"$inc": {"version": 1}, "$push": push([entry(envelope, to=to) for envelope in envelopes])}
    await jobs.update_one({"_id": job}, update, upsert=True)


async def waiting(jobs: Collection, job: str = "j1") -> list[str]:
    document = await jobs.find_one({"_id": job})
    assert document is not None
    return [told["id"] for told in document[FIELD]]


def told(broker: MemoryBroker) -> list[str | None]:
    return [stored.message_id for stored in broker.waiting(STATUS_FACTS.name)]


async def test_what_a_change_tells_is_told_in_order_and_once(
    jobs: Collection, bus: MemoryBus, broker_in_memory: MemoryBroker
) -> None:
    await change(jobs, fact(1), fact(2))
    await change(jobs, fact(3))
    assert await waiting(jobs) == ["j1-001", "j1-002", "j1-003"]
    metrics = Metrics()
    relay = Relay(jobs, bus, metrics, SystemClock())
    assert await relay.relay_once() == 3
    assert told(broker_in_memory) == ["j1-001", "j1-002", "j1-003"]
    assert decode(broker_in_memory.waiting(STATUS_FACTS.name)[0].body) == fact(1)
    assert await waiting(jobs) == []
    assert counted(metrics, "trainyard_outbox_documents", collection="jobs") == 1
    assert await relay.relay_once() == 0
    assert counted(metrics, "trainyard_outbox_documents", collection="jobs") == 0


async def test_more_documents_than_a_batch_are_all_told(
    jobs: Collection, bus: MemoryBus, broker_in_memory: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_BATCH", 5)
    for number in range(12):
        await change(jobs, fact(1, f"j{number}"), fact(2, f"j{number}"), job=f"j{number}")
    assert await Relay(jobs, bus, Metrics(), SystemClock()).relay_once() == 24
    names = told(broker_in_memory)
    for number in range(12):
        assert [name for name in names if name and name.startswith(f"j{number}-")] == [
            f"j{number}-001",
            f"j{number}-002",
        ]


async def test_what_comes_while_the_relay_publishes_waits_for_the_next_round(
    jobs: Collection, bus: MemoryBus, broker_in_memory: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = bus.publish

    async def publish_meanwhile(envelope: Envelope) -> None:
        await publish(envelope)
        if envelope.id == "j1-001":
            await change(jobs, fact(2))

    monkeypatch.setattr(bus, "publish", publish_meanwhile)
    relay = Relay(jobs, bus, Metrics(), SystemClock())
    await change(jobs, fact(1))
    assert await relay.relay_once() == 1
    assert await waiting(jobs) == ["j1-002"]
    assert await relay.relay_once() == 1
    assert told(broker_in_memory) == ["j1-001", "j1-002"]


async def test_a_crash_between_publishing_and_pulling_tells_twice_and_loses_nothing(
    jobs: Collection, bus: MemoryBus, broker_in_memory: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = bus.publish

    async def publish_then_die(envelope: Envelope) -> None:
        await publish(envelope)
        if envelope.id == "j1-002":
            raise asyncio.CancelledError

    await change(jobs, fact(1), fact(2), fact(3))
    with monkeypatch.context() as patch:
        patch.setattr(bus, "publish", publish_then_die)
        with pytest.raises(asyncio.CancelledError):
            await Relay(jobs, bus, Metrics(), SystemClock()).relay_once()
    assert await waiting(jobs) == ["j1-001", "j1-002", "j1-003"]
    assert await Relay(jobs, bus, Metrics(), SystemClock()).relay_once() == 3
    assert told(broker_in_memory) == ["j1-001", "j1-002", "j1-001", "j1-002", "j1-003"]


async def test_a_command_goes_to_its_trainer(jobs: Collection, bus: MemoryBus, broker_in_memory: MemoryBroker) -> None:
    broker_in_memory.declare(trainer_queue("gpu-1"))
    await change(jobs, stop(), to="trainer.gpu-1")
    assert await Relay(jobs, bus, Metrics(), SystemClock()).relay_once() == 1
    (stored,) = broker_in_memory.waiting("trainer.gpu-1")
    assert decode(stored.body) == stop()


async def test_a_command_without_a_trainer_is_dropped_and_what_follows_is_told(
    jobs: Collection, bus: MemoryBus, broker_in_memory: MemoryBroker
) -> None:
    await change(jobs, stop(), to="trainer.gone")
    await change(jobs, fact(1))
    with capture_logs() as logged:
        assert await Relay(jobs, bus, Metrics(), SystemClock()).relay_once() == 2
    (dropped,) = [line for line in logged if line["event"] == "command.unroutable"]
    assert (dropped["queue"], dropped["job"], dropped["type"]) == ("trainer.gone", "j1", "job.stop.v2")
    assert told(broker_in_memory) == ["j1-001"]
    assert await waiting(jobs) == []


async def test_a_command_about_what_is_over_is_dropped_and_a_fact_about_it_is_told(
    jobs: Collection, bus: MemoryBus, broker_in_memory: MemoryBroker
) -> None:
    broker_in_memory.declare(trainer_queue("gpu-1"))
    await change(jobs, fact(1))
    await change(jobs, stop(), to="trainer.gpu-1")
    asked: list[tuple[int, str]] = []

    def is_over(document: Document, command: Envelope) -> bool:
        assert "secret" not in document
        asked.append((document["version"], command.id))
        return True

    await jobs.update_one({"_id": "j1"}, {"$set": {"secret": 1}})
    relay = Relay(jobs, bus, Metrics(), SystemClock(), fields=["version"], is_over=is_over)
    with capture_logs() as logged:
        assert await relay.relay_once() == 2
    assert asked == [(2, "j1-stop")]
    assert [line["attempt"] for line in logged if line["event"] == "command.outdated"] == [1]
    assert told(broker_in_memory) == ["j1-001"]
    assert broker_in_memory.waiting("trainer.gpu-1") == []
    assert await waiting(jobs) == []


@pytest.mark.parametrize(("age", "dropped"), [(59, False), (61, True)])
async def test_a_command_that_a_broker_does_not_take_is_dropped_after_its_time(
    jobs: Collection,
    bus: MemoryBus,
    broker_in_memory: MemoryBroker,
    monkeypatch: pytest.MonkeyPatch,
    age: int,
    dropped: bool,
) -> None:
    """As with a queue that has lost its leader: facts go out and this doesn't."""
    clock = SystemClock()

    async def untaken(queue: str, envelope: Envelope) -> None:
        raise Retry(f"nobody took {envelope.id} for {queue}")

    monkeypatch.setattr(bus, "command", untaken)
    command = msgspec.structs.replace(stop(), time=clock.now() - timedelta(seconds=age))
    await change(jobs, command, fact(2), to="trainer.gpu-1")
    await jobs.update_one({"_id": "j1", "outbox.id": "j1-002"}, {"$set": {"outbox.$.to": None}})
    relay = Relay(jobs, bus, Metrics(), clock)
    if not dropped:
        with pytest.raises(Retry, match="j1-stop"):
            await relay.relay_once()
        assert await waiting(jobs) == ["j1-stop", "j1-002"]
        return
    with capture_logs() as logged:
        assert await relay.relay_once() == 2
    assert [line["queue"] for line in logged if line["event"] == "command.untaken"] == ["trainer.gpu-1"]
    assert told(broker_in_memory) == ["j1-002"]


async def test_while_the_broker_is_down_everything_waits(
    jobs: Collection, bus: MemoryBus, broker_in_memory: MemoryBroker
) -> None:
    for name in ("j1", "j2"):
        await change(jobs, fact(1, name), fact(2, name), job=name)
    relay = Relay(jobs, bus, Metrics(), SystemClock())
    broker_in_memory.down()
    with pytest.raises(Retry):
        await relay.relay_once()
    assert await waiting(jobs) == ["j1-001", "j1-002"]
    broker_in_memory.up()
    assert await relay.relay_once() == 4
    assert sorted(name or "" for name in told(broker_in_memory)) == ["j1-001", "j1-002", "j2-001", "j2-002"]


async def test_an_entry_that_cannot_be_read_keeps_no_other_document_waiting(
    jobs: Collection, bus: MemoryBus, broker_in_memory: MemoryBroker
) -> None:
    broken = {"id": "bad", "to": None, "data": b'{"type": "job.changed.v99"}'}
    await jobs.insert_one({"_id": "broken", FIELD: [broken]})
    for number in range(5):
        await change(jobs, fact(1, f"j{number}"), job=f"j{number}")
    with pytest.raises(Reject, match="undecodable"):
        await Relay(jobs, bus, Metrics(), SystemClock()).relay_once()
    assert sorted(name or "" for name in told(broker_in_memory)) == [f"j{number}-001" for number in range(5)]
    assert await waiting(jobs, "broken") == ["bad"]


async def test_through_a_killed_broker_every_event_arrives_in_order(
    jobs: Collection, private_rabbitmq: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runtime.bus._PUBLISH_TIMEOUT", 1.0)
    world, inbox = RabbitWorld(private_rabbitmq.url), Inbox()
    real = await world.bus("scheduler")
    await real.consume(STATUS_FACTS, {JobDeleted: inbox})
    relay = Relay(jobs, real, Metrics(), SystemClock())
    await change(jobs, fact(1), fact(2))
    assert await relay.relay_once() == 2
    await inbox.has(2)
    await asyncio.sleep(2)  # a quorum queue that is killed younger may stay without a leader on 3.10
    private_rabbitmq.kill()
    await change(jobs, fact(3), fact(4))
    with pytest.raises(Retry):
        await relay.relay_once()
    assert await waiting(jobs) == ["j1-003", "j1-004"]
    await asyncio.to_thread(private_rabbitmq.restart)
    while True:
        try:
            await relay.relay_once()
        except Retry:
            await asyncio.sleep(0.1)
        else:
            break
    await inbox.has(4)
    first_heard = list(dict.fromkeys(envelope.id for envelope in inbox.got))
    assert first_heard == ["j1-001", "j1-002", "j1-003", "j1-004"]
    assert await waiting(jobs) == []
    await world.close()


async def test_only_what_is_bound_hears_a_fact(
    jobs: Collection, bus: MemoryBus, broker_in_memory: MemoryBroker
) -> None:
    heard = Envelope(
        id="a1",
        time=datetime(2026, 3, 14, tzinfo=UTC),
        source="gpu-1",
        team="demo",
        body=TrainingAccepted(trainer="gpu-1"),
    )
    await change(jobs, heard)
    await Relay(jobs, bus, Metrics(), SystemClock()).relay_once()
    assert told(broker_in_memory) == []
    assert len(broker_in_memory.waiting(SCHEDULER_FACTS.name)) == 1
