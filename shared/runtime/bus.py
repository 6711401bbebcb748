"""The message bus: the only import of aio_pika.

Owns connections, the declared topology, and how messages are published: persistent, confirmed, with a timeout; commands
mandatory, each trainer's on a channel of its own. What becomes of a delivered message is in deliveries.py. A queue is never a
place for long work: a handler is cancelled when its channel dies.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel, AbstractRobustConnection, AbstractRobustQueue
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelPreconditionFailed, PublishError
from tenacity import retry, retry_if_exception, wait_exponential_jitter
from yarl import URL

from shared.contract import topology
from shared.contract.errors import Retry
from shared.contract.events import TRANSIENT, routing_key
from shared.contract.topology import DELIVERY_LIMIT, Queue
from shared.contract.wire import Envelope, encode
from shared.runtime import log
from shared.runtime.deliveries import Deliveries, Handler, Handlers
from shared.runtime.locks import KeyedLocks
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing

__all__ = ["HEARTBEAT_SECONDS", "Bus", "Handler", "Handlers", "RabbitBus", "Unroutable"]

_PUBLISH_TIMEOUT = 10.0
_COMMAND_TIMEOUT = 4.0
_CLOSE_TIMEOUT = 2.0
# Channels for commands; more trainers than that share them by turns.
_MOST_LANES = 256
HEARTBEAT_SECONDS = 5
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
    """The bus on RabbitMQ. `outages` are exceptions that mean that something behind the handlers can't be reached. A process
    that stands still is dropped by the broker after two to three times `heartbeat_seconds`."""

    def __init__(
        self,
        url: str,
        *,
        service: str,
        metrics: Metrics,
        tracing: Tracing,
        outages: Sequence[type[Exception]] = (),
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
    ) -> None:
        self._url = _with_heartbeat(url, heartbeat_seconds)
        self._service = service
        self._metrics = metrics
        # Not every OSError is an outage: a handler that misses a file would come back for ever.
        self._deliveries = Deliveries(
            metrics=metrics,
            tracing=tracing,
            outages=(*outages, AMQPError, ChannelInvalidStateError, ConnectionError, TimeoutError),
        )
        self._log = log.get("bus")
        self._connection: AbstractRobustConnection | None = None
        self._publishing: AbstractRobustChannel | None = None
        self._facts: aio_pika.abc.AbstractExchange | None = None
        self._commands: CommandLanes | None = None
        self._consuming: list[tuple[AbstractRobustChannel, AbstractRobustQueue, str]] = []
        self._handling: set[asyncio.Task[Any]] = set()

    async def connect(self) -> None:
        """Connect, for as long as it takes, and declare the whole topology so that no fact is published into nothing.

        Raises ChannelPreconditionFailed where the broker has one of our queues with other arguments.
        """

        @retry(
            # A queue that exists with other arguments stays so: that is for the operator, not for patience.
            retry=retry_if_exception(
                lambda e: isinstance(e, _BROKER_ERRORS) and not isinstance(e, ChannelPreconditionFailed)
            ),
            wait=wait_exponential_jitter(multiplier=0.3, max=5),
            before_sleep=lambda state: self._log.info(
                "bus.waiting", attempt=state.attempt_number, error=repr(state.outcome and state.outcome.exception())
            ),
        )
        async def attempt() -> None:
            self._connection = await aio_pika.connect_robust(
                self._url,
                reconnect_interval=0.5,
                timeout=10,
                client_properties={"connection_name": self._service},
            )
            try:
                async with asyncio.timeout(30):
                    await self._prepare()
            except BaseException:
                await self._connection.close()
                raise

        await attempt()

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self._connection is not None and self._connection.connected.is_set() and not self._connection.is_closed

    async def publish(self, envelope: Envelope) -> None:
        """See Bus."""
        facts = self._facts
        assert facts is not None, "connect() first"
        message = _message(envelope)
        await self._confirmed(
            envelope, _PUBLISH_TIMEOUT, facts.publish(message, routing_key(envelope.body), mandatory=False)
        )

    async def command(self, queue: str, envelope: Envelope) -> None:
        """See Bus."""
        assert self._commands is not None, "connect() first"
        try:
            await self._confirmed(envelope, _COMMAND_TIMEOUT, self._commands.publish(_message(envelope), queue))
        except PublishError as error:
            self._metrics.published.labels(envelope.type, "unroutable").inc()
            raise Unroutable(f"{envelope.type} to {queue}") from error

    async def consume(self, queue: Queue, handlers: Handlers) -> None:
        """See Bus."""
        publishing = self._publishing
        assert publishing is not None, "connect() first"
        channel = await self._open_channel(on_return_raises=False)
        await channel.set_qos(prefetch_count=queue.prefetch)
        declared = await self._declare(channel, queue)

        async def on_message(message: AbstractIncomingMessage) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._handling.add(task)
            try:
                await self._deliveries.handle(_RabbitDelivery(message, publishing), queue, handlers)
            except _BROKER_ERRORS as error:
                # The channel died before the message was settled: the broker gives it to the next consumer.
                self._log.info("message.unsettled", queue=queue.name, error=repr(error))
            finally:
                self._handling.discard(task)

        tag = await declared.consume(on_message)
        self._consuming.append((channel, declared, tag))

    async def stop_consuming(self, deadline: float) -> None:
        """Take no new messages and give the handlers under way `deadline` seconds; the rest stays unacknowledged."""
        for _, queue, tag in self._consuming:
            try:
                async with asyncio.timeout(2):
                    await queue.cancel(tag)
            except _BROKER_ERRORS as error:
                self._log.info("bus.cancel_failed", queue=queue.name, error=repr(error))
        channels = [channel for channel, _, _ in self._consuming]
        self._consuming.clear()
        if self._handling and (await asyncio.wait(self._handling, timeout=deadline))[1]:
            return  # closing their channel would cut them off
        for channel in channels:
            try:
                await channel.close()
            except _BROKER_ERRORS as error:
                self._log.info("bus.close_failed", error=repr(error))

    async def close(self) -> None:
        """Close the connection; unacknowledged messages go back to their queues."""
        if self._connection is not None:
            await self._connection.close()

    async def _prepare(self) -> None:
        self._publishing = await self._open_channel(on_return_raises=True)
        self._facts = await self._publishing.declare_exchange(topology.EVENTS_EXCHANGE, "topic", durable=True)
        await self._publishing.declare_exchange(topology.COMMANDS_EXCHANGE, "direct", durable=True)
        self._commands = CommandLanes(partial(self._open_channel, on_return_raises=True))
        for queue in topology.QUEUES:
            await self._declare(self._publishing, queue)

    async def _open_channel(self, *, on_return_raises: bool) -> AbstractRobustChannel:
        assert self._connection is not None, "connect() first"
        try:
            channel = self._connection.channel(publisher_confirms=True, on_return_raises=on_return_raises)
        except RuntimeError as error:
            # The client's word for a connection that it is making again.
            raise ConnectionError("the connection to the broker is being made again") from error
        await channel.initialize()
        return channel

    async def _declare(self, channel: AbstractRobustChannel, queue: Queue) -> AbstractRobustQueue:
        await channel.declare_queue(queue.dead_name, durable=True, arguments={"x-queue-type": "quorum"})
        arguments: dict[str, Any] = {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            **_limits(queue),
        }
        declared = await channel.declare_queue(queue.name, durable=True, arguments=arguments)
        for pattern in queue.bindings:
            await declared.bind(topology.EVENTS_EXCHANGE, pattern)
        if queue.command_key is not None:
            await declared.bind(topology.COMMANDS_EXCHANGE, queue.command_key)
        return declared

    async def _confirmed(self, envelope: Envelope, seconds: float, publish: Awaitable[object]) -> None:
        """Returns once the broker has it. Raises Retry where it can't be reached in time."""
        try:
            # Not the client's own timeout: that one doesn't count while it waits for the connection to come back.
            async with asyncio.timeout(seconds):
                await publish
        except PublishError:
            raise
        except _BROKER_ERRORS as error:
            self._metrics.published.labels(envelope.type, "failed").inc()
            raise Retry(f"the broker did not take {envelope.type}: {error!r}") from error
        self._metrics.published.labels(envelope.type, "confirmed").inc()


