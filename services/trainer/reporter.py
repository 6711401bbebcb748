"""What the trainer says on the bus, and when it must keep silent.

Owns envelopes, the retries until a fact is confirmed, and the two silences: none but a holder of a valid lease speaks about an
attempt, and nothing about it follows its end. Knows no child and no checkpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from tenacity import retry, retry_if_exception_type, wait_exponential

from services.trainer.domain import Lease, Order
from services.trainer.protocol import RunProgressed
from shared.contract.errors import Retry, Stale
from shared.contract.events import Message, TrainingEnded, TrainingProgressed
from shared.contract.wire import Envelope
from shared.runtime import log
from shared.runtime.bus import Bus
from shared.runtime.clock import Clock

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
# A progress message that takes longer is old news.
_PROGRESS_TIMEOUT = 2.0


class Reporter:
    """Makes envelopes in this trainer's name and publishes them, one try each."""

    def __init__(self, bus: Bus, *, trainer: str, clock: Clock, new_id: Callable[[], str]) -> None:
        self.trainer = trainer
        self._bus = bus
        self._clock = clock
        self._new_id = new_id

    def about(self, order: Order, body: Message) -> Envelope:
        """An envelope about an attempt, caused by its assignment."""
        return Envelope(
            id=self._new_id(),
            time=self._clock.now(),
            source=self.trainer,
            team=order.team,
            body=body,
            job_id=order.job_id,
            attempt=order.attempt,
            correlation_id=order.correlation_id,
            causation_id=order.causation_id,
            traceparent=order.traceparent,
        )

    def own(self, body: Message) -> Envelope:
        """An envelope about the trainer itself, which belongs to no team."""
        return Envelope(id=self._new_id(), time=self._clock.now(), source=self.trainer, team="", body=body)

    async def publish(self, envelope: Envelope) -> None:
        """Returns once the broker has it; raises Retry when it can't be reached."""
        await self._bus.publish(envelope)


class Voice:
    """Speaks for one attempt: facts in the order of the calls, each tried until confirmed, as long as the lease holds."""

    def __init__(self, reporter: Reporter, order: Order, lease: Lease, clock: Clock) -> None:
        self._reporter = reporter
        self._order = order
        self._lease = lease
        self._clock = clock
        self._turn = asyncio.Lock()
        self._ended = False
        self._log = log.get("reporter")

    async def tell(self, body: Message) -> None:
        """Returns once confirmed. Raises LeaseLost, and Stale after the end was told."""
        async with self._turn:
            if self._ended:
                raise Stale(f"attempt {self._order.attempt} of job {self._order.job_id} is over")
            envelope = self._reporter.about(self._order, body)
            await self._confirmed(envelope)
            self._ended = isinstance(body, TrainingEnded)
        self._log.info("fact.told", type=envelope.type)

    async def mention(self, body: TrainingProgressed) -> None:
        """One try, whose failure is no loss."""
        self._lease.require(self._clock.monotonic())
        with contextlib.suppress(Retry, TimeoutError):
            async with asyncio.timeout(_PROGRESS_TIMEOUT):
                await self._reporter.publish(self._reporter.about(self._order, body))

    async def _confirmed(self, envelope: Envelope) -> None:
        @retry(
            retry=retry_if_exception_type(Retry),
            wait=wait_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
            before_sleep=lambda state: self._log.info("fact.delayed", type=envelope.type, tries=state.attempt_number),
        )
        async def attempt() -> None:
            self._lease.require(self._clock.monotonic())
            await self._reporter.publish(envelope)

        await attempt()


class Progress:
    """The newest progress of an attempt on its way out: what comes during a publish replaces what waits."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._newest: TrainingProgressed | None = None
        self._offered = asyncio.Event()

    def offer(self, message: RunProgressed) -> None:
        """Say this next, instead of whatever was to be said next."""
        self._newest = TrainingProgressed(
            step=message.step,
            stepping_seconds=message.stepping_seconds,
            steps_per_second=message.steps_per_second,
            learning_rate=message.learning_rate,
            losses=message.losses,
        )
        self._offered.set()

    async def run(self) -> None:
        """Until cancelled, or until the lease is lost."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            body, self._newest = self._newest, None
            if body is not None:
                await self._voice.mention(body)
