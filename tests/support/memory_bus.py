"""A message bus in memory: queues that behave like the broker's, under the very table that settles real deliveries.

A `MemoryBroker` is the world's one broker; each service gets a `MemoryBus` on it. Fake is only what RabbitMQ does: exchanges,
queues, prefetch, single active consumer, redelivery of what a lost consumer had in hand. It survives nothing but `down()`.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.contract import topology
from shared.contract.errors import Retry
from shared.contract.events import TRANSIENT, routing_key
from shared.contract.topology import DELIVERY_LIMIT, Queue
from shared.contract.wire import Envelope, encode
from shared.runtime.bus import Unroutable
from shared.runtime.deliveries import Deliveries, Handlers
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing


@dataclass(eq=False)
class Stored:
    """A message in a queue, with the properties that a broker shows."""

    body: bytes
    kind: str | None
    message_id: str | None
    headers: dict[str, Any] = field(default_factory=dict)
    persistent: bool = True
    redeliveries: int = 0


@dataclass(eq=False)
class _Consumer:
    """A bus that consumes a queue, and what it has in hand."""

    deliveries: Deliveries
    handlers: Handlers
    tasks: dict[asyncio.Task[None], Stored] = field(default_factory=dict)
    taking: bool = True


@dataclass(eq=False)
class _Place:
    """A queue: what waits, and who takes."""

    spec: Queue | None
    ready: deque[Stored] = field(default_factory=deque)
    consumers: list[_Consumer] = field(default_factory=list)


class MemoryBroker:
    """Exchanges and queues. `down()` and `up()` are an outage in which nothing that waits is lost."""

    def __init__(self) -> None:
        self.is_up = True
        self._places: dict[str, _Place] = {}
        for queue in topology.QUEUES:
            self.declare(queue)

    def declare(self, queue: Queue) -> None:
        """Make the queue and its dead-letter queue, where they aren't there yet."""
        self._places.setdefault(queue.name, _Place(queue))
        self._places.setdefault(queue.dead_name, _Place(None))

    def remove(self, name: str) -> None:
        """A queue expired."""
        del self._places[name]

    def waiting(self, name: str) -> list[Stored]:
        """What waits in a queue and nobody has in hand, oldest first."""
        return list(self._places[name].ready)

    def take(self, name: str) -> Stored | None:
        """The oldest message that waits, removed."""
        ready = self._places[name].ready
        return ready.popleft() if ready else None

    def put(self, name: str, message: Stored) -> None:
        """Add a message at the end of a queue, dropping the oldest where it is full."""
        place = self._places[name]
        place.ready.append(message)
        if place.spec is not None and place.spec.max_length is not None and len(place.ready) > place.spec.max_length:
            place.ready.popleft()
        self._dispatch(place)

    def queues_for(self, key: str) -> list[str]:
        """The queues that a fact with this routing key goes to."""
        return [
            name
            for name, place in self._places.items()
            if place.spec is not None and any(_matches(pattern, key) for pattern in place.spec.bindings)
        ]

    def queue_for_command(self, key: str) -> str | None:
        """The queue that a command with this routing key goes to."""
        owners = (name for name, place in self._places.items() if place.spec and place.spec.command_key == key)
        return next(owners, None)

    def attach(self, queue: Queue, consumer: _Consumer) -> None:
        """Give the queue's messages to `consumer` from now on."""
        self.declare(queue)
        place = self._places[queue.name]
        place.consumers.append(consumer)
        self._dispatch(place)

    def detach(self, consumers: Iterable[_Consumer]) -> None:
        """These consumers are gone: what they had in hand goes back to the front, in its old order."""
        gone = set(consumers)
        for place in self._places.values():
            lost = [c for c in place.consumers if c in gone]
            place.consumers = [c for c in place.consumers if c not in gone]
            self._return([message for consumer in lost for message in _drop(consumer)], place)
            self._dispatch(place)

    def stop_giving(self, consumers: Iterable[_Consumer]) -> None:
        """These consumers take no more; what they have in hand stays theirs."""
        for consumer in consumers:
            consumer.taking = False
        for place in self._places.values():
            self._dispatch(place)

    def down(self) -> None:
        """The broker can't be reached: publishers get Retry, handlers are cancelled, messages wait."""
        self.is_up = False
        for place in self._places.values():
            self._return([message for consumer in place.consumers for message in _drop(consumer)], place)

    def up(self) -> None:
        """It is back, and so are the consumers."""
        self.is_up = True
        for place in self._places.values():
            self._dispatch(place)

    def _return(self, messages: Sequence[Stored], place: _Place) -> None:
        for message in reversed(messages):
            message.redeliveries += 1
            if message.redeliveries <= DELIVERY_LIMIT:
                place.ready.appendleft(message)
            elif place.spec is not None and place.spec.max_length is None:
                self.put(place.spec.dead_name, message)

    def _dispatch(self, place: _Place) -> None:
        if not self.is_up or place.spec is None:
            return
        able = [consumer for consumer in place.consumers if consumer.taking]
        if place.spec.single_active_consumer:
            able = able[:1]
        while place.ready:
            free = [consumer for consumer in able if len(consumer.tasks) < place.spec.prefetch]
            if not free:
                return
            # The one with the least in hand: near enough to the broker's turns.
            self._give(place.ready.popleft(), min(free, key=lambda consumer: len(consumer.tasks)), place, place.spec)

    def _give(self, message: Stored, consumer: _Consumer, place: _Place, queue: Queue) -> None:
        delivery = _MemoryDelivery(self, message)
        task = asyncio.get_running_loop().create_task(consumer.deliveries.handle(delivery, queue, consumer.handlers))
        consumer.tasks[task] = message

        def settled(done: asyncio.Task[None]) -> None:
            consumer.tasks.pop(done, None)
            self._dispatch(place)

        task.add_done_callback(settled)


