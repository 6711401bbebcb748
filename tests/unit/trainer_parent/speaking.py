"""A trainer that speaks over a broker in memory, on virtual time, for tests of what it says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from services.trainer.domain import Lease, Order
from services.trainer.ears import Ears
from services.trainer.heartbeat import Heart
from services.trainer.machine import Machine, Slot
from services.trainer.meter import Reading
from services.trainer.reporter import Reporter, Voice
from shared.contract.errors import Retry
from shared.contract.events import (
    HeldJob,
    JobAssign,
)
from shared.contract.topology import Queue
from shared.contract.wire import Envelope, decode
from shared.runtime.bus import Handlers
from shared.runtime.metrics import Metrics
from tests.support.memory_bus import MemoryBroker, MemoryBus
from tests.unit.trainer_parent.clock import STARTED, LoopClock

ALL = Queue(name="all", bindings=("training.*", "trainer.*"))
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
