"""A clock for tests on virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

STARTED = datetime(2026, 3, 1, tzinfo=UTC)


class LoopClock:
    """The loop's own, virtual time."""

    def now(self) -> datetime:
        return STARTED + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()
