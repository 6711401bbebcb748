"""When the trainer speaks and when it is silent: facts, progress and heartbeats over a broker in memory, on virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from services.trainer.domain import Lease, LeaseLost, Order
from services.trainer.ears import Ears
from services.trainer.handlers import CommandHandlers
from services.trainer.heartbeat import Heart
from services.trainer.machine import Machine, Slot
from services.trainer.meter import Reading
from services.trainer.protocol import RunProgressed
from services.trainer.reporter import Progress, Reporter, Voice
from shared.contract.errors import Retry, Stale
from shared.contract.events import (
    HeldJob,
    JobAssign,
    TrainerGone,
    TrainerHeartbeat,
    TrainerPinged,
    TrainingAccepted,
    TrainingEnded,
    TrainingProgressed,
)
from shared.contract.topology import Queue, trainer_queue
from shared.contract.wire import Envelope, decode
from shared.runtime.bus import Handlers
from shared.runtime.metrics import Metrics
from tests.support.memory_bus import MemoryBroker, MemoryBus
from tests.support.virtual_time import run
from tests.unit.trainer_parent.clock import STARTED, LoopClock

ALL = Queue(name="all", bindings=("training.*", "trainer.*"))
ACCEPTED = TrainingAccepted(trainer="t1")
ENDED = TrainingEnded(outcome="succeeded", step=9, checkpoint_step=9, stepping_seconds=1.0)
ORDER = Order(
    job_id="j1",
    attempt=2,
    team="demo",
    assign=JobAssign(
        starting_model="m",
        datasets=[],
        labels=["ball"],
        batch_size=8,
        steps=10,
        checkpoint_every=5,
        max_stepping_seconds=60,
        seed=1,
        lease_seconds=25,
    ),
    correlation_id="c1",
    causation_id="e1",
)


class SlowBus:
    """A bus that takes `seconds` for each publish, and fails at the end of it while `failing`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.failing = False
        self.heard: list[Envelope] = []

    async def publish(self, envelope: Envelope) -> None:
        await asyncio.sleep(self.seconds)
        if self.failing:
            raise Retry("the broker is away")
        self.heard.append(envelope)

    async def command(self, queue: str, envelope: Envelope) -> None:
        raise NotImplementedError

    async def consume(self, queue: Queue, handlers: Handlers) -> None:
        raise NotImplementedError


class World:
    """A trainer's voice about one attempt, with a lease of 25 s."""

    def __init__(self, bus: SlowBus | None = None) -> None:
        self.broker = MemoryBroker()
        self.broker.declare(ALL)
        self.slow = bus
        self.clock = LoopClock()
        numbers = itertools.count(1)
        self.bus = bus or MemoryBus(self.broker, service="trainer", metrics=Metrics())
        self.reporter = Reporter(
            self.bus,
            trainer="t1",
            clock=self.clock,
            new_id=lambda: f"id{next(numbers)}",
        )
        self.lease = Lease(25, self.clock.monotonic())
        self.voice = Voice(self.reporter, ORDER, self.lease, self.clock)
        self.ears = Ears(self.reporter, self.bus)
        self.left = 0

    def heard(self) -> list[Envelope]:
        if self.slow is not None:
            return self.slow.heard
        return [decode(message.body) for message in self.broker.waiting("all")]

    def heart(self, held: Sequence[tuple[HeldJob, Lease]]) -> Heart:
        machine = Machine(accelerator="cpu", device="two cores", memory_bytes=8 << 30, slots=[Slot(0, None, 0)])
        return Heart(
            self.reporter,
            machine=machine,
            labels={"pool": "lab"},
            reading=lambda: Reading(utilization=0.5, memory_used_bytes=1 << 30),
            clock=self.clock,
            started_at=STARTED,
            seconds=2.0,
            held=lambda: held,
            ears=self.ears,
            leave_early=self.leave,
        )

    def leave(self) -> None:
        self.left += 1


def test_a_fact_says_whose_it_is() -> None:
    async def go() -> None:
        world = World()
        await world.voice.tell(ACCEPTED)
        (envelope,) = world.heard()
        assert (envelope.team, envelope.job_id, envelope.attempt, envelope.source) == ("demo", "j1", 2, "t1")
        assert (envelope.correlation_id, envelope.causation_id) == ("c1", "e1")

    run(go())


def test_a_fact_is_tried_until_the_broker_has_it_and_keeps_its_id_and_place() -> None:
    async def go() -> None:
        world = World()
        world.broker.down()
        telling = [asyncio.create_task(world.voice.tell(body)) for body in (ACCEPTED, ENDED)]
        await asyncio.sleep(20)
        assert not any(task.done() for task in telling)
        world.broker.up()
        await asyncio.gather(*telling)
        assert [(e.id, type(e.body).__name__) for e in world.heard()] == [
            ("id1", "TrainingAccepted"),
            ("id2", "TrainingEnded"),
        ]
        # The longest pause between two tries.
        assert world.clock.monotonic() <= 25

    run(go())


