"""The composition root of the status service: the only place where its parts meet."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from aiohttp import web

from services.status.channel import Pace
from services.status.handlers import Folder
from services.status.http import Api
from services.status.hub import Hub
from services.status.pictures_http import PicturesApi
from services.status.room import RoomFolder, RoomStore
from services.status.settings import StatusSettings
from services.status.store import StatusStore
from services.status.ws import Stream, refuse_by_close_code
from shared.contract.events import MembersChanged, TokensChanged
from shared.contract.topology import STATUS_FACTS, STATUS_PROGRESS
from shared.contract.wire import Envelope
from shared.runtime.artifacts import Artifacts
from shared.runtime.bus import Handler, Handlers
from shared.runtime.members import ASK_SECONDS, MemberLists
from shared.runtime.roles import Roles
from shared.runtime.service import Runtime
from shared.runtime.tokens import TokenLists, TokenUses, over

NAME = "status"


async def compose(runtime: Runtime[StatusSettings], app: web.Application) -> None:
    """Build the service on `runtime` and add its routes to `app`."""
    settings, clock = runtime.settings, runtime.clock
    database = (await runtime.store()).database(NAME)
    store = StatusStore(database, clock, tombstones=timedelta(days=settings.tombstone_days))
    await store.prepare()
    artifacts = await asyncio.to_thread(Artifacts, settings.artifacts_url)

    hub = Hub(store, clock, backlog=settings.stream_backlog)
    room = RoomFolder(RoomStore(database), hub)
    await room.load()
    runtime.on_drain(hub.drain)  # before the bus, so that it drains after it: clients get what was folded last
    bus = await runtime.bus()
    folder = Folder(store, hub, clock, runtime.metrics, log_keep=settings.log_keep)
    pace = Pace(tick=settings.stream_tick_seconds, idle=settings.stream_idle_seconds, send=settings.stream_send_seconds)
    members, tokens = MemberLists(database, bus, runtime.envelope), TokenLists(database)
    uses = TokenUses(clock, over(bus, runtime.envelope))
    roles = Roles(members.standing, tokens.revoked, uses.note)
    stream = Stream(hub, store, roles, clock, runtime.metrics, pace=pace, heartbeat=settings.stream_heartbeat_seconds)

    def then_turned_out(fold: Handler) -> Handler:
        async def handle(envelope: Envelope) -> None:
            try:
                await fold(envelope)
            finally:
                # Also where the list is known: it may be told again because this failed.
                await stream.turn_out(envelope.team)

        return handle

    app.middlewares.insert(0, refuse_by_close_code)
    app.middlewares.append(roles.middleware)
    app.add_routes(Api(store, hub, artifacts).routes(stream))
    app.add_routes(PicturesApi(store, artifacts).routes())

    async def tidy() -> None:
        await folder.tidy()
        await hub.forget_idle(settings.idle_team_seconds)

    runtime.duty("tidy", tidy, seconds=settings.tidy_seconds)
    runtime.duty("members", members.ask, seconds=ASK_SECONDS)
    uses.wake = runtime.duty("token-uses", uses.round, seconds=60).wake
    lists: Handlers = {MembersChanged: then_turned_out(members.fold), TokensChanged: then_turned_out(tokens.fold)}
    await bus.consume(STATUS_FACTS, {**folder.facts(), **room.facts(), **lists})
    await bus.consume(STATUS_PROGRESS, folder.transient())
