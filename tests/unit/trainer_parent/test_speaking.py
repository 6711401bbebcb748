"""When the trainer speaks and when it is silent: facts, progress and its own pings over a broker in memory, on virtual time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from services.trainer.domain import LeaseLost, Order
from services.trainer.handlers import CommandHandlers
from services.trainer.protocol import RunProgressed
from services.trainer.reporter import Progress
from shared.contract.errors import Stale
from shared.contract.events import (
    TrainerHeartbeat,
    TrainerPinged,
    TrainingAccepted,
    TrainingEnded,
    TrainingProgressed,
)
from shared.contract.topology import trainer_queue
from tests.support.memory_bus import MemoryBus
from tests.support.virtual_time import run
from tests.unit.trainer_parent.speaking import ORDER, SlowBus, World

ACCEPTED = TrainingAccepted(trainer="t1")
ENDED = TrainingEnded(outcome="succeeded", step=9, checkpoint_step=9, stepping_seconds=1.0)


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
