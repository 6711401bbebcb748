"""A client of the live stream for tests: a websocket whose frames are folded by the very code that the command line uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from services.cli.fold import Position, State, decode_frame, fold
from shared.contract.stream import Frame


def take(state: State, data: str | bytes) -> State:
    """The state after one frame as it came. Raises Gap if events before it are missing."""
    frame, events = decode_frame(data)
    return fold(state, frame, events)


def shown(state: State) -> object:
    """What two clients must agree upon, however each got there: all that a snapshot holds, in no order."""
    return msgspec.to_builtins(
        {
            "position": state.position,
            "minutes": state.minutes,
            "models": dict(state.models),
            "datasets": dict(state.datasets),
            "queue": dict(state.queue),
            "room_moved_at": state.room_moved_at,
            "announcements": list(state.announcements),
        }
    )


class StreamClient:
    """One connection; `state` is what its frames were folded into, beginning with what an earlier one knew."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, state: State) -> None:
        self._socket = socket
        self.state = state
        self.frames: list[Frame] = []
        self.reason = ""  # that the server closed with

    async def frame(self, seconds: float = 10) -> Frame | int:
        """The next frame, folded, or the close code."""
        message = await self._socket.receive(timeout=seconds)
        if message.type is not aiohttp.WSMsgType.TEXT:
            assert self._socket.close_code is not None
            self.reason = message.extra or ""
            return self._socket.close_code
        frame, events = decode_frame(message.data)
        self.state = fold(self.state, frame, events)
        self.frames.append(frame)
        return frame

    async def until(self, wanted: Callable[[State], object], seconds: float = 15) -> State:
        """Fold frames until the state is as wanted."""
        async with asyncio.timeout(seconds):
            while not wanted(self.state):
                frame = await self.frame(seconds)
                assert not isinstance(frame, int), f"closed with {frame}"
        return self.state

    async def closed(self, seconds: float = 15) -> int:
        """Fold frames until the server closes; returns the code."""
        async with asyncio.timeout(seconds):
            while not isinstance(frame := await self.frame(seconds), int):
                pass
        return frame


@asynccontextmanager
async def connected(
    session: aiohttp.ClientSession,
    url: str,
    state: State | None = None,
    *,
    position: Position | None = None,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[StreamClient]:
    """A client, which resumes from `position` or from that of `state` where there is one; its first frame is folded."""
    state = state or State()
    position = position or state.position
    query = {} if position is None else {"epoch": position.epoch, "seq": str(position.seq)}
    async with session.ws_connect(url, params=query, headers=headers, max_msg_size=64 << 20) as socket:
        yield StreamClient(socket, state)
