"""The live stream: one websocket, kept open, resumed where it broke off.

Owns the connection: reconnect pauses, close codes, resume by (epoch, seq). What the frames mean is fold.py's. Says how it fares
to whoever follows it; knows nothing of terminals.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime

import aiohttp
import msgspec

from services.cli.config import Server
from services.cli.fold import Gap, Position, State, decode_frame, fold
from shared.contract.errors import UserError
from shared.contract.stream import CLOSE_FORBIDDEN, CLOSE_RESUME, CLOSE_UNAUTHORIZED, REASON_REVOKED

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
PING_SECONDS = 20.0  # a half-open connection says nothing by itself
LARGEST_FRAME_BYTES = 64 << 20


class Folded(msgspec.Struct, frozen=True):
    """A frame came: the state after it, and the server's clock when it was sent."""

    state: State
    time: datetime


class Offline(msgspec.Struct, frozen=True):
    """The connection is gone for `reason`; the next try is `pause_seconds` away."""

    reason: str
    pause_seconds: float


Update = Folded | Offline


class Stream:
    """The stream of one team. `jitter` gives 0..1, `pause` sleeps: a test gives its own."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: Server,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._session = session
        self._server = server
        self._pause = pause
        self._jitter = jitter
        self._state = State()

    async def follow(self) -> AsyncGenerator[Update, None]:
        """Every frame folded, without end, over as many connections as it takes.  Raises UserError `unauthorized`, `forbidden`
        or `token_revoked` when the server won't have this token: trying again wouldn't help."""
        failures = 0
        while True:
            reason, in_turn, close_code, why = "the connection broke", False, 0, ""
            try:
                async with self._session.ws_connect(
                    self._server.websocket_url(),
                    params=_query(self._state.position),
                    heartbeat=PING_SECONDS,
                    max_msg_size=LARGEST_FRAME_BYTES,
                    # With it a close code is lost whenever the answer to the close frame comes too late.
                    autoclose=False,
                ) as socket:
                    while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                        frame, events = decode_frame(message.data)
                        self._state = fold(self._state, frame, events)
                        failures = 0
                        yield Folded(self._state, frame.time)
                    if message.type is aiohttp.WSMsgType.CLOSE:
                        close_code, why = message.data, message.extra or ""
                if close_code == CLOSE_UNAUTHORIZED:
                    raise UserError("unauthorized", "The token is not valid any more.", "token", status=401)
                if close_code == CLOSE_FORBIDDEN and why == REASON_REVOKED:
                    raise UserError(REASON_REVOKED, "This token was revoked.", "token", status=401)
                if close_code == CLOSE_FORBIDDEN:
                    raise UserError("forbidden", "You are no longer a member of this team.", "token", status=403)
                in_turn = close_code == CLOSE_RESUME
            except aiohttp.WSServerHandshakeError as error:
                if error.status in (401, 403):
                    code = "unauthorized" if error.status == 401 else "forbidden"
                    raise UserError(
                        code, "The server doesn't accept the token.", "token", status=error.status
                    ) from error
                reason = f"the server answered HTTP {error.status}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                reason = str(error) or "no answer in time"
            except Gap:
                self._forget_position()
                reason, in_turn = "events are missing", True
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._forget_position()
                reason = f"a frame can't be read: {error}"
            # At once where the server asked for it, but never twice without a good frame in between.
            pause = 0.0 if in_turn and failures == 0 else self._backoff(failures)
            failures += 1
            if pause:
                yield Offline(reason, pause)
                await self._pause(pause)

    def _backoff(self, failures: int) -> float:
        longest: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures, 10))
        return longest * (0.5 + 0.5 * self._jitter())

    def _forget_position(self) -> None:
        """What is known stays shown, but only a snapshot can be built upon."""
        self._state = msgspec.structs.replace(self._state, position=None)


def _query(position: Position | None) -> dict[str, str]:
    return {} if position is None else {"epoch": position.epoch, "seq": str(position.seq)}
