"""The websocket: what was missed comes after a break, and nothing is asked in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from deploy.local.ports import free_ports
from services.cli.config import Server
from services.cli.stream import LONGEST_PAUSE_SECONDS, Folded, Offline, Stream, Update
from shared.contract.errors import UserError
from shared.contract.jobs import JobState
from shared.contract.stream import (
    CLOSE_FORBIDDEN,
    CLOSE_RESUME,
    CLOSE_UNAUTHORIZED,
    REASON_FORMER,
    REASON_REVOKED,
    ModelPut,
)
from tests.support.answers import job_view, progress_at
from tests.support.fake_platform import FakePlatform, bad_gateway

RUNNING = job_view(version=2, state=JobState.RUNNING, attempt=1)


@asynccontextmanager
async def following(url: str, token: str, pause: float = 0.0) -> AsyncIterator[AsyncGenerator[Update, None]]:
    async def short(_: float) -> None:
        await asyncio.sleep(pause)

    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        stream = Stream(session, Server(url=url, token=token, source="test"), pause=short, jitter=lambda: 1.0)
        async with aclosing(stream.follow()) as updates, asyncio.timeout(10):
            yield updates


async def folded(updates: AsyncGenerator[Update, None]) -> Folded:
    update = await anext(updates)
    assert isinstance(update, Folded), update
    return update


async def offline(updates: AsyncGenerator[Update, None]) -> Offline:
    update = await anext(updates)
    assert isinstance(update, Offline), update
    return update


async def off_loop(work: object, *arguments: object) -> None:
    """The platform lives in another thread: waiting for it must not stop this loop."""
    await asyncio.to_thread(work, *arguments)  # type: ignore[arg-type]


async def test_snapshot_then_events(platform: FakePlatform) -> None:
    platform.jobs = {RUNNING.id: job_view()}
    async with following(platform.url, platform.token) as updates:
        assert (await folded(updates)).state.models[RUNNING.id].state is JobState.QUEUED
        await off_loop(platform.wait_connected)
        await off_loop(platform.publish, ModelPut(seq=0, model=RUNNING))
        assert (await folded(updates)).state.models[RUNNING.id].state is JobState.RUNNING
        await off_loop(lambda: platform.publish(progress=progress_at(5)))
        assert (await folded(updates)).state.progress[RUNNING.id].step == 5


async def test_a_lost_connection_is_said_and_resumed_at_its_position(platform: FakePlatform) -> None:
    async with following(platform.url, platform.token) as updates:
        await folded(updates)
        await off_loop(platform.wait_connected)
        await off_loop(platform.publish, ModelPut(seq=0, model=RUNNING))
        await folded(updates)
        await off_loop(platform.hang_up)
        assert (await offline(updates)).pause_seconds == 0.5
        back = await folded(updates)
        assert back.state.models == {RUNNING.id: RUNNING}
        assert back.state.snapshots == 1
    assert platform.connected == [{}, {"epoch": "e1", "seq": "1"}]


async def test_told_to_resume_it_does_at_once_but_not_in_a_storm(platform: FakePlatform) -> None:
    async with following(platform.url, platform.token) as updates:
        await folded(updates)
        await off_loop(platform.wait_connected)
        await off_loop(platform.hang_up, CLOSE_RESUME)
        await folded(updates)
        await off_loop(platform.wait_connected, 2)
        assert platform.connected[1] == {"epoch": "e1", "seq": "0"}

        async def full(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.close(code=CLOSE_RESUME)
            return socket

        platform.instead["GET /api/ws"] = [full, full]
        await off_loop(platform.hang_up, CLOSE_RESUME)
        assert (await offline(updates)).pause_seconds == 1.0
        assert (await offline(updates)).pause_seconds == 2.0
        await folded(updates)


async def test_a_gap_and_a_restart_of_the_service_give_a_fresh_snapshot(platform: FakePlatform) -> None:
    async with following(platform.url, platform.token) as updates:
        await folded(updates)
        await off_loop(platform.wait_connected)
        platform.seq += 1
        await off_loop(platform.publish, ModelPut(seq=0, model=RUNNING))
        assert (await folded(updates)).state.snapshots == 2
        await off_loop(platform.wait_connected, 2)
        platform.epoch, platform.seq = "e2", 0
        await off_loop(platform.hang_up, CLOSE_RESUME)
        again = await folded(updates)
        assert again.state.snapshots == 3
        assert again.state.position is not None
        assert again.state.position.epoch == "e2"


async def test_a_frame_that_cannot_be_read_starts_afresh(platform: FakePlatform) -> None:
    async with following(platform.url, platform.token) as updates:
        await folded(updates)
        await off_loop(platform.wait_connected)
        await off_loop(platform.send_raw, "nonsense")
        assert "can't be read" in (await offline(updates)).reason
        assert (await folded(updates)).state.snapshots == 2


async def test_a_gateway_without_a_service_is_waited_for(platform: FakePlatform) -> None:
    platform.instead["GET /api/ws"] = [bad_gateway] * 7
    async with following(platform.url, platform.token) as updates:
        pauses = [(await offline(updates)).pause_seconds for _ in range(7)]
        assert pauses == [0.5, 1, 2, 4, 8, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
        assert (await folded(updates)).state.snapshots == 1


async def test_nobody_listens_yet() -> None:
    async with following(f"http://127.0.0.1:{free_ports(1)[0]}", "t") as updates:
        assert "onnect" in (await offline(updates)).reason


async def test_a_token_that_is_not_accepted_ends_it(platform: FakePlatform) -> None:
    async with following(platform.url, "wrong") as updates:
        with pytest.raises(UserError) as caught:
            await anext(updates)
    assert caught.value.code == "unauthorized"


@pytest.mark.parametrize(
    ("close_code", "reason", "code"),
    [
        (CLOSE_UNAUTHORIZED, "", "unauthorized"),
        (CLOSE_FORBIDDEN, "", "forbidden"),
        (CLOSE_FORBIDDEN, REASON_FORMER, "forbidden"),
        (CLOSE_FORBIDDEN, REASON_REVOKED, "token_revoked"),
    ],
)
async def test_a_token_that_is_no_longer_good_ends_it(
    platform: FakePlatform, close_code: int, reason: str, code: str
) -> None:
    async with following(platform.url, platform.token) as updates:
        await folded(updates)
        await off_loop(platform.wait_connected)
        await off_loop(platform.hang_up, close_code, reason)
        with pytest.raises(UserError) as caught:
            await anext(updates)
    assert caught.value.code == code
