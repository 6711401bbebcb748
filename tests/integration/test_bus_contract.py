"""What every bus must do, on RabbitMQ and in memory: each row of the acknowledgement table, order, bounds, properties."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from shared.contract.errors import Reject, Retry, Stale
from shared.contract.events import (
    DatasetDeleted,
    JobStop,
    Message,
    TrainerGone,
    TrainingAccepted,
    TrainingEnded,
    TrainingProgressed,
)
from shared.contract.topology import ATTEMPT_LIMIT, SCHEDULER_FACTS, STATUS_FACTS, STATUS_PROGRESS, Queue, trainer_queue
from shared.contract.wire import Envelope, decode, encode
from shared.runtime import deliveries
from shared.runtime.bus import Unroutable
from tests.support.waiting import until
from tests.support.worlds import Inbox, MemoryWorld, RabbitWorld, World, counted

NOW = datetime(2026, 3, 14, 10, 15, 30, 250_000, tzinfo=UTC)
ACCEPTED = "training.accepted.v1"
# Several may consume it: the scheduler's own queue gives everything to one.
PLAIN = Queue(name="plain", bindings=("training.accepted",), prefetch=3)

pytestmark = pytest.mark.timeout(60)


@pytest_asyncio.fixture(params=["memory", "rabbit"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made: World = MemoryWorld() if request.param == "memory" else RabbitWorld(request.getfixturevalue("amqp_url"))
    yield made
    await made.close()


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """How pauses grow is measured on virtual time elsewhere."""
    monkeypatch.setattr(deliveries, "_FIRST_PAUSE", 0.0005)
    monkeypatch.setattr(deliveries, "_OUTAGE_PAUSE", 0.05)


def message(number: int = 0, *, job: str | None = "j1", body: Message | None = None, team: str = "demo") -> Envelope:
    return Envelope(
        id=f"m{number}",
        time=NOW,
        source="gpu-1",
        team=team,
        job_id=job,
        attempt=2,
        correlation_id="c1",
        causation_id="m-before",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        body=body or TrainingAccepted(trainer="gpu-1"),
    )


def outcome(world: World, result: str, kind: str = ACCEPTED, queue: Queue = SCHEDULER_FACTS) -> float:
    return counted(world.metrics(), "trainyard_messages_total", queue=queue.name, type=kind, outcome=result)


async def settled(world: World, result: str, count: int = 1, kind: str = ACCEPTED) -> None:
    await until(lambda: outcome(world, result, kind) >= count)


async def test_a_handled_message_is_gone_and_came_whole(world: World) -> None:
    bus, inbox = await world.bus(), Inbox()
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await bus.publish(message())
    assert await inbox.has(1) == [message()]
    await settled(world, "acked")
    assert bus.connected
    await bus.close()
    assert await world.is_empty(SCHEDULER_FACTS.name)
    assert await world.is_empty(SCHEDULER_FACTS.dead_name)


async def test_a_message_without_a_handler_is_passed_over(world: World) -> None:
    bus, inbox = await world.bus(), Inbox()
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await bus.publish(message(1, body=TrainerGone(trainer="gpu-1")))
    await bus.publish(message(2))
    assert [envelope.id for envelope in await inbox.has(1)] == ["m2"]
    await settled(world, "ignored", kind="trainer.gone.v1")


async def test_a_stale_message_is_acknowledged_and_counted(world: World) -> None:
    bus, inbox = await world.bus(), Inbox(Stale("attempt 1 is over"))
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await bus.publish(message())
    await settled(world, "stale")
    await bus.close()
    assert len(inbox.got) == 1
    assert await world.is_empty(SCHEDULER_FACTS.name)
    assert await world.is_empty(SCHEDULER_FACTS.dead_name)


async def test_a_rejected_message_goes_to_the_dead_letters_with_the_reason(world: World) -> None:
    bus, inbox = await world.bus(), Inbox(Reject("no such job: j1" + "!" * 2000))
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await bus.publish(message())
    dead = await world.take(SCHEDULER_FACTS.dead_name)
    assert decode(dead.body) == message()
    assert (dead.message_id, dead.kind, dead.persistent) == ("m0", ACCEPTED, True)
    assert dead.headers["x-reason"].startswith("no such job: j1!")
    assert len(dead.headers["x-reason"]) == 1000
    assert dead.headers["x-queue"] == "scheduler.facts"
    await settled(world, "dead")
    assert len(inbox.got) == 1


async def test_what_cannot_be_read_goes_to_the_dead_letters_and_blocks_nobody(world: World) -> None:
    bus, inbox = await world.bus(), Inbox()
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await world.put(SCHEDULER_FACTS.name, b'{"id": ', kind="training.accepted.v99")
    await bus.publish(message())
    await inbox.has(1)
    dead = await world.take(SCHEDULER_FACTS.dead_name)
    assert dead.body == b'{"id": '
    assert dead.headers["x-reason"].startswith("undecodable: ")
    await settled(world, "dead", kind="undecodable")


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("failure", [Retry("the dataset isn't known yet"), ZeroDivisionError("a bug")], ids=type)
async def test_a_failed_message_comes_back(world: World, failure: Exception) -> None:
    bus, inbox = await world.bus(), Inbox(failure, failure)
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await bus.publish(message())
    assert await inbox.has(3) == [message()] * 3
    await settled(world, "acked")
    assert outcome(world, "retried") == 2


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("failure", [Retry("never there"), FileNotFoundError("a bug")], ids=type)
async def test_a_message_that_always_fails_is_given_up(world: World, failure: Exception) -> None:
    bus, inbox = await world.bus(), Inbox(*[failure] * 100)
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await bus.publish(message())
    dead = await world.take(SCHEDULER_FACTS.dead_name)
    assert dead.headers["x-reason"] == f"gave up after {ATTEMPT_LIMIT} attempts: {failure!r}"
    assert dead.headers["x-attempts"] == ATTEMPT_LIMIT - 1
    assert len(inbox.got) == ATTEMPT_LIMIT


class StoreIsDown(Exception):
    """What a store's client raises."""


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("failure", [StoreIsDown(), ConnectionError(), TimeoutError()], ids=type)
async def test_an_outage_uses_up_no_attempts(world: World, failure: Exception) -> None:
    bus, inbox = await world.bus(outages=[StoreIsDown]), Inbox(*[failure] * (2 * ATTEMPT_LIMIT), Retry("once"))
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await bus.publish(message())
    await inbox.has(2 * ATTEMPT_LIMIT + 2)
    await settled(world, "acked")
    assert await world.is_empty(SCHEDULER_FACTS.dead_name)


