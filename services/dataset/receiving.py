"""The bytes of an upload as they come in: from a request's body, until it ends, breaks off or stalls, or from a finished
upload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import TypeVar

from aiohttp import web

from shared.contract.errors import UserError

T = TypeVar("T")


async def received(request: web.Request, silence_seconds: float) -> AsyncIterator[bytes]:
    """The pieces of a body. Raises UserError upload_stalled (408) after so many seconds without one, upload_broken."""
    while True:
        try:
            async with asyncio.timeout(silence_seconds):
                piece = await request.content.readany()
        except TimeoutError as error:
            message = f"The upload brought nothing for {silence_seconds:g} seconds and was given up."
            raise UserError("upload_stalled", message, "file", status=408) from error
        except (
            OSError,
            web.RequestPayloadError,
        ) as error:  # the connection is lost, or the body is not what HTTP allows
            raise UserError("upload_broken", f"The upload broke off: {error}", "file") from error
        if not piece:
            return
        yield piece


async def stored(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """What an iterator gives that reads a disk."""
    while piece := await to_end(partial(next, pieces, b"")):
        yield piece


async def to_end(work: Callable[[], T]) -> T:
    """Run `work` in a thread; when cancelled, wait for it all the same: it is at a file that is closed next."""
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
