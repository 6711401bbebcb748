"""The attempts that this trainer holds, and its slots.

Owns who is in which slot, which attempts are over, and the drain; what an attempt does is its own.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import Counter, Gauge

from services.trainer.attempt import Attempt, Tools
from services.trainer.domain import Lease, Order
from services.trainer.machine import Slot
from services.trainer.protocol import StopReason
from shared.contract.errors import Stale
from shared.contract.events import HeldJob
from shared.runtime import log
from shared.runtime.metrics import Metrics

# Ended attempts that are remembered, so that a repeated assignment doesn't begin them again.
_REMEMBERED = 1000
# After the drain's deadline the children are dead; this long for what they left to be told.
_LAST_WORDS_SECONDS = 5.0
# And this long for handing back what even then isn't over.
_HAND_BACK_SECONDS = 2.0


class Holdings:
    """One a trainer. `changed` is called whenever what it holds changes."""

    def __init__(self, tools: Tools, slots: Sequence[Slot], metrics: Metrics) -> None:
        self._tools = tools
        self._free = {slot.index: slot for slot in slots}
        self._held: dict[str, Attempt] = {}
        self._tasks: dict[Attempt, asyncio.Task[str]] = {}
        self._seated: set[Attempt] = set()
        self._over: OrderedDict[str, int] = OrderedDict()
        self._log = log.get("holdings")
        self._count = Gauge("trainyard_trainer_jobs", "Jobs held.", registry=metrics.registry)
        self._outcomes = Counter(
            "trainyard_trainer_attempts_total",
            "Attempts that ended, by outcome (succeeded, stopped, drained, failed, fenced, released).",
            ("outcome",),
            registry=metrics.registry,
        )
        self.changed: Callable[[], None] = lambda: None
        self.draining = False

    @property
    def free_slots(self) -> int:
        """Slots without a child."""
        return len(self._free)

    def held(self) -> list[tuple[HeldJob, Lease]]:
        """What heartbeats name: the attempts whose leases hold, with those."""
        now = self._tools.clock.monotonic()
        return [
            (HeldJob(job_id=attempt.order.job_id, attempt=attempt.order.attempt), attempt.lease)
            for attempt in self._held.values()
            if attempt.lease.left(now) > 0
        ]

    def attempt_of(self, job_id: str) -> Attempt | None:
        """The attempt at a job that is held here."""
        return self._held.get(job_id)

    def last_over(self, job_id: str) -> int | None:
        """The highest attempt at a job that ended here or was refused, as far as remembered."""
        return self._over.get(job_id)

    def begin(self, order: Order) -> None:
        """Hold a job from now on, in the lowest free slot; its life goes on in the background."""
        slot = self._free.pop(min(self._free))
        lease = Lease(order.assign.lease_seconds, self._tools.clock.monotonic())
        attempt = Attempt(order, slot, lease, self._tools, self._vacate)
        self._seated.add(attempt)
        self._held[order.job_id] = attempt
        task = asyncio.create_task(self._live(attempt), name=f"{order.job_id}-a{order.attempt}")
        self._tasks[attempt] = task
        # A callback, not a `finally`: it runs for a task that was cancelled before it began, too.
        task.add_done_callback(partial(self._forget, attempt))
        self._note_change()

    def stop(self, job_id: str, attempt: int, reason: StopReason) -> None:
        """Ask an attempt to end in good order. Raises Stale if it isn't held."""
        self._find(job_id, attempt).stop(reason)

    async def release(self, job_id: str, attempt: int) -> None:
        """Kill an attempt and forget it without a word. Returns once its slot is free. Raises Stale if it isn't held."""
        found = self._find(job_id, attempt)
        self._log.info("attempt.released", job=job_id, attempt=attempt)
        await self._drop([found])

    def remember_over(self, order: Order) -> None:
        """This attempt is over here: it is never begun again."""
        self._over[order.job_id] = max(order.attempt, self._over.pop(order.job_id, 0))
        while len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)

    async def drain(self, seconds: float) -> None:
        """Ask all attempts for a final checkpoint and wait for their ends; what isn't over after `seconds` is cut short, and
        handed back as it was last told of."""
        for attempt in self._held.values():
            attempt.stop("drained")
        await self._wait(seconds)
        for attempt in self._held.values():
            self._log.warning("attempt.cut", job=attempt.order.job_id, attempt=attempt.order.attempt)
            attempt.cut()
        await self._wait(_LAST_WORDS_SECONDS)
        late = list(self._held.values())
        await self._drop(late)
        await asyncio.gather(*(self._hand_back(attempt) for attempt in late))

    def kill_all(self) -> None:
        """No child survives us, whatever happened."""
        for attempt in self._held.values():
            attempt.kill()

    def _find(self, job_id: str, attempt: int) -> Attempt:
        found = self._held.get(job_id)
        if found is None or found.order.attempt != attempt:
            raise Stale(f"attempt {attempt} of job {job_id} is not held here")
        return found

    async def _wait(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)

    async def _drop(self, attempts: Sequence[Attempt]) -> None:
        tasks = [self._tasks[attempt] for attempt in attempts]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _hand_back(self, attempt: Attempt) -> None:
        """Without this word a drain would count as a trainer that vanished."""
        try:
            async with asyncio.timeout(_HAND_BACK_SECONDS):
                await attempt.hand_back()
        except (Stale, TimeoutError) as error:
            order = attempt.order
            self._log.warning("attempt.left_unsaid", job=order.job_id, attempt=order.attempt, error=repr(error))

    async def _live(self, attempt: Attempt) -> str:
        order = attempt.order
        with log.bound(job=order.job_id, attempt=order.attempt, team=order.team):
            return await attempt.run()

    def _forget(self, attempt: Attempt, task: asyncio.Task[str]) -> None:
        """The attempt's task is over, however it ended."""
        order = attempt.order
        if task.cancelled():
            outcome = "released"
        elif (error := task.exception()) is not None:
            outcome = "error"
            self._log.error("attempt.died", job=order.job_id, attempt=order.attempt, exc_info=error)
        else:
            outcome = task.result()
        self._vacate(attempt)
        del self._held[order.job_id]
        del self._tasks[attempt]
        self.remember_over(order)
        self._outcomes.labels(outcome).inc()
        self._log.info("attempt.over", job=order.job_id, attempt=order.attempt, outcome=outcome)
        self._note_change()

    def _vacate(self, attempt: Attempt) -> None:
        """Its child is gone. The slot may have its next attempt before the end of this one is told."""
        if attempt in self._seated:
            self._seated.remove(attempt)
            self._free[attempt.slot.index] = attempt.slot

    def _note_change(self) -> None:
        self._count.set(len(self._held))
        self.changed()
