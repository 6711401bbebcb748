"""Is a child still at work? How long each phase may take without headway, and when that is over.

Owns the limits and the count of idle seconds. Pure arithmetic but for `found`, a small loop; ends no process itself and knows
nothing of uploads, which the parent makes while the child goes on.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import deque

import msgspec

from services.trainer.protocol import FromChild, Phase, RunPhase, RunProgressed, RunStarted
from shared.runtime.clock import Clock

STEP_TIMES = 20
"""How many times its median step time a child may be without a step."""

_PACE = 0.5
# Reports whose step times the median is of: about the last minute.
_WINDOW = 60
# The most that counts between two looks. A parent that was frozen itself (SIGSTOP, a paused machine) wakes with a child's words
# unread: what it slept through says nothing of the child.
_LONGEST_LOOK = 2 * _PACE


class Stall(msgspec.Struct, frozen=True):
    """A child that makes no headway: its phase, for how many seconds, and the step it had reached."""

    phase: Phase
    seconds: float
    step: int


class Watchdog:
    """One child's. It counts from the last headway: a step while it steps, the beginning of the phase elsewhere."""

    def __init__(self, *, stall_seconds: float, phase_seconds: float, step: int) -> None:
        self._stall_seconds = stall_seconds
        self._phase_seconds = phase_seconds
        self._phase: Phase | None = "preparing"
        self._step = step
        self._first_seconds = 0.0
        self._step_seconds: deque[float] = deque(maxlen=_WINDOW)
        self._idle = 0.0
        self._looked: float | None = None

    def hear(self, message: FromChild) -> None:
        """A child's word; those that tell of headway begin the count anew."""
        match message:
            case RunPhase():
                self._phase = message.phase
            case RunStarted():
                self._step = message.step
                self._first_seconds = message.seconds
            case RunProgressed():
                self._step = message.step
                if message.steps_per_second > 0:
                    self._step_seconds.append(1 / message.steps_per_second)
            case _:
                return
        self._idle = 0.0

    def rest(self) -> None:
        """The child has said all: nothing is expected of it any more."""
        self._phase = None

    @property
    def limit(self) -> float:
        """Seconds without headway that the phase may take. Until a step is timed, the first one stands for it: it took
        longer, as it traced the graph."""
        if self._phase != "stepping":
            return self._phase_seconds
        step_seconds = statistics.median(self._step_seconds) if self._step_seconds else self._first_seconds
        return max(self._stall_seconds, STEP_TIMES * step_seconds)

    def look(self, now: float) -> Stall | None:
        """What is wrong at `now` (monotonic seconds), None where nothing is."""
        if self._looked is not None:
            self._idle += min(now - self._looked, _LONGEST_LOOK)
        self._looked = now
        if self._phase is None or self._idle < self.limit:
            return None
        return Stall(self._phase, self._idle, self._step)

    async def found(self, clock: Clock) -> Stall:
        """Look again and again until something is wrong."""
        while True:
            stall = self.look(clock.monotonic())
            if stall is not None:
                return stall
            await asyncio.sleep(_PACE)