async def test_a_cancelled_handler_leaves_its_message_to_the_next(world: World) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(_: Envelope) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    first, second, inbox = await world.bus("first"), await world.bus("second"), Inbox()
    await first.consume(SCHEDULER_FACTS, {TrainingAccepted: hang})
    await first.publish(message(1))
    await first.publish(message(2))
    await started.wait()
    await first.stop_consuming(0.05)
    assert not cancelled.is_set()
    await first.close()
    await cancelled.wait()
    await second.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    assert [envelope.id for envelope in await inbox.has(2)] == ["m1", "m2"]


async def test_a_drain_lets_handlers_end_and_takes_nothing_new(world: World) -> None:
    started, release, done = asyncio.Event(), asyncio.Event(), list[str]()

    async def slow(envelope: Envelope) -> None:
        started.set()
        await release.wait()
        done.append(envelope.id)

    bus = await world.bus()
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: slow})
    await bus.publish(message(1))
    await started.wait()
    drain = asyncio.create_task(bus.stop_consuming(10))
    await asyncio.sleep(0.05)
    await bus.publish(message(2, job="other"))
    release.set()
    await drain
    assert done == ["m1"]
    await bus.close()
    assert (await world.take(SCHEDULER_FACTS.name)).message_id == "m2"
    assert await world.is_empty(SCHEDULER_FACTS.name)


async def test_messages_of_one_job_are_handled_in_order_and_never_at_once(world: World) -> None:
    under_way, seen = set[str](), list[str]()

    async def handle(envelope: Envelope) -> None:
        assert envelope.job_id not in under_way
        under_way.add(str(envelope.job_id))
        await asyncio.sleep(0.001 * (5 - len(seen) % 5))
        under_way.discard(str(envelope.job_id))
        seen.append(envelope.id)

    bus = await world.bus()
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: handle})
    for number in range(40):
        await bus.publish(message(number, job=f"j{number % 2}"))
    await settled(world, "acked", 40)
    for parity in (0, 1):
        assert [name for name in seen if int(name[1:]) % 2 == parity] == [f"m{n}" for n in range(parity, 40, 2)]


async def test_different_jobs_are_handled_side_by_side_up_to_the_prefetch(world: World) -> None:
    under_way, most, release = set[str](), 0, asyncio.Event()

    async def handle(envelope: Envelope) -> None:
        nonlocal most
        under_way.add(envelope.id)
        most = max(most, len(under_way))
        await release.wait()
        under_way.discard(envelope.id)

    bus = await world.bus()
    await bus.consume(PLAIN, {TrainingAccepted: handle})
    for number in range(10):
        await bus.publish(message(number, job=f"j{number}"))
    await until(lambda: len(under_way) >= PLAIN.prefetch)
    await asyncio.sleep(0.1)
    assert len(under_way) == PLAIN.prefetch
    release.set()
    await until(lambda: outcome(world, "acked", queue=PLAIN) == 10)
    assert most == PLAIN.prefetch


