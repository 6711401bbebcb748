"""Work that many ask for at once and that is done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Joint(Generic[T]):
    """Calls `make`, one call after another. All that ask while one is under way share the next: what each gets began to be made
    after it asked, and whoever asks waits for two calls at most, however many others there are."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._one = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """What `make` gives, or raises. Who is cancelled leaves the others their answer."""
        if self._next is None:
            self._next = asyncio.create_task(self._run())
        return await asyncio.shield(self._next)

    async def _run(self) -> T:
        async with self._one:
            self._next = None
            return await self._make()
