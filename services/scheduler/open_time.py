"""Seconds in which the lab is open, counted from now, and the clock that they stand for.

Pure. A job that waits, or that pauses and goes on, over a closed time does not notice it; so estimates reckon in open
time and are put on the clock at the end.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf

import numpy as np
from numpy.typing import NDArray

from services.scheduler.snapshot import Hours


class OpenTime:
    """Windows of open time. Each ends `lead` before the lab closes, when jobs are asked to pause."""

    def __init__(self, hours: Hours | None, lead: timedelta, now: datetime) -> None:
        self._begins: list[float] = []  # seconds from now
        self._offsets: list[float] = []  # open seconds before that
        self._total = 0.0
        is_open, begin = hours is None or hours.open, 0.0
        if hours is not None and hours.until is not None:
            for change in (hours.until, *hours.changes):
                at = (change - now).total_seconds()
                if is_open:
                    self._add(begin, at - lead.total_seconds())
                is_open, begin = not is_open, at
        if is_open:
            self._add(begin, inf)
        self._ends = np.asarray([*self._offsets[1:], self._total])

    def _add(self, begin: float, end: float) -> None:
        if end > begin:
            self._begins.append(begin)
            self._offsets.append(self._total)
            self._total += end - begin

    @property
    def longest(self) -> float:
        """The most open seconds in a row, as far as the lab's hours were looked up."""
        return max((end - begin for begin, end in pairwise([*self._offsets, self._total])), default=0.0)

    def fitting(self, start: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
        """The first open times from each `start` on after which the lab stays open for `seconds`, else inf."""
        if self._total == inf and len(self._ends) == 1:
            return start
        result = start.copy()
        ends = np.append(self._ends, inf)
        for _ in self._ends:
            window_ends = ends[np.searchsorted(self._ends, result, side="right")]
            short = result + seconds > window_ends
            if not short.any():
                break
            result[short] = window_ends[short]
        result[result >= self._total] = inf
        return result

    def starts(self, at: float) -> float:
        """Seconds from now to the moment from which open time runs on from `at`; inf for never."""
        index = bisect_right(self._offsets, at) - 1
        return inf if index < 0 or at >= self._total else self._begins[index] + at - self._offsets[index]

    def ends(self, at: float) -> float:
        """Seconds from now to the moment at which `at` of open time has passed; inf for never."""
        index = max(0, bisect_right(self._offsets, at) - 1)
        if index > 0 and self._offsets[index] == at:
            index -= 1
        return inf if at > self._total or not self._begins else self._begins[index] + at - self._offsets[index]
