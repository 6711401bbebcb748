"""The life of a service: set up, serve, drain, close, the same for all of them.

A service gives `run` a `compose` function, its one composition root, which builds everything on the `Runtime` that it gets and
adds its routes to the web application. A broker or a store that comes up later is waited for, not died of; the port opens once
all is composed. SIGTERM or SIGINT begins the drain: not ready, `on_drain` callbacks, background duties cancelled, everything
closed in reverse order.
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Generic, TypeVar

from aiohttp import web

from shared.contract.events import Message
from shared.contract.wire import Envelope
from shared.runtime import log
from shared.runtime.bus import HEARTBEAT_SECONDS, RabbitBus
from shared.runtime.clock import Clock, SystemClock
from shared.runtime.loop import Loop
from shared.runtime.metrics import Metrics
from shared.runtime.mongo import OUTAGES, Store
from shared.runtime.settings import CommonSettings, ServiceSettings, load
from shared.runtime.trace import Tracing, current_traceparent, trace_id
from shared.runtime.web import application

S = TypeVar("S", bound=ServiceSettings)
WithStore = TypeVar("WithStore", bound=CommonSettings)
Check = Callable[[], Awaitable[None]]


class Runtime(Generic[S]):
    """What a composition root builds on: settings, clock, metrics, bus, and the places to register duties and endings."""

    def __init__(self, name: str, settings: S, *, clock: Clock) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics()
        self.tracing = Tracing(name)
        self.log = log.get(name)
        self.stack = AsyncExitStack()
        self.stopping = asyncio.Event()
        self.failed: BaseException | None = None
        self._checks: dict[str, Check] = {}
        self._drains: list[Callable[[], Awaitable[None]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def bus(self, *, heartbeat_seconds: int = HEARTBEAT_SECONDS) -> RabbitBus:
        """A connected bus, closed at the end; part of readiness. Waits for the broker as long as it takes."""
        bus = RabbitBus(
            self.settings.rabbitmq_url,
            service=self.name,
            metrics=self.metrics,
            tracing=self.tracing,
            outages=OUTAGES,
            heartbeat_seconds=heartbeat_seconds,
        )

        async def check() -> None:
            if not bus.connected:
                raise ConnectionError("the broker can't be reached")

        self.check("broker", check)
        await bus.connect()
        self.stack.push_async_callback(bus.close)

        async def stop_consuming() -> None:
            await bus.stop_consuming(self.settings.drain_seconds)

        self.on_drain(stop_consuming)
        return bus

    async def store(self: Runtime[WithStore]) -> Store:
        """The store, closed at the end; part of readiness. Waits until it answers."""
        store = Store(self.settings.mongo_url, self.settings.mongo_prefix)
        self.check("store", store.ping)
        self.stack.callback(store.close)
        while True:
            try:
                await store.ping()
            except OUTAGES as error:
                self.log.info("store.waiting", error=str(error)[:200])
                await asyncio.sleep(0.5)
            else:
                return store

    def envelope(self, body: Message, team: str, *, job_id: str | None = None, attempt: int | None = None) -> Envelope:
        """A message of this service's, now, as part of the trace under way."""
        return Envelope(
            id=uuid.uuid4().hex,
            time=self.clock.now(),
            source=self.name,
            team=team,
            body=body,
            job_id=job_id,
            attempt=attempt,
            correlation_id=trace_id(),
            traceparent=current_traceparent(),
        )

    def check(self, part: str, check: Check) -> None:
        """Make a part count for readiness: `check` raises where the part isn't well."""
        self._checks[part] = check

    def on_drain(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call this when the service is told to stop, before duties are cancelled; last registered first."""
        self._drains.append(callback)

    def background(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Run `work` until the end; if it ends by an exception, the service stops with it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    def duty(self, name: str, duty: Callable[[], Awaitable[object]], *, seconds: float, **options: float) -> Loop:
        """Run `duty` every `seconds` in the background; the Loop that comes back can be woken. `options` are the Loop's."""
        loop = Loop(name, duty, seconds=seconds, metrics=self.metrics, **options)
        self.background(name, loop.run())
        return loop

    async def problems(self) -> Mapping[str, str]:
        """What keeps the service from being ready, by part."""
        if self.stopping.is_set():
            return {"service": "stopping"}
        found: dict[str, str] = {}
        for part, check in self._checks.items():
            try:
                async with asyncio.timeout(3):
                    await check()
            except Exception as error:  # noqa: BLE001 - whatever a check raises is the problem that it reports
                found[part] = str(error)[:200] or repr(error)
        return found

    async def drain(self) -> None:
        """Run the drain callbacks, each on its own, then cancel the background work."""
        for callback in reversed(self._drains):
            try:
                await callback()
            except Exception:  # one part's failure must not keep the others from draining
                self.log.exception("drain.failed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.error("background.died", task=task.get_name(), exc_info=error)
            self.failed = error
            self.stopping.set()


Compose = Callable[[Runtime[S], web.Application], Coroutine[None, None, None]]


def run(name: str, kind: type[S], compose: Compose[S]) -> int:
    """Run a service until it is told to stop; returns the exit status (0 in good order, 1 after a failure)."""
    settings = load(kind)
    log.configure(name, settings.log_level, settings.log_format)
    return asyncio.run(serve(name, settings, compose))


async def serve(name: str, settings: S, compose: Compose[S], *, clock: Clock | None = None) -> int:
    """What `run` does, inside a running event loop."""
    runtime = Runtime(name, settings, clock=clock or SystemClock())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runtime.stopping.set)
    common = settings if isinstance(settings, CommonSettings) else None
    app = application(
        secret=common.trainyard_secret if common else None,
        metrics=runtime.metrics,
        tracing=runtime.tracing,
        problems=runtime.problems,
        allowed_origins=common.allowed_origins if common else "",
        outages=OUTAGES,
    )
    async with runtime.stack:
        building = asyncio.create_task(compose(runtime, app))
        stopping = asyncio.create_task(runtime.stopping.wait())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=settings.drain_seconds)
        try:
            await asyncio.wait({building, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if building.done():
                await building
                await runner.setup()
                site = web.TCPSite(runner, settings.host, settings.port)
                await site.start()
                runtime.log.info("service.ready", url=site.name, port=runner.addresses[0][1])
                await stopping
        except Exception as error:  # the composition or the port failed: say why, and end in good order
            runtime.failed = error
            runtime.log.exception("service.failed_to_start")
        runtime.stopping.set()
        for task in (building, stopping):
            task.cancel()
        await asyncio.gather(building, stopping, return_exceptions=True)
        runtime.log.info("service.stopping")
        await runtime.drain()
        await runner.cleanup()
    return 0 if runtime.failed is None else 1