def test_a_lost_lease_silences_a_fact_that_was_being_tried() -> None:
    async def go() -> None:
        world = World()
        world.broker.down()
        with pytest.raises(LeaseLost):
            await world.voice.tell(ACCEPTED)
        assert 25 <= world.clock.monotonic() <= 30
        world.broker.up()
        with pytest.raises(LeaseLost):
            await world.voice.mention(TrainingProgressed(
                step=1, stepping_seconds=1, steps_per_second=1, learning_rate=1, losses={}
            ))  # fmt: skip
        assert world.heard() == []

    run(go())


def test_nothing_follows_the_end() -> None:
    async def go() -> None:
        world = World()
        await world.voice.tell(ENDED)
        with pytest.raises(Stale):
            await world.voice.tell(ACCEPTED)
        assert len(world.heard()) == 1

    run(go())


def progressed(step: int) -> RunProgressed:
    return RunProgressed(step=step, stepping_seconds=step, steps_per_second=1, learning_rate=0.1, losses={})


def test_of_progress_the_newest_goes_out_and_an_outage_leaves_no_queue() -> None:
    async def go() -> None:
        bus = SlowBus(1.0)
        world = World(bus)
        progress = Progress(world.voice)
        running = asyncio.create_task(progress.run())
        for step in range(1, 40):
            progress.offer(progressed(step))
            bus.failing = 10 <= step < 20
            await asyncio.sleep(0.25)
        running.cancel()
        steps = [e.body.step for e in bus.heard if isinstance(e.body, TrainingProgressed)]
        assert steps == sorted(set(steps))
        assert not set(steps) & set(range(10, 16))
        assert 4 <= len(steps) <= 9
        # A publish that hangs is broken off, and the next one is the newest.
        bus.seconds = 60
        running = asyncio.create_task(progress.run())
        progress.offer(progressed(50))
        await asyncio.sleep(1)
        progress.offer(progressed(51))
        await asyncio.sleep(1.5)
        bus.seconds = 0.1
        progress.offer(progressed(52))
        await asyncio.sleep(3)
        running.cancel()
        assert [e.body.step for e in bus.heard if isinstance(e.body, TrainingProgressed)][len(steps) :] == [52]

    run(go())


class TestHeart:
    def test_a_confirmed_heartbeat_renews_the_leases_it_names(self) -> None:
        async def go() -> None:
            world = World(SlowBus(1.5))
            other = Lease(25, 0)
            heart = world.heart([(HeldJob(job_id="j1", attempt=2), world.lease)])
            heart.draining = True
            await asyncio.sleep(20)
            await heart.beat()
            (envelope,) = world.heard()
            beat = envelope.body
            assert isinstance(beat, TrainerHeartbeat)
            assert (beat.trainer, beat.slots, beat.accelerator, beat.draining) == ("t1", 1, "cpu", True)
            assert (beat.memory_bytes, beat.started_at) == (8 << 30, STARTED)
            assert (beat.labels, beat.utilization, beat.memory_used_bytes) == ({"pool": "lab"}, 0.5, 1 << 30)
            assert beat.held == [HeldJob(job_id="j1", attempt=2)]
            # 25 s from its sending at 20.
            assert world.lease.left(21.5) == 23.5
            assert other.left(21.5) == 3.5

        run(go())

    @pytest.mark.parametrize("seconds", [0.1, 60.0])
    def test_an_unconfirmed_one_renews_nothing_and_is_broken_off(self, seconds: float) -> None:
        async def go() -> None:
            bus = SlowBus(seconds)
            bus.failing = True
            world = World(bus)
            heart = world.heart([(HeldJob(job_id="j1", attempt=2), world.lease)])
            await heart.beat()
            # A fifth of the lease.
            assert world.clock.monotonic() <= 5
            assert world.lease.left(24) == 1
            assert world.heard() == []

        run(go())

    @pytest.mark.parametrize("seconds", [0.1, 3.0, 3.9])
    def test_a_broker_that_takes_its_time_with_each_confirm_costs_no_lease(self, seconds: float) -> None:
        """Its disk is slow."""

        async def go() -> None:
            world = World(SlowBus(seconds))
            world.lease = Lease(8, world.clock.monotonic())
            heart = world.heart([(HeldJob(job_id="j1", attempt=2), world.lease)])
            while world.clock.monotonic() < 120:
                await heart.beat()
                await asyncio.sleep(2.0)
                world.lease.require(world.clock.monotonic())
            assert heart.silent_for() < 8

        run(go())

    def test_none_reaches_a_broker_after_the_lease_of_a_job_that_it_names(self) -> None:
        async def go() -> None:
            bus = SlowBus(25.0)
            world = World(bus)
            other = Lease(60, world.clock.monotonic())
            names = [HeldJob(job_id=job, attempt=2) for job in ("j1", "j2")]
            held = [(names[0], world.lease), (names[1], other)]
            await asyncio.sleep(5)
            await world.heart(held).beat()
            await asyncio.sleep(60)
            assert world.lease.left(world.clock.monotonic()) == 0
            assert bus.heard == []

        run(go())

    def test_none_that_is_under_way_follows_the_goodbye_or_delays_it(self) -> None:
        async def go() -> None:
            bus = SlowBus(20.0)
            world = World(bus)
            heart = world.heart([(HeldJob(job_id="j1", attempt=2), world.lease)])
            await heart.beat()
            waiting = asyncio.create_task(heart.beat())
            await asyncio.sleep(0.5)
            bus.seconds, begun = 0.1, world.clock.monotonic()
            await heart.leave()
            assert world.clock.monotonic() - begun < 1
            await waiting
            await asyncio.sleep(60)
            assert [e.body for e in bus.heard] == [TrainerGone(trainer="t1")]

        run(go())

    def test_none_follows_the_goodbye(self) -> None:
        async def go() -> None:
            world = World()
            heart = world.heart([])
            await heart.leave()
            await heart.beat()
            assert [e.body for e in world.heard()] == [TrainerGone(trainer="t1")]

        run(go())

    @pytest.mark.parametrize("seconds", [0.1, 60.0])
    def test_a_goodbye_that_nobody_takes_keeps_nobody(self, seconds: float) -> None:
        async def go() -> None:
            bus = SlowBus(seconds)
            bus.failing = True
            world = World(bus)
            await world.heart([]).leave()
            assert world.clock.monotonic() <= 3
            assert world.heard() == []

        run(go())


