"""The message bus: the only import of aio_pika.

Owns how messages are published (persistent, confirmed, with a timeout; commands mandatory) and what becomes of each delivery.
The acknowledgement table:

    handler returns                      -> ack
    no handler for this type             -> ack, counted as ignored
    Stale                                -> ack, counted
    Reject, or a body that can't be read -> dead-letter queue with the reason, ack
    an outage of what stands behind us   -> back to the queue after a pause, as often as it takes
    Retry, any other exception           -> back to the queue after a pause; after ATTEMPT_LIMIT attempts dead-letter queue
    cancelled (shutdown, channel lost)   -> left unacknowledged: the broker gives it to the next consumer

Messages about one job are handled one after another in the order of their arrival; different jobs side by side, up to
the queue's prefetch. It is never a place for long work: a handler is cancelled when its channel dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel, AbstractRobustConnection, AbstractRobustQueue
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, PublishError
from tenacity import retry, retry_if_exception_type, wait_exponential_jitter

from shared.contract import topology
from shared.contract.errors import Reject, Retry, Stale
from shared.contract.events import TRANSIENT, Message, routing_key
from shared.contract.topology import ATTEMPT_LIMIT, DELIVERY_LIMIT, Queue
from shared.contract.wire import Envelope, decode, encode
from shared.runtime import log
from shared.runtime.locks import KeyedLocks
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing

Handler = Callable[[Envelope], Awaitable[None]]
Handlers = Mapping[type[Message], Handler]

_ATTEMPTS = "x-attempts"
_PUBLISH_TIMEOUT = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_BROKER_ERRORS = (AMQPError, ChannelInvalidStateError, ConnectionError, TimeoutError, OSError)


class Unroutable(Exception):
    """A command found no queue: its trainer is gone."""


class Bus(Protocol):
    """What services need of a message bus; RabbitBus is the real one, tests have one in memory."""

    async def publish(self, envelope: Envelope) -> None:
        """Publish a fact. Returns once the broker has it; raises Retry when it can't be reached in time."""
        ...

    async def command(self, queue: str, envelope: Envelope) -> None:
        """Send a command to one trainer's queue. Raises Unroutable if there is no such queue, else as `publish`."""
        ...

    async def consume(self, queue: Queue, handlers: Handlers) -> None:
        """Declare `queue` and hand its messages to the handler of their type from now on."""
        ...