class CommandLanes:
    """A channel for the commands to each queue, made anew after one that wasn't confirmed in time.

    The broker works a channel's messages off in turn: one for a trainer's queue that has no leader (it was declared right
    before the broker died) keeps all that come after it waiting, for ever.
    """

    def __init__(self, open_channel: Callable[[], Awaitable[AbstractRobustChannel]]) -> None:
        self._open_channel = open_channel
        self._opening = KeyedLocks()
        self._channels: OrderedDict[str, AbstractRobustChannel] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._log = log.get("bus")

    async def publish(self, message: aio_pika.Message, queue: str) -> None:
        """Returns once confirmed; whoever stops waiting gives the queue's channel up. Raises PublishError without a queue."""
        async with self._opening.hold(queue):
            channel = self._channels.get(queue)
            if channel is None:
                channel = self._channels[queue] = await self._open_channel()
            self._channels.move_to_end(queue)
            if len(self._channels) > _MOST_LANES:
                self._give_up(*next(iter(self._channels.items())))
        exchange = await channel.get_exchange(topology.COMMANDS_EXCHANGE, ensure=False)
        try:
            await exchange.publish(message, queue, mandatory=True)
        except (asyncio.CancelledError, PublishError):
            self._give_up(queue, channel)
            raise

    def _give_up(self, queue: str, channel: AbstractRobustChannel) -> None:
        if self._channels.get(queue) is channel:
            del self._channels[queue]
            task = asyncio.create_task(self._close(channel))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, channel: AbstractRobustChannel) -> None:
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await channel.close()
        except _BROKER_ERRORS as error:
            self._log.info("bus.close_failed", error=repr(error))


