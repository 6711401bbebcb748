"""Heartbeats: the trainer's sign of life, and what renews the leases of the jobs it holds.

Owns the heartbeat's content and what a confirmed one means; which jobs are held is holdings.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from services.trainer.domain import Lease
from services.trainer.ears import Ears
from services.trainer.machine import Machine
from services.trainer.meter import Reading
from services.trainer.reporter import Reporter
from shared.contract.errors import Retry
from shared.contract.events import HeldJob, TrainerGone, TrainerHeartbeat
from shared.runtime import log
from shared.runtime.clock import Clock

_GONE_TIMEOUT = 3.0
# A heartbeat that isn't confirmed within this part of the shortest lease is not waited for with the next one.
_PATIENCE = 0.2


class Heart:
    """`beat` once per round; `leave` once, at the very end. `held` gives the jobs whose leases still hold, with them;
    `reading` how busy the machine was when it was last looked at. `leave_early` is called once where commands don't reach this
    trainer any more."""

    def __init__(
        self,
        reporter: Reporter,
        *,
        machine: Machine,
        labels: Mapping[str, str],
        reading: Callable[[], Reading],
        clock: Clock,
        started_at: datetime,
        seconds: float,
        held: Callable[[], Sequence[tuple[HeldJob, Lease]]],
        ears: Ears,
        leave_early: Callable[[], None],
    ) -> None:
        self._reporter = reporter
        self._machine = machine
        self._labels = dict(labels)
        self._reading = reading
        self._clock = clock
        self._started_at = started_at
        self._seconds = seconds
        self._held = held
        self._ears = ears
        self._leave_early = leave_early
        self._confirmed = clock.monotonic()
        self._turn = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()
        self._gone = False
        self._log = log.get("heartbeat")
        self.draining = False

    def silent_for(self) -> float:
        """Seconds since the last heartbeat that was confirmed was sent, or since the beginning."""
        return self._clock.monotonic() - self._confirmed

    async def beat(self) -> None:
        """Publish one heartbeat; a confirm renews the leases of the jobs that it names, be it one that was given up waiting
        for: where a broker takes its time, each beat counts all the same."""
        async with self._turn:
            if self._gone:
                return
            held, reading = self._held(), self._reading()
            heartbeat = TrainerHeartbeat(
                trainer=self._reporter.trainer,
                slots=len(self._machine.slots),
                accelerator=self._machine.accelerator,
                device=self._machine.device,
                memory_bytes=self._machine.memory_bytes,
                held=[job for job, _ in held],
                # To those who give out jobs it is the same: this one takes none.
                draining=self.draining or self._ears.deaf,
                started_at=self._started_at,
                labels=self._labels,
                utilization=reading.utilization,
                memory_used_bytes=reading.memory_used_bytes,
            )
            shortest = min((lease.seconds for _, lease in held), default=0.0)
            patience = max(self._seconds, shortest * _PATIENCE)
            beating = asyncio.create_task(self._publish(heartbeat, held, patience))
            self._under_way.add(beating)
            beating.add_done_callback(self._under_way.discard)
            await asyncio.wait({beating}, timeout=patience)
            if beating.done() and not beating.cancelled():
                beating.result()

    async def leave(self) -> None:
        """Say that we are gone. No heartbeat follows. A broker that can't be reached learns it when the heartbeats stop."""
        self._gone = True
        late = [*self._under_way]
        for beating in late:
            beating.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        try:
            async with asyncio.timeout(_GONE_TIMEOUT):
                await self._reporter.publish(self._reporter.own(TrainerGone(trainer=self._reporter.trainer)))
        except (Retry, TimeoutError) as error:
            self._log.warning("heartbeat.left_unsaid", error=repr(error))

    async def _publish(
        self, heartbeat: TrainerHeartbeat, held: Sequence[tuple[HeldJob, Lease]], patience: float
    ) -> None:
        sent = self._clock.monotonic()
        # Broken off, not left to wait for the broker's return: by then it would name a job that we gave up.
        lasts = min((lease.left(sent) for _, lease in held), default=patience)
        try:
            async with asyncio.timeout(lasts):
                await self._reporter.publish(self._reporter.own(heartbeat))
        except (Retry, TimeoutError) as error:
            self._log.warning("heartbeat.unconfirmed", error=repr(error))
            return
        self._confirmed = max(self._confirmed, sent)
        for _, lease in held:
            lease.renew(sent, self._clock.monotonic())
        self._ears.confirmed()
        if self._ears.hopeless and not self.draining:
            self._log.warning("trainer.deaf", trainer=self._reporter.trainer)
            self._leave_early()
