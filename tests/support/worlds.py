"""Where a bus contract is tried: on RabbitMQ and in memory, with the same few ways to look behind the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import aio_pika

from shared.contract.wire import Envelope
from shared.runtime.bus import Bus, RabbitBus
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing
from tests.support.memory_bus import MemoryBroker, MemoryBus, Stored
from tests.support.waiting import until

T = TypeVar("T")
_MARK = b"nothing comes before this"


@dataclass(frozen=True)
class Raw:
    """A message as it lies in a queue."""

    body: bytes
    kind: str | None
    message_id: str | None
    headers: dict[str, Any]
    persistent: bool


class TestedBus(Bus, Protocol):
    """What a service's composition root uses besides Bus."""

    @property
    def connected(self) -> bool: ...
    async def stop_consuming(self, deadline: float) -> None: ...
    async def close(self) -> None: ...


class World(Protocol):
    """A broker and the buses on it."""

    async def bus(self, service: str = "test", outages: Sequence[type[Exception]] = ()) -> TestedBus:
        """A connected bus, closed with the world."""
        ...

    def metrics(self, service: str = "test") -> Metrics:
        """What the buses of a service count."""
        ...

    async def take(self, queue: str) -> Raw:
        """The next message of a queue that nobody consumes; waits for it."""
        ...

    async def is_empty(self, queue: str) -> bool:
        """Whether nothing waits in a queue that nobody consumes; what waits is taken."""
        ...

    async def put(self, queue: str, body: bytes, kind: str | None = None) -> None:
        """Put bytes into a queue, past the bus."""
        ...

    async def remove(self, queue: str) -> None:
        """Delete a queue with all that is in it."""
        ...

    async def close(self) -> None:
        """Close all buses."""
        ...


class MemoryWorld:
    """See World."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self._metrics: dict[str, Metrics] = {}
        self._buses: list[MemoryBus] = []

    async def bus(self, service: str = "test", outages: Sequence[type[Exception]] = ()) -> TestedBus:
        bus = MemoryBus(self.broker, service=service, metrics=self.metrics(service), outages=outages)
        self._buses.append(bus)
        return bus

    def metrics(self, service: str = "test") -> Metrics:
        return self._metrics.setdefault(service, Metrics())

    async def take(self, queue: str) -> Raw:
        stored = await until(lambda: self.broker.take(queue))
        return Raw(stored.body, stored.kind, stored.message_id, stored.headers, stored.persistent)

    async def is_empty(self, queue: str) -> bool:
        return not self.broker.waiting(queue)

    async def put(self, queue: str, body: bytes, kind: str | None = None) -> None:
        self.broker.put(queue, Stored(body=body, kind=kind, message_id=None))

    async def remove(self, queue: str) -> None:
        self.broker.remove(queue)

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()


class RabbitWorld:
    """See World."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._metrics: dict[str, Metrics] = {}
        self._buses: list[RabbitBus] = []
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._channel: aio_pika.abc.AbstractChannel | None = None

    async def bus(self, service: str = "test", outages: Sequence[type[Exception]] = ()) -> TestedBus:
        bus = RabbitBus(
            self.url, service=service, metrics=self.metrics(service), tracing=Tracing(service), outages=outages
        )
        self._buses.append(bus)
        await bus.connect()
        return bus

    def metrics(self, service: str = "test") -> Metrics:
        return self._metrics.setdefault(service, Metrics())

    async def take(self, queue: str) -> Raw:
        return (await self._consume(queue, lambda _: True))[0]

    async def is_empty(self, queue: str) -> bool:
        # A mark behind what waits: whatever comes before it was there.
        await self.put(queue, _MARK)
        return len(await self._consume(queue, lambda raw: raw.body == _MARK)) == 1

    async def put(self, queue: str, body: bytes, kind: str | None = None) -> None:
        channel = await self._looking()
        await channel.default_exchange.publish(aio_pika.Message(body, type=kind, delivery_mode=2), queue)

    async def remove(self, queue: str) -> None:
        await (await self._looking()).queue_delete(queue)

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()
        if self._connection is not None:
            await self._connection.close()

    async def _looking(self) -> aio_pika.abc.AbstractChannel:
        if self._connection is None:
            self._connection = await aio_pika.connect(self.url)
        if self._channel is None:
            self._channel = await self._connection.channel()
            await self._channel.set_qos(prefetch_count=1)
        return self._channel

    async def _consume(self, name: str, enough: Callable[[Raw], bool]) -> list[Raw]:
        """Take messages until one is `enough`. By a consumer: a single-active-consumer queue refuses `get`."""
        channel = await self._looking()
        queue = await channel.get_queue(name, ensure=False)
        taken: list[Raw] = []
        async with queue.iterator() as messages:
            async for message in messages:
                await message.ack()
                taken.append(_raw(message))
                if enough(taken[-1]):
                    break
        return taken


def _raw(message: aio_pika.abc.AbstractIncomingMessage) -> Raw:
    persistent = message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    return Raw(message.body, message.type, message.message_id, dict(message.headers), persistent)


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    """The value of a counter, 0 where nothing was counted."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


class Inbox:
    """A handler that keeps what it got, and does with it what it is told: a list of exceptions to raise first."""

    def __init__(self, *failures: Exception | None) -> None:
        self.got: list[Envelope] = []
        self._failures = list(failures)
        self._changed = asyncio.Event()

    async def __call__(self, envelope: Envelope) -> None:
        self.got.append(envelope)
        self._changed.set()
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None:
            raise failure

    async def has(self, count: int) -> list[Envelope]:
        """Wait until `count` messages came."""
        while len(self.got) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.got