class MemoryBus:
    """One service's bus on the broker in memory: the same methods as RabbitBus."""

    def __init__(
        self, broker: MemoryBroker, *, service: str, metrics: Metrics, outages: Sequence[type[Exception]] = ()
    ) -> None:
        self._broker = broker
        self._deliveries = Deliveries(
            metrics=metrics, tracing=Tracing(service), outages=(*outages, ConnectionError, TimeoutError)
        )
        self._consumers: list[_Consumer] = []

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self._broker.is_up

    async def publish(self, envelope: Envelope) -> None:
        """See Bus."""
        self._reach(envelope)
        for name in self._broker.queues_for(routing_key(envelope.body)):
            self._broker.put(name, _stored(envelope))

    async def command(self, queue: str, envelope: Envelope) -> None:
        """See Bus."""
        self._reach(envelope)
        name = self._broker.queue_for_command(queue)
        if name is None:
            raise Unroutable(f"{envelope.type} to {queue}")
        self._broker.put(name, _stored(envelope))

    async def consume(self, queue: Queue, handlers: Handlers) -> None:
        """See Bus."""
        consumer = _Consumer(self._deliveries, handlers)
        self._consumers.append(consumer)
        self._broker.attach(queue, consumer)

    async def stop_consuming(self, deadline: float) -> None:
        """Take no new messages and give the handlers under way `deadline` seconds."""
        self._broker.stop_giving(self._consumers)
        if tasks := [task for consumer in self._consumers for task in consumer.tasks]:
            await asyncio.wait(tasks, timeout=deadline)

    async def close(self) -> None:
        """Cancel what is under way; unacknowledged messages go back to their queues."""
        tasks = [task for consumer in self._consumers for task in consumer.tasks]
        self._broker.detach(self._consumers)
        self._consumers.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _reach(self, envelope: Envelope) -> None:
        if not self._broker.is_up:
            raise Retry(f"the broker did not take {envelope.type}: it is down")


class _MemoryDelivery:
    """See Delivery. Settling is instantaneous, so a cancelled handler never half settles."""

    def __init__(self, broker: MemoryBroker, message: Stored) -> None:
        self._broker = broker
        self._message = message

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def kind(self) -> str | None:
        return self._message.kind

    @property
    def headers(self) -> Mapping[str, Any]:
        return self._message.headers

    async def ack(self) -> None:
        """Nothing to do: the consumer's task ends, and with it the delivery."""

    async def move(self, to: str, headers: Mapping[str, Any]) -> None:
        message = self._message
        copy = Stored(message.body, message.kind, message.message_id, {**message.headers, **headers})
        self._broker.put(to, copy)


def _stored(envelope: Envelope) -> Stored:
    headers = {"team": envelope.team, "job_id": envelope.job_id, "attempt": envelope.attempt}
    return Stored(
        body=encode(envelope),
        kind=envelope.type,
        message_id=envelope.id,
        headers={name: value for name, value in headers.items() if value is not None},
        persistent=not isinstance(envelope.body, TRANSIENT),
    )


def _drop(consumer: _Consumer) -> list[Stored]:
    """Cancel what the consumer has in hand; returns it, oldest first."""
    in_hand = {task: message for task, message in consumer.tasks.items() if not task.done()}
    for task in in_hand:
        task.cancel()
    consumer.tasks.clear()
    return list(in_hand.values())


def _matches(pattern: str, key: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^.]+").replace(r"\#", ".*"), key) is not None
