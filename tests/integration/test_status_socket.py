"""The websocket route by itself, over a real connection, on a store that fails: what a client is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from pymongo.errors import AutoReconnect

from services.cli.fold import Position
from services.status.channel import Pace
from services.status.handlers import Folder
from services.status.hub import Hub
from services.status.store import Conflict
from services.status.ws import PATH, Stream
from shared.contract.events import TokensChanged
from shared.contract.stream import CLOSE_FORBIDDEN, CLOSE_RESUME, REASON_FORMER, REASON_REVOKED
from shared.runtime.auth import TokenId, mint
from shared.runtime.clock import SystemClock
from shared.runtime.metrics import Metrics
from shared.runtime.roles import Roles, Standing
from shared.runtime.trace import Tracing
from shared.runtime.web import application
from tests.support.status_facts import changed, job
from tests.support.stream_client import StreamClient, connected
from tests.unit.status.memory_store import MemoryStore

SECRET = "a secret of at least 32 characters"


class World:
    """The route on a server, and the store behind it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.hub = Hub(self.store, SystemClock(), backlog=100)
        self.folder = Folder(self.store, self.hub, SystemClock(), Metrics(), log_keep=100)
        self.url = ""
        self.session: aiohttp.ClientSession
        # What the list of members says, or fails with, when a client is already let in.
        self.list: Standing | Exception = Standing()
        self.tokens: TokensChanged | None = None

    async def look(self, team: str, name: str) -> Standing:
        assert (team, name) == ("demo", "Ada")
        if isinstance(self.list, Exception):
            raise self.list
        return self.list

    async def look_at_tokens(self, team: str) -> TokensChanged | None:
        assert team == "demo"
        return self.tokens

    def app(self) -> web.Application:
        async def problems() -> dict[str, str]:
            return {}

        app = application(secret=SECRET, metrics=Metrics(), tracing=Tracing("test"), problems=problems)
        pace = Pace(tick=0.01, idle=5, send=5)
        roles = Roles(self.look, self.look_at_tokens, lambda who: None)
        stream = Stream(self.hub, self.store, roles, SystemClock(), Metrics(), pace=pace, heartbeat=20)
        app.add_routes([web.get(PATH, stream.handle)])
        return app


def watch(
    world: World, position: Position | None = None, token: TokenId | None = None
) -> AbstractAsyncContextManager[StreamClient]:
    now = datetime.now(UTC)
    bearer = mint(SECRET, team="demo", role="viewer", name="Ada", now=now, lifetime=None, token=token)
    return connected(world.session, world.url, position=position, headers={"Authorization": f"Bearer {bearer}"})


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with TestServer(made.app()) as server, aiohttp.ClientSession() as session:
        made.url, made.session = str(server.make_url(PATH)), session
        yield made


async def test_a_store_that_is_away_is_told_before_the_upgrade(world: World) -> None:
    world.store.unreadable = AutoReconnect("down")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with watch(world):
            pass
    assert caught.value.status == 503
    assert caught.value.headers is not None
    assert caught.value.headers["Retry-After"] == "5"


@pytest.mark.parametrize("error", [AutoReconnect("down"), Conflict("trimmed in the meantime")])
async def test_a_catch_up_that_breaks_off_is_to_be_resumed(world: World, error: Exception) -> None:
    for version in range(1, 5):
        await world.folder.fold(changed(job(version=version)))
    channel = await world.hub.channel("demo")
    world.store.unreadable = error
    async with watch(world, Position(channel.epoch, 1)) as client:
        assert await client.closed() == CLOSE_RESUME


async def test_a_service_that_drains_takes_nobody(world: World) -> None:
    await world.hub.drain()
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with watch(world):
            pass
    assert caught.value.status == 503


async def test_who_is_taken_off_the_list_while_the_request_comes_in_is_not_overlooked(world: World) -> None:
    world.list = Standing(former=True)
    async with watch(world) as client:
        assert (await client.closed(), client.reason) == (CLOSE_FORBIDDEN, REASON_FORMER)


async def test_a_token_that_is_revoked_while_the_request_comes_in_is_told_so(world: World) -> None:
    world.tokens = TokensChanged(tokens=["t2"], version=3)
    async with watch(world, token=TokenId(id="t2", listed=1)) as client:
        assert not isinstance(await client.frame(), int)
    async with watch(world, token=TokenId(id="t1", listed=1)) as client:
        assert (await client.closed(), client.reason) == (CLOSE_FORBIDDEN, REASON_REVOKED)


async def test_who_cannot_be_looked_up_comes_back(world: World) -> None:
    world.list = AutoReconnect("down")
    async with watch(world) as client:
        assert await client.closed() == CLOSE_RESUME