class TestEars:
    def test_it_takes_no_jobs_until_its_own_word_has_come_back(self) -> None:
        async def go() -> None:
            world = World()
            assert isinstance(world.bus, MemoryBus)
            heart = world.heart([])
            await heart.beat()
            # Nothing can come through a queue that isn't there.
            await world.ears.round()
            await heart.beat()
            await world.bus.consume(trainer_queue("t1"), {TrainerPinged: world.ears.heard})
            await world.ears.round()
            await asyncio.sleep(0.1)
            await heart.beat()
            said = [e.body for e in world.heard()]
            assert [beat.draining for beat in said if isinstance(beat, TrainerHeartbeat)] == [True, True, False]

        run(go())

    def test_one_that_hears_nothing_while_it_is_heard_leaves_for_another_to_take_its_place(self) -> None:
        async def go() -> None:
            world = World()
            heart = world.heart([])
            await world.ears.heard(world.reporter.own(TrainerPinged(trainer="t1")))
            for number in range(8):
                # However often it beats in between, as it does with each change.
                for _ in range(30):
                    await heart.beat()
                    heart.draining = world.left > 0
                assert world.ears.deaf is (number >= 2)
                assert world.left == (number >= 5)
                await world.ears.round()
                # An outage is nobody's deafness.
                world.broker.down()
                for _ in range(5):
                    await heart.beat()
                    await world.ears.round()
                world.broker.up()

        run(go())

    def test_somebody_elses_word_tells_nothing(self) -> None:
        async def go() -> None:
            world = World()
            other = msgspec.structs.replace(world.reporter.own(TrainerPinged(trainer="t2")), source="t2")
            with pytest.raises(Stale):
                await world.ears.heard(other)
            assert world.ears.deaf

        run(go())


def test_a_trainer_that_was_out_of_reach_for_a_lease_hands_an_assignment_back() -> None:
    """It was frozen: by now the attempt may be over and the job somebody else's."""

    async def go() -> None:
        world = World()
        heart = world.heart([])
        await heart.beat()
        holdings = SimpleNamespace(attempt_of=lambda _: None, last_over=lambda _: None, free_slots=1, draining=False)
        begun: list[Order] = []
        over: list[Order] = []
        holdings.begin, holdings.remember_over = begun.append, over.append
        handlers = CommandHandlers(cast(Any, holdings), world.reporter, heart.silent_for, world.leave)
        envelope = msgspec.structs.replace(world.reporter.about(ORDER, ORDER.assign), id="e1")
        await asyncio.sleep(24.9)
        await handlers.assign(envelope)
        assert (len(begun), len(over)) == (1, 0)
        await asyncio.sleep(0.2)
        await handlers.assign(envelope)
        assert (len(begun), len(over)) == (1, 1)
        ended = world.heard()[-1].body
        assert isinstance(ended, TrainingEnded)
        assert ended.reason is not None
        assert (ended.outcome, ended.reason.code) == ("drained", "no_slot")
        await heart.beat()
        await handlers.assign(envelope)
        assert len(begun) == 2

    run(go())
