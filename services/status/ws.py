"""`/api/ws`: one client's websocket, from the upgrade to the close code.

Owns the handshake, what a client that comes back gets first, and how a connection ends. What is sent when is the channel's.
The contract is shared/contract/stream.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Protocol

import msgspec
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler
from prometheus_client import Counter, Gauge

from services.status.channel import Channel, Client, Pace
from services.status.domain import resumable
from services.status.hub import Hub
from services.status.store import Conflict
from shared.contract.api.errors import ErrorAnswer
from shared.contract.errors import UserError
from shared.contract.stream import CLOSE_FORBIDDEN, CLOSE_RESUME, CLOSE_UNAUTHORIZED, REASON_FORMER, REASON_REVOKED
from shared.runtime import log
from shared.runtime.auth import Principal
from shared.runtime.clock import Clock
from shared.runtime.metrics import Metrics
from shared.runtime.mongo import OUTAGES
from shared.runtime.roles import Roles
from shared.runtime.web import principal

PATH = "/api/ws"
_PAGE = 200  # events of the log that are read and sent at once
_LARGEST_MESSAGE = 4096  # clients have nothing to say
_CLOSE_SECONDS = 2.0
_CANT_READ: tuple[type[Exception], ...] = (*OUTAGES, Conflict)


class Log(Protocol):
    """What resuming needs of the store; see StatusStore."""

    async def has_logged(self, team: str, seq: int) -> bool: ...
    async def log(self, team: str, after: int, upto: int) -> list[bytes]: ...


class Stream:
    """The websocket route."""

    def __init__(
        self, hub: Hub, store: Log, roles: Roles, clock: Clock, metrics: Metrics, *, pace: Pace, heartbeat: float
    ) -> None:
        self._hub = hub
        self._store = store
        self._roles = roles
        self._watching: dict[Client, Principal] = {}
        self._clock = clock
        self._pace = pace
        self._heartbeat = heartbeat
        self._log = log.get("stream")
        self._closed = Counter(
            "trainyard_stream_closed_total",
            "Websockets closed, by our close code (0: the client went).",
            ("code",),
            registry=metrics.registry,
        )
        clients = Gauge("trainyard_stream_clients", "Connected websockets.", registry=metrics.registry)
        clients.set_function(hub.clients)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The live stream as a websocket; it resumes from `epoch` and `seq`, where they are given."""
        who = principal(request)
        try:
            channel = await self._hub.channel(who.team)
            after = await self._position(channel, request)
        except OUTAGES as error:
            raise UserError(
                "store_unavailable", "The store can't be reached: try again soon.", status=503, retry_after=5
            ) from error
        socket = self._socket()
        await socket.prepare(request)
        client, first = self._begin(channel, after)
        self._watching[client] = who
        try:
            # The list may have changed since the request came in, and whoever was turned out then wasn't this one yet.
            await self._check(client, who)
            code = await self._serve(socket, client, first, who.expires)
        finally:
            channel.detach(client)
            del self._watching[client]
        self._closed.labels(str(code)).inc()
        if code:
            await _close(socket, request, code, client.reason)
        return socket

    async def turn_out(self, team: str) -> None:
        """The team's list of members or of tokens has changed: close the websockets of what is on it no more. Raises
        OUTAGES."""
        for client, who in list(self._watching.items()):
            if who.team == team:
                await self._bar(client, who)

    async def _check(self, client: Client, who: Principal) -> None:
        try:
            await self._bar(client, who)
        except OUTAGES as error:
            # It comes back, and is looked at then.
            self._log.info("stream.unchecked", error=repr(error))
            client.end(CLOSE_RESUME)

    async def _bar(self, client: Client, who: Principal) -> None:
        """End a client whose token isn't good any more, and say why."""
        try:
            await self._roles.bounded(who)
        except UserError as error:
            client.end(CLOSE_FORBIDDEN, error.code)

    async def _position(self, channel: Channel, request: web.Request) -> int | None:
        """After which event the client goes on; None: a snapshot, as there is no such position or not all is kept."""
        after = resumable(request.query, channel.epoch, channel.last)
        if after is None or channel.holds(after) or await self._store.has_logged(channel.team, after + 1):
            return after
        return None

    def _begin(self, channel: Channel, after: int | None) -> tuple[Client, AsyncIterator[bytes]]:
        """The client, attached, and its first frames: there is always one, as it tells the client that it is live."""
        now = self._clock.now()
        if after is None:
            return channel.attach(None), _frames(channel.snapshot(now))
        if channel.holds(after):
            client = channel.attach(after)
            client.wake.set()
            return client, _frames()
        client = channel.attach(channel.last)
        client.wake.set()  # what is outside the sequence comes right behind
        return client, self._missed(channel, after, channel.last)

    async def _missed(self, channel: Channel, after: int, upto: int) -> AsyncIterator[bytes]:
        """What the log holds of (after, upto], page by page."""
        for start in range(after, upto, _PAGE):
            events = await self._store.log(channel.team, start, min(upto, start + _PAGE))
            yield channel.events_frame(events, self._clock.now())

    async def _serve(
        self, socket: web.WebSocketResponse, client: Client, first: AsyncIterator[bytes], expires: datetime | None
    ) -> int:
        """Until the connection ends; returns the code to close it with, 0 if the client has gone."""
        seconds = None if expires is None else max(0.0, (expires - self._clock.now()).total_seconds())
        reading = asyncio.create_task(_listen(socket))
        sending = asyncio.create_task(self._send(socket, client, first))
        ends: set[asyncio.Future[Any]] = {reading, client.ended}
        try:
            done, _ = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            reading.cancel()
            await asyncio.gather(sending, reading, return_exceptions=True)
        if not done:
            return CLOSE_UNAUTHORIZED
        return client.ended.result() if client.ended in done else 0

    async def _send(self, socket: web.WebSocketResponse, client: Client, first: AsyncIterator[bytes]) -> None:
        async def send(frame: bytes) -> None:
            await socket.send_frame(frame, WSMsgType.TEXT)

        try:
            await client.pump(first, send, self._clock, self._pace)
        except _CANT_READ as error:
            # What it missed couldn't be read to the end: it comes back with how far it got.
            self._log.info("stream.catch_up_failed", error=repr(error))
            client.end(CLOSE_RESUME)

    def _socket(self) -> web.WebSocketResponse:
        # writer_limit: a send waits as soon as the client's socket takes no more, so that a slow client shows.
        return web.WebSocketResponse(
            heartbeat=self._heartbeat,
            compress=False,
            max_msg_size=_LARGEST_MESSAGE,
            timeout=_CLOSE_SECONDS,
            writer_limit=1,
        )


