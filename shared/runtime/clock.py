"""Time, as something that is passed in: nobody else calls `datetime.now` or `time.monotonic`.

Tests pass a clock of their own.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for what people see, monotonic time for how long something took."""

    def now(self) -> datetime:
        """The wall clock, UTC, to the millisecond: what the store keeps."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary moment; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """See Clock."""
        moment = datetime.now(UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()
