"""The dataset service's composition root: everything is built and wired here, and nowhere else."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from aiohttp import web

from services.dataset.handlers import Datasets
from services.dataset.http import Routes
from services.dataset.imports import Imports
from services.dataset.loops import Cleaner
from services.dataset.settings import DatasetSettings
from services.dataset.store import DatasetStore
from services.dataset.workspace import Workspace
from shared.contract.events import MembersChanged
from shared.contract.topology import DATASET_FACTS
from shared.runtime.artifacts import Artifacts
from shared.runtime.members import ASK_SECONDS, MemberLists
from shared.runtime.outbox import Relay
from shared.runtime.roles import Roles
from shared.runtime.service import Runtime

NAME = "dataset"
_LONGEST_PAUSE = 15.0  # seconds between two rounds of cleaning


async def compose(runtime: Runtime[DatasetSettings], app: web.Application) -> None:
    """Build the service on `runtime` and add its routes to `app`."""
    settings, clock = runtime.settings, runtime.clock

    workspace = await asyncio.to_thread(Workspace, settings.import_dir)
    runtime.stack.push_async_callback(asyncio.to_thread, workspace.close)
    artifacts = await asyncio.to_thread(Artifacts, settings.artifacts_url)

    async def writable() -> None:
        await asyncio.to_thread(artifacts.check)

    runtime.check("artifacts", writable)
    database = (await runtime.store()).database(NAME)
    store = DatasetStore(database, runtime.envelope)
    await store.prepare()
    bus = await runtime.bus()
    members = MemberLists(database, bus, runtime.envelope)

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
    routes = Routes(
        store=store,
        datasets=Datasets(store, clock, relaying.wake),
        imports=imports,
        clock=clock,
        silence_seconds=settings.silence_seconds,
    )
    app.middlewares.append(Roles(members.standing).middleware)
    app.add_routes(routes.table())

    runtime.duty("members", members.ask, seconds=ASK_SECONDS)
    await bus.consume(DATASET_FACTS, {MembersChanged: members.fold})
