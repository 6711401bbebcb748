"""The life of a service, in one process: it starts, serves, drains and ends, or says why not.

The broker and the store have their own tests (integration); what is composed here stands on neither.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp
import pytest
from aiohttp import web
from pymongo.errors import ServerSelectionTimeoutError
from structlog.testing import capture_logs

from shared.runtime import log, service
from shared.runtime.clock import SystemClock
from shared.runtime.mongo import Store
from shared.runtime.service import Runtime, serve
from shared.runtime.settings import CommonSettings
from tests.support.worlds import counted

SETTINGS = CommonSettings.model_validate(
    {"port": 0, "trainyard_secret": "a-secret-of-more-than-32-characters", "drain_seconds": 1}
)
Started = Runtime[CommonSettings]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def get(port: int, path: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.json()


async def when_ready(port: int, then: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            status, _ = await get(port, "/readyz")
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.01)
        else:
            assert status == 200
            return await then()


def told(logged: Sequence[Mapping[str, object]]) -> list[object]:
    return [entry["event"] for entry in logged]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_in_order_and_ends_well(number: signal.Signals) -> None:
    seen: list[str] = []
    port = free_port()

    async def compose(runtime: Started, app: web.Application) -> None:
        async def opened(name: str) -> None:
            seen.append(f"close {name}")

        def draining(name: str) -> Callable[[], Awaitable[None]]:
            async def drain() -> None:
                status, content = await get(port, "/readyz")
                assert (status, content["problems"]) == (503, {"service": "stopping"})
                seen.append(f"drain {name}")

            return drain

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("work cancelled")

        async def cleaned(_: web.Application) -> None:
            seen.append("port closed")

        for name in ("first", "second"):
            runtime.stack.push_async_callback(opened, name)
            runtime.on_drain(draining(name))
        runtime.background("work", work())
        app.on_cleanup.append(cleaned)

    async def stop() -> None:
        os.kill(os.getpid(), number)

    with capture_logs() as logged:
        status, _ = await asyncio.gather(serve("test", settings(port), compose), when_ready(port, stop))
    assert status == 0
    assert seen == ["drain second", "drain first", "work cancelled", "port closed", "close second", "close first"]
    assert [e for e in told(logged) if str(e).startswith("service")] == ["service.ready", "service.stopping"]


def settings(port: int) -> CommonSettings:
    return SETTINGS.model_copy(update={"port": port})


async def test_a_composition_that_fails_ends_the_service_and_closes_what_was_opened() -> None:
    closed: list[str] = []

    async def compose(runtime: Started, _: web.Application) -> None:
        runtime.stack.callback(closed.append, "store")
        raise ValueError("no such starting model")

    with capture_logs() as logged:
        assert await serve("test", SETTINGS, compose) == 1
    assert closed == ["store"]
    assert told(logged) == ["service.failed_to_start", "service.stopping"]


async def test_a_port_that_is_taken_ends_the_service() -> None:
    async def compose(_: Started, __: web.Application) -> None: ...

    with socket.socket() as taken, capture_logs() as logged:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert await serve("test", settings(taken.getsockname()[1]), compose) == 1
    assert told(logged) == ["service.failed_to_start", "service.stopping"]


async def test_a_signal_during_composition_is_obeyed() -> None:
    seen: list[str] = []

    async def compose(runtime: Started, _: web.Application) -> None:
        runtime.stack.callback(seen.append, "closed")
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()  # a broker that never comes up
        finally:
            seen.append("cancelled")

    assert await serve("test", SETTINGS, compose) == 0
    assert seen == ["cancelled", "closed"]


async def test_background_work_that_dies_takes_the_service_with_it() -> None:
    async def compose(runtime: Started, _: web.Application) -> None:
        async def die() -> None:
            raise ZeroDivisionError("a bug")

        runtime.background("hub", die())

    with capture_logs() as logged:
        assert await serve("test", SETTINGS, compose) == 1
    (entry,) = [entry for entry in logged if entry["event"] == "background.died"]
    assert entry["task"] == "hub"


async def test_background_work_that_ends_does_not_end_the_service() -> None:
    async def compose(runtime: Started, _: web.Application) -> None:
        async def done() -> None: ...

        async def stop() -> None:
            await asyncio.sleep(0)
            runtime.stopping.set()

        runtime.background("once", done())
        runtime.background("stop", stop())

    assert await serve("test", SETTINGS, compose) == 0


async def test_a_part_that_fails_to_drain_does_not_keep_the_others() -> None:
    drained: list[str] = []

    async def compose(runtime: Started, _: web.Application) -> None:
        async def first() -> None:
            drained.append("first")

        async def broken() -> None:
            raise ZeroDivisionError("a bug")

        runtime.on_drain(first)
        runtime.on_drain(broken)
        runtime.stopping.set()

    with capture_logs() as logged:
        assert await serve("test", SETTINGS, compose) == 0
    assert drained == ["first"]
    assert "drain.failed" in told(logged)


async def test_a_duty_that_fails_is_counted_and_the_service_goes_on() -> None:
    rounds: list[int] = []
    runtimes: list[Started] = []

    async def compose(runtime: Started, _: web.Application) -> None:
        async def duty() -> None:
            rounds.append(1)
            if len(rounds) == 1:
                raise ZeroDivisionError("a bug")
            runtime.stopping.set()

        runtimes.append(runtime)
        runtime.duty("sweep", duty, seconds=0.001).wake()

    assert await serve("test", SETTINGS, compose) == 0
    assert len(rounds) == 2
    assert counted(runtimes[0].metrics, "trainyard_loop_failures_total", loop="sweep") == 1


async def test_readiness_names_each_part_that_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime("test", SETTINGS, clock=SystemClock())

    async def well() -> None: ...

    async def silent() -> None:
        raise ConnectionError

    async def told_why() -> None:
        raise OSError("the disk is full" + "!" * 500)

    async def hangs() -> None:
        await asyncio.Event().wait()

    real = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda seconds: real(seconds / 300))
    for check in (well, silent, told_why, hangs):
        runtime.check(check.__name__, check)
    found = await runtime.problems()
    assert found["silent"] == "ConnectionError()"
    assert found["told_why"].startswith("the disk is full!")
    assert len(found["told_why"]) == 200
    assert found["hangs"] == "TimeoutError()"
    assert "well" not in found
    runtime.stopping.set()
    assert await runtime.problems() == {"service": "stopping"}


async def test_a_store_that_comes_up_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    down = [ServerSelectionTimeoutError("nobody there"), ServerSelectionTimeoutError("nobody there")]
    pauses: list[float] = []

    async def ping(_: Store) -> None:
        if down:
            raise down.pop()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(Store, "ping", ping)
    monkeypatch.setattr(asyncio, "sleep", pause)
    runtime = Runtime("test", SETTINGS, clock=SystemClock())
    async with runtime.stack:
        with capture_logs() as logged:
            await runtime.store()
        assert await runtime.problems() == {}
    assert told(logged) == ["store.waiting", "store.waiting"]
    assert pauses == [0.5, 0.5]


def test_run_reads_the_settings_and_gives_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    configured: list[tuple[str, str, str]] = []
    monkeypatch.setenv("TRAINYARD_SECRET", "a-secret-of-more-than-32-characters")
    monkeypatch.setenv("LOG_LEVEL", "warning")
    monkeypatch.setattr(log, "configure", lambda *arguments: configured.append(arguments))

    async def compose(runtime: Started, _: web.Application) -> None:
        runtime.stopping.set()

    assert service.run("test", CommonSettings, compose) == 0
    assert configured == [("test", "warning", "auto")]
