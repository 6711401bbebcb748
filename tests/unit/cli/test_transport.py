"""Requests: what is repeated, what isn't, and what is said when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from deploy.local.ports import free_ports
from services.cli.api import Api, Training
from services.cli.config import Server
from services.cli.stream import Stream
from services.cli.transport import ATTEMPTS, Transport, translated
from shared.contract.errors import UserError
from tests.support.fake_platform import FakePlatform, bad_gateway, break_off


class Waits(list[float]):
    """Takes the place of sleep."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
async def api(platform: FakePlatform, waits: Waits) -> AsyncIterator[Api]:
    server = Server(url=platform.url, token=platform.token, source="test")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {platform.token}"}) as session:
        yield Api(Transport(session, server, waits), Stream(session, server))


async def failure(request: object) -> UserError:
    with pytest.raises(UserError) as caught:
        await request  # type: ignore[misc]
    return caught.value


async def test_a_safe_request_outlasts_a_restart(platform: FakePlatform, api: Api, waits: Waits) -> None:
    platform.instead["GET /api/session"] = [bad_gateway, break_off]
    assert (await api.session()).name == "tester"
    assert len(waits) == 2
    assert platform.times("GET", "/api/session") == 3


async def test_it_gives_up_in_the_end(platform: FakePlatform, api: Api, waits: Waits) -> None:
    platform.instead["GET /api/session"] = [bad_gateway] * ATTEMPTS
    error = await failure(api.session())
    assert (error.code, error.status) == ("http_502", 502)
    assert "502 Bad Gateway" in error.message
    assert len(waits) == ATTEMPTS - 1


async def test_a_submit_is_repeated_with_the_same_key(platform: FakePlatform, api: Api) -> None:
    platform.instead["POST /api/jobs"] = [break_off]
    training = Training(dataset_ids=["d"], steps=300)
    job = await api.start_job(training, "x", when_room=False)
    keys = {asked.headers["Idempotency-Key"] for asked in platform.asked}
    assert len(keys) == 1
    assert platform.times("POST", "/api/jobs") == 2
    other = await api.start_job(training, "x", when_room=False)
    assert other.id != job.id


async def test_a_stop_is_not_repeated(platform: FakePlatform, api: Api) -> None:
    platform.instead["POST /api/jobs/1/stop"] = [break_off]
    assert (await failure(api.stop_job("1"))).code == "connection_lost"
    assert platform.times("POST", "/api/jobs/1/stop") == 1


@pytest.mark.parametrize(("pause", "tries"), [("2", 2), ("600", 1)])
async def test_retry_after_is_obeyed_unless_it_is_long(
    platform: FakePlatform, api: Api, waits: Waits, pause: str, tries: int
) -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        error = {"error": {"code": "busy", "message": "Too much to do.", "field": None}}
        return web.json_response(error, status=503, headers={"Retry-After": pause})

    platform.instead["GET /api/session"] = [busy]
    if tries == 1:
        error = await failure(api.session())
        assert (error.code, error.retry_after) == ("busy", 600)
    else:
        await api.session()
        assert waits == [2.0]
    assert platform.times("GET", "/api/session") == tries


async def test_a_refusal_is_the_servers_own(platform: FakePlatform, api: Api, waits: Waits) -> None:
    error = await failure(api.dataset("../nothing"))
    assert (error.code, error.status) == ("not_found", 404)
    assert platform.asked[-1].path == "/api/datasets/../nothing"  # one segment, percent-encoded on the wire
    assert waits == []


async def test_an_answer_that_is_none(platform: FakePlatform, api: Api) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>", content_type="text/html")

    platform.instead["GET /api/session"] = [page]
    assert (await failure(api.session())).code == "bad_answer"


async def test_nobody_listens(waits: Waits) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    server = Server(url=url, token="t", source="test")
    async with aiohttp.ClientSession() as session:
        error = await failure(Api(Transport(session, server, waits), Stream(session, server)).session())
    assert error.code == "unreachable"
    assert url in error.message
    assert "make up" in error.message
    assert waits == []


def test_silence_is_a_timeout() -> None:
    with pytest.raises(UserError) as caught, translated("http://x"):
        raise TimeoutError
    assert caught.value.code == "timeout"


async def test_a_broken_download_is_said(platform: FakePlatform, api: Api) -> None:
    platform.instead["GET /api/models/1/download"] = [break_off]

    async def read() -> None:
        async with api.download("1", "float32") as arriving:
            assert arriving.length == 1000
            async for _ in arriving.chunks:
                await asyncio.sleep(0)

    assert (await failure(read())).code == "connection_lost"
