"""A background duty: a function run again and again until the service stops.

Owns the pace and what happens to a failure (logged, counted, tried again after a pause); knows nothing of what the duty does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shared.runtime import log
from shared.runtime.metrics import Metrics

_LONGEST_PAUSE = 15.0


class Loop:
    """Runs `duty` every `seconds`, or when `wake` is called; rounds never overlap. After a round at least `least` seconds go
    by: what wakes it in the meantime is done in one. After a failure the pauses grow to `longest_pause` seconds."""

    def __init__(
        self,
        name: str,
        duty: Callable[[], Awaitable[object]],
        *,
        seconds: float,
        metrics: Metrics,
        least: float = 0.0,
        longest_pause: float = _LONGEST_PAUSE,
    ) -> None:
        self.name = name
        self._duty = duty
        self._seconds = seconds
        self._least = least
        self._longest_pause = longest_pause
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._log = log.get("loop")

    def wake(self) -> None:
        """Start the next round now, or right after the one under way and its pause."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            self._wake.clear()
            try:
                await self._duty()
            except Exception as error:  # noqa: BLE001 - a duty that fails is tried again, whatever the reason
                failures += 1
                self._metrics.loops.labels(self.name).inc()
                self._log.warning(
                    "loop.failed", loop=self.name, failures=failures, error=repr(error), exc_info=failures == 1
                )
                await asyncio.sleep(min(self._longest_pause, self._seconds * 2 ** min(failures, 5)))
                continue
            failures = 0
            if self._least:
                await asyncio.sleep(self._least)
            try:
                async with asyncio.timeout(max(0.0, self._seconds - self._least)):
                    await self._wake.wait()
            except TimeoutError:
                pass
