"""The gateway's template in a real nginx: routes, headers, and who is refused."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from deploy.local import gateway, process
from deploy.local.ports import LOOPBACK, free_ports
from deploy.local.stack import answers_ready
from tests.support.fixtures import missing

NAMES = ("dataset", "scheduler", "status")
Runners = dict[str, web.AppRunner]


@dataclass(frozen=True)
class Gateway:
    port: int
    url: str


# What the dataset service says of a picture.
KEPT = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "ETag": '"0123"',
    "X-Content-Type-Options": "nosniff",
}


@pytest.fixture
def first_bytes() -> dict[str, asyncio.Event]:
    """Per service, set when the first byte of a body has arrived."""
    return {name: asyncio.Event() for name in NAMES}


@pytest.fixture
async def runners(first_bytes: dict[str, asyncio.Event]) -> AsyncIterator[Runners]:
    """Three HTTP servers that say which they are and how much they were sent."""
    started: Runners = {}
    for name in NAMES:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", partial(answer, name, first_bytes[name]))
        started[name] = web.AppRunner(app, shutdown_timeout=1)
        await started[name].setup()
        await web.TCPSite(started[name], LOOPBACK, 0).start()
    yield started
    for runner in started.values():
        await runner.cleanup()


async def answer(name: str, first_byte: asyncio.Event, request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade") == "websocket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(await socket.receive_str())
        await socket.close()
        return socket
    size = 0
    async for chunk in request.content.iter_any():
        first_byte.set()
        size += len(chunk)
    headers = {"Host-Seen": request.headers["Host"], "Request-Id-Seen": request.headers["X-Request-Id"]}
    if request.path.endswith(".jpg"):
        headers |= KEPT
    return web.Response(text=f"{name} {request.path_qs} {size}", headers=headers)


@pytest.fixture
async def nginx(runners: Runners, tmp_path: Path) -> AsyncIterator[Gateway]:
    """nginx as `make up` runs it, with a page of a few files."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if shutil.which("nginx", path=path) is None:
        missing("nginx is not installed: apt-get install nginx-light")
    dist = tmp_path / "built page"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<!doctype html><title>page</title>")
    (dist / "theme.js").write_text("let theme;")
    (dist / "assets" / "app-1a2b.js").write_text("let page;" * 500)
    (dist / "assets" / "detector.worker-1a2b.js").write_text("let worker;")
    (dist / "assets" / "litert-1a2b.wasm").write_bytes(b"\0asm" * 500)
    (port,) = free_ports(1)
    run = tmp_path / "run here"
    services = {name: f"http://{LOOPBACK}:{runner.addresses[0][1]}" for name, runner in runners.items()}
    values = gateway.local_values(run=run, web_root=dist, port=port, token="the-token", services=services)
    command = gateway.nginx_command(gateway.write_config(run, values))
    log = tmp_path / "nginx.log"
    child = process.start(command, env={**os.environ, "PATH": path}, cwd=tmp_path, log=log)
    await asyncio.to_thread(process.wait_ready, child, lambda: answers_ready(port, "/healthz"), seconds=10, log=log)
    yield Gateway(port, f"http://localhost:{port}")
    process.end(child, grace=gateway.STOP_SECONDS)
    assert child.returncode == 0


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as session:
        yield session


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/api/datasets", "dataset"),
        ("/api/datasets/x?y=1", "dataset"),
        ("/api/datasetsx", "scheduler"),
        ("/api/models", "status"),
        ("/api/models/x/download?format=float16", "status"),
        ("/api/jobs", "scheduler"),
        ("/api/starting-models?frames=3", "scheduler"),
        ("/api/team", "scheduler"),
    ],
)
async def test_each_path_goes_to_the_service_that_owns_it(
    nginx: Gateway, client: aiohttp.ClientSession, path: str, owner: str
) -> None:
    async with client.get(nginx.url + path) as response:
        assert await response.text() == f"{owner} {path} 0"
        assert response.headers["Host-Seen"] == f"localhost:{nginx.port}"
        assert len(response.headers["Request-Id-Seen"]) == 32


async def test_a_picture_is_kept_as_its_service_says(nginx: Gateway, client: aiohttp.ClientSession) -> None:
    async with client.get(f"{nginx.url}/api/datasets/x/pictures/1.jpg") as response:
        for name, value in KEPT.items():
            assert response.headers.getall(name) == [value]


