"""The dataset service's composition root: everything is built and wired here, and nowhere else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

from aiohttp import web

from services.dataset.browsing import Browsing
from services.dataset.handlers import Datasets
from services.dataset.http import Routes
from services.dataset.imports import Imports
from services.dataset.loops import Cleaner
from services.dataset.picture_http import PictureRoutes
from services.dataset.settings import DatasetSettings
from services.dataset.store import DatasetStore
from services.dataset.tus import TusRoutes
from services.dataset.uploads import Uploads
from services.dataset.workspace import Workspace
from shared.contract.events import MembersChanged, TokensChanged
from shared.contract.topology import DATASET_FACTS
from shared.runtime import log
from shared.runtime.artifacts import Artifacts
from shared.runtime.members import ASK_SECONDS, MemberLists
from shared.runtime.outbox import Relay
from shared.runtime.roles import Roles
from shared.runtime.service import Runtime
from shared.runtime.tokens import TokenLists, TokenUses, over

NAME = "dataset"
_UPLOADS = "uploads"  # below the folder for imports; unlike that of a process it outlives it
_LONGEST_PAUSE = 15.0  # seconds between two rounds of cleaning
_CATCH_UP_PAUSE = 600.0  # seconds; there is something to index after an update alone


async def compose(runtime: Runtime[DatasetSettings], app: web.Application) -> None:
    """Build the service on `runtime` and add its routes to `app`."""
    settings, clock, logger = runtime.settings, runtime.clock, log.get("dataset")

    workspace = await asyncio.to_thread(Workspace, settings.import_dir)
    runtime.stack.push_async_callback(asyncio.to_thread, workspace.close)
    artifacts = await asyncio.to_thread(Artifacts, settings.artifacts_url)

    async def writable() -> None:
        await asyncio.to_thread(artifacts.check)

    runtime.check("artifacts", writable)
    database = (await runtime.store()).database(NAME)
    uploads = await asyncio.to_thread(
        partial(
            Uploads,
            settings.import_dir / _UPLOADS,
            lifetime=timedelta(seconds=settings.upload_lifetime_seconds),
            max_bytes=settings.max_upload_bytes,
            per_team=settings.max_team_uploads,
        )
    )
    store = DatasetStore(database, runtime.envelope)
    await store.prepare()
    bus = await runtime.bus()
    members, tokens = MemberLists(database, bus, runtime.envelope), TokenLists(database)
    uses = TokenUses(clock, over(bus, runtime.envelope))

    relay = Relay(store.collection, bus, runtime.metrics, runtime.clock)

    async def publish() -> None:
        if await relay.relay_once():
            cleaning.wake()  # the files of a deleted dataset go once its end has been told

    relaying = runtime.duty("outbox", publish, seconds=1)
    cleaner = Cleaner(store, artifacts, clock, timedelta(seconds=settings.silence_seconds))
    cleaning = runtime.duty("clean", cleaner.round, seconds=min(_LONGEST_PAUSE, settings.silence_seconds / 2))
    imports = Imports(
        settings=settings,
        store=store,
        artifacts=artifacts,
        workspace=workspace,
        clock=clock,
        changed=relaying.wake,
        remove=cleaner.remove,
    )
    runtime.on_drain(imports.stop)

    async def expire() -> None:
        for upload in await asyncio.to_thread(uploads.clean, clock.now()):
            logger.info("upload.expired", upload=upload)

    runtime.duty("uploads", expire, seconds=min(_LONGEST_PAUSE, settings.upload_lifetime_seconds / 2))
    browsing = Browsing(store, artifacts, workspace)
    runtime.on_drain(browsing.stop)
    runtime.duty("index", browsing.catch_up, seconds=_CATCH_UP_PAUSE)
    routes = Routes(
        store=store,
        datasets=Datasets(store, clock, relaying.wake),
        imports=imports,
        uploads=uploads,
        clock=clock,
        silence_seconds=settings.silence_seconds,
    )
    app.middlewares.append(Roles(members.standing, tokens.of, uses.note).middleware)
    tus = TusRoutes(uploads, settings.silence_seconds)
    runtime.on_drain(tus.stop)
    tus.register(app)
    app.add_routes([*routes.table(), *PictureRoutes(store, browsing).table()])

    runtime.duty("members", members.ask, seconds=ASK_SECONDS)
    uses.wake = runtime.duty("token-uses", uses.round, seconds=60).wake
    await bus.consume(DATASET_FACTS, {MembersChanged: members.fold, TokensChanged: tokens.fold})
