"""What a heartbeat says, what its confirm means, and how long one is waited for: over a broker in memory, on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from services.trainer.domain import Lease
from shared.contract.events import (
    HeldJob,
    TrainerGone,
    TrainerHeartbeat,
)
from tests.support.virtual_time import run
from tests.unit.trainer_parent.clock import STARTED
from tests.unit.trainer_parent.speaking import SlowBus, World


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