async def test_the_page_is_never_cached_and_signs_itself_in(nginx: Gateway, client: aiohttp.ClientSession) -> None:
    for path in ("/", "/index.html", "/models/some/deep/link"):
        async with client.get(nginx.url + path) as response:
            assert "<title>page</title>" in await response.text()
            assert response.headers["Set-Cookie"] == "trainyard_token=the-token; Path=/; HttpOnly; SameSite=Strict"
            assert response.headers["Cache-Control"] == "no-store"
            policy = dict(rule.split(" ", 1) for rule in response.headers["Content-Security-Policy"].split("; "))
            # Nothing from elsewhere, nothing inline, no code made of text, in no frame.
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            for kind in ("script-src", "worker-src", "style-src", "font-src", "connect-src", "form-action"):
                assert policy[kind] == "'self'", kind
            assert policy["img-src"] == "'self' data: blob:"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Permissions-Policy"] == "camera=(self), microphone=(), geolocation=()"


async def test_a_script_without_a_hash_is_asked_for_each_time(nginx: Gateway, client: aiohttp.ClientSession) -> None:
    async with client.get(nginx.url + "/theme.js") as response:
        assert (await response.text(), response.headers["Cache-Control"]) == ("let theme;", "no-cache")


async def test_hashed_files_are_cached_for_good_compressed_and_without_the_token(
    nginx: Gateway, client: aiohttp.ClientSession
) -> None:
    headers = {"Accept-Encoding": "gzip"}
    async with client.get(nginx.url + "/assets/app-1a2b.js", headers=headers) as response:
        assert gzip.decompress(await response.read()) == b"let page;" * 500
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert "Set-Cookie" not in response.headers
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    async with client.get(nginx.url + "/assets/gone.js") as response:
        assert response.status == 404
        assert "Cache-Control" not in response.headers


async def test_only_the_worker_that_tries_models_may_run_webassembly(
    nginx: Gateway, client: aiohttp.ClientSession
) -> None:
    async with client.get(nginx.url + "/assets/detector.worker-1a2b.js") as response:
        policy = dict(rule.split(" ", 1) for rule in response.headers["Content-Security-Policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self' 'wasm-unsafe-eval'",
            "connect-src": "'self'",
            "frame-ancestors": "'none'",
        }
    async with client.get(nginx.url + "/assets/app-1a2b.js") as response:
        assert "wasm" not in response.headers["Content-Security-Policy"]
    # Compiled while it comes, which browsers do for this type alone; and compressed.
    async with client.get(nginx.url + "/assets/litert-1a2b.wasm", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Type"] == "application/wasm"
        assert response.headers["Content-Encoding"] == "gzip"


async def test_an_upload_streams_through_without_a_limit_and_before_it_is_complete(
    nginx: Gateway, client: aiohttp.ClientSession, first_bytes: dict[str, asyncio.Event]
) -> None:
    async def upload() -> AsyncIterator[bytes]:
        yield b"x" * 1_000_000
        await asyncio.wait_for(first_bytes["dataset"].wait(), timeout=10)
        yield b"x" * 4_000_000

    async with client.post(nginx.url + "/api/datasets", data=upload()) as response:
        assert await response.text() == "dataset /api/datasets 5000000"


async def test_the_websocket_goes_to_status(nginx: Gateway, client: aiohttp.ClientSession) -> None:
    async with client.ws_connect(nginx.url + "/api/ws", origin=nginx.url) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1"])
async def test_another_host_name_gets_neither_page_nor_token(
    nginx: Gateway, client: aiohttp.ClientSession, host: str
) -> None:
    async with client.get(nginx.url + "/", headers={"Host": host}) as response:
        assert response.status == 421
        assert "Set-Cookie" not in response.headers


async def test_another_host_name_may_ask_for_health_alone(nginx: Gateway, client: aiohttp.ClientSession) -> None:
    for path, status in (("/healthz", 200), ("/healthz/x", 421), ("/api/models", 421)):
        async with client.get(nginx.url + path, headers={"Host": "10.0.0.1:8080"}) as response:
            assert response.status == status, path


async def test_a_service_that_is_away_is_said_in_json_with_a_time_to_retry(
    runners: Runners, nginx: Gateway, client: aiohttp.ClientSession
) -> None:
    await runners["status"].cleanup()
    async with client.get(nginx.url + "/api/models") as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "2"
        assert response.headers["Content-Type"] == "application/json"
        assert (await response.json())["error"]["code"] == "unavailable"
    async with client.get(nginx.url + "/api/jobs") as response:
        assert response.status == 200
