"""Telling the scheduler that plans of what another one wrote: a transient fact, soon, without keeping a request waiting for it.

A lost one costs the seconds until the planner compares its board with the store.
"""

from __future__ import annotations

from collections.abc import Callable

from services.scheduler.domain import Job
from shared.contract.errors import Retry
from shared.contract.events import Message, SchedulerWrote
from shared.contract.wire import Envelope
from shared.runtime import log
from shared.runtime.bus import Bus


class Nudger:
    """`nudge` notes a job; `round`, run in a Loop that `wake` wakes, tells of all that were noted."""

    def __init__(self, bus: Bus, envelope: Callable[[Message, Job], Envelope]) -> None:
        self._bus = bus
        self._envelope = envelope
        self._noted: dict[str, Job] = {}
        self._log = log.get("nudger")
        self.wake: Callable[[], None] = lambda: None

    def nudge(self, job: Job) -> None:
        """Tell of this job soon."""
        self._noted[job.view.id] = job
        self.wake()

    async def round(self) -> None:
        """Tell of all that were noted. What can't be told now is left to the planner's own look."""
        while self._noted:
            _, job = self._noted.popitem()
            try:
                await self._bus.publish(self._envelope(SchedulerWrote(job_id=job.view.id), job))
            except Retry as error:
                self._log.info("nudge.untold", job=job.view.id, error=str(error))
