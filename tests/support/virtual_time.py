"""Time that passes only when everybody waits: an event loop that jumps to the next timer instead of sleeping.

For coroutines without sockets, processes or threads: `run(coroutine)` and `asyncio.get_running_loop().time()` tell how long
it would have taken.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Never waits: where the loop would sleep, its clock is moved on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            # Nothing is due and no timer is set: only a socket could wake us, and there is none.
            raise RuntimeError("everybody waits and nothing can happen")
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` starts at 0 and jumps."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        # The loop takes a timer as due within its clock's resolution, so a jump by rounded seconds never falls short.
        return self._virtual.now


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `asyncio.run` does, on virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)
