"""What becomes of each message that a queue delivers: the acknowledgement table, in this module alone.

    handler returns                      -> ack
    no handler for this type             -> ack, counted as ignored
    Stale                                -> ack, counted
    Reject, or a body that can't be read -> dead-letter queue with the reason, ack
    an outage of what stands behind us   -> tried again here after a pause, as often as it takes: later messages about the
                                            same job wait, so that an end never overtakes what came before it
    Retry, any other exception           -> back to the queue after a pause; after ATTEMPT_LIMIT attempts dead-letter queue
    cancelled (shutdown, channel lost)   -> left unacknowledged: the broker gives it to the next consumer

Messages about one job are handled one after another in the order of their arrival; different jobs side by side. Knows no
broker: a `Delivery` is whatever can be acknowledged and moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from shared.contract.errors import Reject, Retry, Stale
from shared.contract.events import Message
from shared.contract.topology import ATTEMPT_LIMIT, Queue
from shared.contract.wire import Envelope, decode
from shared.runtime import log
from shared.runtime.locks import KeyedLocks
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing

Handler = Callable[[Envelope], Awaitable[None]]
Handlers = Mapping[type[Message], Handler]

ATTEMPTS = "x-attempts"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_OUTAGE_PAUSE = 2.0


class Delivery(Protocol):
    """One message in hand, not acknowledged yet."""

    @property
    def body(self) -> bytes:
        """The envelope, encoded."""
        ...

    @property
    def kind(self) -> str | None:
        """The wire name that the sender gave."""
        ...

    @property
    def headers(self) -> Mapping[str, Any]:
        """Its headers, ours among them."""
        ...

    async def ack(self) -> None:
        """It is done with."""
        ...

    async def move(self, to: str, headers: Mapping[str, Any]) -> None:
        """Put a copy with these headers added at the end of the queue `to`, confirmed, then acknowledge; where that
        fails, give the message back to the broker."""
        ...


class Deliveries:
    """Hands deliveries to handlers and settles each by the table. `outages` are exceptions that mean that something
    behind the handlers can't be reached now."""

    def __init__(self, *, metrics: Metrics, tracing: Tracing, outages: Sequence[type[Exception]]) -> None:
        self._metrics = metrics
        self._tracing = tracing
        self._outages = tuple(outages)
        self._order = KeyedLocks()
        self._log = log.get("bus")

    async def handle(self, delivery: Delivery, queue: Queue, handlers: Handlers) -> None:
        """Settle one delivery. Raises what acknowledging raises, and CancelledError with the message unsettled."""
        kind = delivery.kind or "unknown"
        count = self._metrics.messages
        try:
            envelope = decode(delivery.body)
        except Reject as error:
            self._log.error("message.undecodable", queue=queue.name, type=kind, reason=error.reason)
            await _bury(delivery, queue, error.reason)
            count.labels(queue.name, "undecodable", "dead").inc()
            return
        kind = envelope.type
        handler = handlers.get(type(envelope.body))
        if handler is None:
            await delivery.ack()
            count.labels(queue.name, kind, "ignored").inc()
            return
        carrier = {"traceparent": envelope.traceparent} if envelope.traceparent else {}
        ids = {"message": envelope.id, "job": envelope.job_id, "attempt": envelope.attempt, "team": envelope.team}
        async with self._order.hold(envelope.job_id or f"{envelope.source}/{envelope.team}"):
            with log.bound(**ids), self._tracing.span(kind, carrier), self._metrics.handling.labels(kind).time():
                outcome = await self._settle(delivery, queue, handler, envelope)
        count.labels(queue.name, kind, outcome).inc()

    async def _settle(self, delivery: Delivery, queue: Queue, handler: Handler, envelope: Envelope) -> str:
        """Run the handler and settle the message by the table; returns the outcome's name for the counter."""
        try:
            await self._through_outages(handler, envelope)
        except Stale as error:
            self._log.debug("message.stale", type=envelope.type, why=str(error))
            await delivery.ack()
            return "stale"
        except Reject as error:
            self._log.error("message.rejected", type=envelope.type, reason=error.reason)
            await _bury(delivery, queue, error.reason)
            return "dead"
        except Exception as error:  # noqa: BLE001 - the last row but one of the table
            attempts = _attempts_of(delivery) + 1
            unexpected = not isinstance(error, Retry)
            self._log.warning(
                "message.failed", type=envelope.type, attempts=attempts, error=repr(error), exc_info=unexpected
            )
            if attempts >= ATTEMPT_LIMIT:
                await _bury(delivery, queue, f"gave up after {attempts} attempts: {error!r}")
                return "dead"
            await _again(delivery, queue, attempts=attempts)
            return "retried"
        await delivery.ack()
        return "acked"

    async def _through_outages(self, handler: Handler, envelope: Envelope) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                return await handler(envelope)
            except self._outages as error:
                self._log.warning("message.delayed", type=envelope.type, error=repr(error)[:300])
                await asyncio.sleep(pause)
                pause = min(_OUTAGE_PAUSE, 2 * pause)


async def _again(delivery: Delivery, queue: Queue, *, attempts: int) -> None:
    """Back to the end of the same queue after a pause, the count in a header: a nack would lose the count."""
    await asyncio.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempts))
    await delivery.move(queue.name, {ATTEMPTS: attempts})


async def _bury(delivery: Delivery, queue: Queue, reason: str) -> None:
    await delivery.move(queue.dead_name, {"x-reason": reason[:1000], "x-queue": queue.name})


def _attempts_of(delivery: Delivery) -> int:
    value = delivery.headers.get(ATTEMPTS, 0)
    return value if isinstance(value, int) else 0
