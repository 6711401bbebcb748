"""Blocking calls in threads of their own that may be left behind.

asyncio waits at its end for every thread that it lent out; a trainer that is told to go must not wait for a dataset that
nobody wants any more. What runs here must therefore be safe to break off at any point.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def abandonable(call: Callable[[], T]) -> T:
    """What `call()` returns or raises. Cancelled, it returns at once; the call goes on unheard, or ends with the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(call)
        except BaseException as raised:  # noqa: BLE001 - handed to whoever awaits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody awaits
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="abandonable", daemon=True).start()
    return await future