async def test_messages_without_a_job_keep_the_order_of_their_source(world: World) -> None:
    bus, inbox = await world.bus(), Inbox()
    await bus.consume(STATUS_FACTS, {DatasetDeleted: inbox})
    for number in range(20):
        await bus.publish(message(number, job=None, body=DatasetDeleted(dataset_id=f"d{number}")))
    assert [envelope.id for envelope in await inbox.has(20)] == [f"m{number}" for number in range(20)]


async def test_consumers_share_a_queue(world: World) -> None:
    first, second, inboxes = await world.bus("first"), await world.bus("second"), (Inbox(), Inbox())
    await first.consume(PLAIN, {TrainingAccepted: inboxes[0]})
    await second.consume(PLAIN, {TrainingAccepted: inboxes[1]})
    for number in range(20):
        await first.publish(message(number, job=f"j{number}"))
    await asyncio.gather(*(inbox.has(1) for inbox in inboxes))
    await until(lambda: len(inboxes[0].got) + len(inboxes[1].got) == 20)
    assert {envelope.id for inbox in inboxes for envelope in inbox.got} == {f"m{number}" for number in range(20)}


async def test_a_single_active_consumer_has_it_all_until_it_leaves(world: World) -> None:
    first, second, inboxes = await world.bus("first"), await world.bus("second"), (Inbox(), Inbox())
    await first.consume(SCHEDULER_FACTS, {TrainingAccepted: inboxes[0]})
    await second.consume(SCHEDULER_FACTS, {TrainingAccepted: inboxes[1]})
    for number in range(10):
        await second.publish(message(number, job=f"j{number}"))
    await inboxes[0].has(10)
    assert inboxes[1].got == []
    await first.stop_consuming(1)
    await first.close()
    await second.publish(message(10))
    assert [envelope.id for envelope in await inboxes[1].has(1)] == ["m10"]


async def test_a_fact_goes_to_every_queue_that_is_bound_to_it_before_anybody_consumes(world: World) -> None:
    bus = await world.bus()
    ended = message(1, body=TrainingEnded(outcome="stopped", step=7, checkpoint_step=7, stepping_seconds=3.5))
    await bus.publish(ended)
    assert decode((await world.take(SCHEDULER_FACTS.name)).body) == ended
    assert await world.is_empty(STATUS_FACTS.name)


async def test_a_command_reaches_its_trainer_alone_or_fails(world: World) -> None:
    scheduler, trainer, inbox, others = await world.bus("scheduler"), await world.bus("gpu-1"), Inbox(), Inbox()
    stop = message(1, body=JobStop(reason="user"))
    with pytest.raises(Unroutable, match=r"job\.stop\.v2 to trainer\.gpu-1"):
        await scheduler.command("trainer.gpu-1", stop)
    await trainer.consume(trainer_queue("gpu-1"), {JobStop: inbox})
    await trainer.consume(trainer_queue("gpu-2"), {JobStop: others})
    await scheduler.command("trainer.gpu-1", stop)
    assert await inbox.has(1) == [stop]
    assert others.got == []
    # The channel is as good as before.
    await scheduler.publish(message(2))


async def test_the_same_message_twice_is_delivered_twice(world: World) -> None:
    """At least once is the bus's promise; to know an id again is the handler's."""
    bus, inbox = await world.bus(), Inbox()
    await bus.consume(SCHEDULER_FACTS, {TrainingAccepted: inbox})
    await asyncio.gather(*(bus.publish(message(7)) for _ in range(5)))
    assert await inbox.has(5) == [message(7)] * 5


async def test_what_may_be_lost_is_transient_and_nothing_else(world: World) -> None:
    bus = await world.bus()
    figures = TrainingProgressed(step=1, stepping_seconds=1, steps_per_second=1, learning_rate=0.1, losses={})
    await bus.publish(message(1, body=figures))
    await bus.publish(message(2))
    assert not (await world.take(STATUS_PROGRESS.name)).persistent
    lasting = await world.take(SCHEDULER_FACTS.name)
    assert lasting.persistent
    assert (lasting.message_id, lasting.kind, lasting.body) == ("m2", ACCEPTED, encode(message(2)))
    assert {"team": "demo", "job_id": "j1", "attempt": 2}.items() <= lasting.headers.items()
