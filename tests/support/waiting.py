"""Waiting for what comes about by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def until(look: Callable[[], Any] | Callable[[], Awaitable[Any]], seconds: float = 15) -> Any:
    """What `look` gives, once it gives something true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            found = look()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)