@web.middleware
async def refuse_by_close_code(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A browser isn't told why an upgrade failed: one without a good token gets its websocket, closed with 4001, and one whose
    token was revoked, or whose person was taken off the team's list, closed with 4003."""
    response = await handler(request)
    close = _close_for(response) if request.path == PATH and "Upgrade" in request.headers else None
    if close is None:
        return response
    socket = web.WebSocketResponse(compress=False, timeout=_CLOSE_SECONDS, max_msg_size=_LARGEST_MESSAGE)
    await socket.prepare(request)
    await _close(socket, request, *close)
    return socket


def _close_for(refusal: web.StreamResponse) -> tuple[int, str] | None:
    """The close code and reason that say what a refused upgrade says, None for what is no affair of the token's."""
    if refusal.status not in (401, 403) or not isinstance(refusal, web.Response) or not isinstance(refusal.body, bytes):
        return None
    told = msgspec.json.decode(refusal.body, type=ErrorAnswer).error.code
    if told in (REASON_FORMER, REASON_REVOKED):
        return CLOSE_FORBIDDEN, told
    # Not for a page of another origin (403): it learns nothing.
    return (CLOSE_UNAUTHORIZED, "") if refusal.status == 401 else None


async def _frames(*frames: bytes) -> AsyncIterator[bytes]:
    for frame in frames:
        yield frame


async def _listen(socket: web.WebSocketResponse) -> None:
    """Until the client closes: pings are answered and losses noticed while somebody reads."""
    async for _ in socket:
        pass


async def _close(socket: web.WebSocketResponse, request: web.Request, code: int, reason: str = "") -> None:
    """Say the code and the reason, wait a moment for the answer, then cut a client that doesn't take it."""
    transport = request.transport
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * _CLOSE_SECONDS):
            await socket.close(code=code, message=reason.encode())
    if transport is not None:
        transport.abort()