class RabbitBus:
    """The bus on RabbitMQ. `outages` are exceptions that mean that something behind the handlers can't be reached."""

    def __init__(
        self, url: str, *, service: str, metrics: Metrics, tracing: Tracing, outages: Sequence[type[Exception]] = ()
    ) -> None:
        self._url = url
        self._service = service
        self._metrics = metrics
        self._tracing = tracing
        self._outages: tuple[type[Exception], ...] = (*outages, *_BROKER_ERRORS)
        self._log = log.get("bus")
        self._connection: AbstractRobustConnection | None = None
        self._publishing: AbstractRobustChannel | None = None
        self._facts: aio_pika.abc.AbstractExchange | None = None
        self._commands: aio_pika.abc.AbstractExchange | None = None
        self._consuming: list[tuple[AbstractRobustChannel, AbstractRobustQueue, str]] = []
        self._order = KeyedLocks()
        self._handling: set[asyncio.Task[Any]] = set()

    async def connect(self) -> None:
        """Connect, for as long as it takes, and declare the whole topology so that no fact is published into nothing."""

        @retry(
            retry=retry_if_exception_type(_BROKER_ERRORS),
            wait=wait_exponential_jitter(initial=0.3, max=5),
            before_sleep=lambda state: self._log.info(
                "bus.waiting", attempt=state.attempt_number, error=repr(state.outcome and state.outcome.exception())
            ),
        )
        async def attempt() -> AbstractRobustConnection:
            return await aio_pika.connect_robust(
                self._url, reconnect_interval=0.5, timeout=10, client_properties={"connection_name": self._service}
            )

        self._connection = await attempt()
        self._publishing = await self._open_channel(on_return_raises=True)
        self._facts = await self._publishing.declare_exchange(topology.EVENTS_EXCHANGE, "topic", durable=True)
        self._commands = await self._publishing.declare_exchange(topology.COMMANDS_EXCHANGE, "direct", durable=True)
        await self._publishing.declare_exchange(topology.DEAD_EXCHANGE, "direct", durable=True)
        for queue in topology.QUEUES:
            await self._declare(self._publishing, queue)

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self._connection is not None and self._connection.connected.is_set() and not self._connection.is_closed

    async def publish(self, envelope: Envelope) -> None:
        """See Bus."""
        assert self._facts is not None, "connect() first"
        await self._send(self._facts, routing_key(envelope.body), envelope, mandatory=False)

    async def command(self, queue: str, envelope: Envelope) -> None:
        """See Bus."""
        assert self._commands is not None, "connect() first"
        await self._send(self._commands, queue, envelope, mandatory=True)

    async def consume(self, queue: Queue, handlers: Handlers) -> None:
        """See Bus."""
        channel = await self._open_channel(on_return_raises=False)
        await channel.set_qos(prefetch_count=queue.prefetch)
        declared = await self._declare(channel, queue)

        async def on_message(message: AbstractIncomingMessage) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._handling.add(task)
            try:
                await self._deliver(message, queue, handlers)
            finally:
                self._handling.discard(task)

        tag = await declared.consume(on_message)
        self._consuming.append((channel, declared, tag))

    async def stop_consuming(self, deadline: float) -> None:
        """Take no new messages and give the handlers under way `deadline` seconds; the rest stays unacknowledged."""
        for _, queue, tag in self._consuming:
            try:
                await queue.cancel(tag, timeout=2)
            except _BROKER_ERRORS as error:
                self._log.info("bus.cancel_failed", queue=queue.name, error=repr(error))
        self._consuming.clear()
        if self._handling:
            await asyncio.wait(self._handling, timeout=deadline)

    async def close(self) -> None:
        """Close the connection; unacknowledged messages go back to their queues."""
        if self._connection is not None:
            await self._connection.close()

    async def _open_channel(self, *, on_return_raises: bool) -> AbstractRobustChannel:
        assert self._connection is not None, "connect() first"
        channel = self._connection.channel(publisher_confirms=True, on_return_raises=on_return_raises)
        await channel.initialize()
        return channel

    async def _declare(self, channel: AbstractRobustChannel, queue: Queue) -> AbstractRobustQueue:
        await channel.declare_queue(queue.dead_name, durable=True, arguments={"x-queue-type": "quorum"})
        arguments: dict[str, Any] = {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue.dead_name,
            **_expiry(queue),
        }
        if queue.single_active_consumer:
            arguments["x-single-active-consumer"] = True
        declared = await channel.declare_queue(queue.name, durable=True, arguments=arguments)
        for pattern in queue.bindings:
            await declared.bind(topology.EVENTS_EXCHANGE, pattern)
        if queue.command_key is not None:
            await declared.bind(topology.COMMANDS_EXCHANGE, queue.command_key)
        return declared

    async def _send(
        self, exchange: aio_pika.abc.AbstractExchange, key: str, envelope: Envelope, *, mandatory: bool
    ) -> None:
        message = aio_pika.Message(
            encode(envelope),
            content_type="application/json",
            delivery_mode=1 if isinstance(envelope.body, TRANSIENT) else 2,
            message_id=envelope.id,
            type=envelope.type,
            timestamp=envelope.time,
            app_id=envelope.source,
            correlation_id=envelope.correlation_id,
            headers=_headers(envelope),
        )
        try:
            await exchange.publish(message, key, mandatory=mandatory, timeout=_PUBLISH_TIMEOUT)
        except PublishError as error:
            self._metrics.published.labels(envelope.type, "unroutable").inc()
            raise Unroutable(f"{envelope.type} to {key}") from error
        except _BROKER_ERRORS as error:
            self._metrics.published.labels(envelope.type, "failed").inc()
            raise Retry(f"the broker did not take {envelope.type}: {error!r}") from error
        self._metrics.published.labels(envelope.type, "confirmed").inc()

    async def _deliver(self, message: AbstractIncomingMessage, queue: Queue, handlers: Handlers) -> None:
        kind = message.type or "unknown"
        count = self._metrics.messages
        try:
            envelope = decode(message.body)
        except Reject as error:
            await self._bury(message, queue, error.reason)
            count.labels(queue.name, "undecodable", "dead").inc()
            return
        handler = handlers.get(type(envelope.body))
        if handler is None:
            await message.ack()
            count.labels(queue.name, kind, "ignored").inc()
            return
        carrier = {"traceparent": envelope.traceparent} if envelope.traceparent else {}
        ids = {"message": envelope.id, "job": envelope.job_id, "attempt": envelope.attempt, "team": envelope.team}
        async with self._order.hold(envelope.job_id or envelope.source):
            with log.bound(**ids), self._tracing.span(kind, carrier), self._metrics.handling.labels(kind).time():
                outcome = await self._handle(message, queue, handler, envelope)
        count.labels(queue.name, kind, outcome).inc()

    async def _handle(
        self, message: AbstractIncomingMessage, queue: Queue, handler: Handler, envelope: Envelope
    ) -> str:
        """Run the handler and settle the message by the table; returns the outcome's name for the counter."""
        try:
            await handler(envelope)
        except Stale as error:
            self._log.debug("message.stale", type=envelope.type, why=str(error))
            await message.ack()
            return "stale"
        except Reject as error:
            self._log.error("message.rejected", type=envelope.type, reason=error.reason)
            await self._bury(message, queue, error.reason)
            return "dead"
        except self._outages as error:
            self._log.warning("message.delayed", type=envelope.type, error=repr(error))
            await self._again(message, queue, attempts=_attempts_of(message))
            return "retried"
        except Exception as error:  # noqa: BLE001 - the last row but one of the table
            attempts = _attempts_of(message) + 1
            unexpected = not isinstance(error, Retry)
            self._log.warning(
                "message.failed", type=envelope.type, attempts=attempts, error=repr(error), exc_info=unexpected
            )
            if attempts >= ATTEMPT_LIMIT:
                await self._bury(message, queue, f"gave up after {attempts} attempts: {error!r}")
                return "dead"
            await self._again(message, queue, attempts=attempts)
            return "retried"
        await message.ack()
        return "acked"

    async def _again(self, message: AbstractIncomingMessage, queue: Queue, *, attempts: int) -> None:
        """Back to the end of the same queue after a pause, the count in a header: a nack would lose the count."""
        await asyncio.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempts))
        await self._move(message, queue.name, {_ATTEMPTS: attempts})

    async def _bury(self, message: AbstractIncomingMessage, queue: Queue, reason: str) -> None:
        await self._move(message, queue.dead_name, {"x-reason": reason[:1000], "x-queue": queue.name})

    async def _move(self, message: AbstractIncomingMessage, to: str, headers: dict[str, Any]) -> None:
        """Publish a copy, confirmed, then acknowledge; where that fails the broker keeps the original."""
        assert self._publishing is not None
        copy = aio_pika.Message(
            message.body,
            content_type=message.content_type,
            delivery_mode=2,
            message_id=message.message_id,
            type=message.type,
            timestamp=message.timestamp,
            app_id=message.app_id,
            correlation_id=message.correlation_id,
            headers={**message.headers, **headers},
        )
        try:
            await self._publishing.default_exchange.publish(copy, to, mandatory=True, timeout=_PUBLISH_TIMEOUT)
        except _BROKER_ERRORS as error:
            self._log.warning("message.move_failed", to=to, error=repr(error))
            if not message.channel.is_closed:
                await message.nack(requeue=True)
            return
        await message.ack()


def _expiry(queue: Queue) -> dict[str, Any]:
    return {} if queue.expires_seconds is None else {"x-expires": queue.expires_seconds * 1000}


def _headers(envelope: Envelope) -> dict[str, Any]:
    headers = {
        "team": envelope.team,
        "job_id": envelope.job_id,
        "attempt": envelope.attempt,
        "causation_id": envelope.causation_id,
        "traceparent": envelope.traceparent,
    }
    return {name: value for name, value in headers.items() if value is not None}


def _attempts_of(message: AbstractIncomingMessage) -> int:
    value = message.headers.get(_ATTEMPTS, 0)
    return value if isinstance(value, int) else 0