class _RabbitDelivery:
    """A message of RabbitMQ's in hand; `publishing` is the channel, with confirms, on which it is moved."""

    def __init__(self, message: AbstractIncomingMessage, publishing: AbstractRobustChannel) -> None:
        self._message = message
        self._publishing = publishing
        self._log = log.get("bus")

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def kind(self) -> str | None:
        return self._message.type

    @property
    def headers(self) -> Mapping[str, Any]:
        return self._message.headers

    async def ack(self) -> None:
        await self._message.ack()

    async def move(self, to: str, headers: Mapping[str, Any]) -> None:
        message = self._message
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
            async with asyncio.timeout(_PUBLISH_TIMEOUT):
                await self._publishing.default_exchange.publish(copy, to, mandatory=True)
        except _BROKER_ERRORS as error:
            self._log.warning("message.move_failed", to=to, error=repr(error))
            await message.nack(requeue=True)
            return
        await message.ack()


def _message(envelope: Envelope) -> aio_pika.Message:
    return aio_pika.Message(
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


def _with_heartbeat(url: str, seconds: int) -> str:
    """The broker looks once in `seconds` and takes a client for dead that it misses twice: the client's own default is a
    minute, and as long a frozen process would keep a queue with a single active consumer from everybody else."""
    address = URL(url)
    return url if "heartbeat" in address.query else str(address.update_query(heartbeat=seconds))


def _limits(queue: Queue) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if queue.max_length is None:
        limits |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue.dead_name}
    else:
        limits |= {"x-max-length": queue.max_length, "x-overflow": "drop-head"}
    if queue.expires_seconds is not None:
        limits["x-expires"] = queue.expires_seconds * 1000
    if queue.single_active_consumer:
        limits["x-single-active-consumer"] = True
    return limits


def _headers(envelope: Envelope) -> dict[str, Any]:
    headers = {
        "team": envelope.team,
        "job_id": envelope.job_id,
        "attempt": envelope.attempt,
        "causation_id": envelope.causation_id,
        "traceparent": envelope.traceparent,
    }
    return {name: value for name, value in headers.items() if value is not None}
