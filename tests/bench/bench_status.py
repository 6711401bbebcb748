"""From a fact on the bus to a browser's websocket: latency and throughput beside a bare broadcast.

    python -m tests.bench.bench_status [--clients 1 100 500] [--seconds 8] [--facts 2000]

Three processes share the machine: the server under test, this one (publisher and all clients), and, for the status service,
RabbitMQ and the embedded store. The baseline is the least that could do: an aiohttp server that hands each body that it is
posted to every websocket at once, with no broker, no store, no order and no second chance. Both send the same event.
Latency is from before the publish (or POST) to the receipt, at a calm rate; throughput is deliveries a second in a burst.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web

from deploy.local.ports import free_ports
from shared.contract.jobs import JobState
from shared.contract.stream import ModelPut
from shared.contract.views import JobView
from shared.runtime.auth import mint
from shared.runtime.bus import RabbitBus
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing
from tests.support.broker import start_broker
from tests.support.status_facts import changed, job
from tests.support.store import start_store

SECRET = "a secret of at least 32 characters"
RATE = 20  # facts a second where latency is measured
JOBS = 200  # facts of one job are handled one after another: a burst comes from many
_SENT = re.compile(rb'"description":"(\d+)"')
Publish = Callable[[int], Awaitable[None]]


class Watchers:
    """Clients that note when each event came; they look for its stamp and parse nothing."""

    def __init__(self, session: aiohttp.ClientSession, url: str, count: int) -> None:
        self._session, self._url, self._count = session, url, count
        self.latencies: list[float] = []
        self.deliveries = 0

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        token = mint(SECRET, team="demo", role="viewer", name="bench", now=datetime.now(UTC), lifetime=None)
        async with contextlib.AsyncExitStack() as stack:
            tasks = []
            for _ in range(self._count):
                socket = await stack.enter_async_context(
                    self._session.ws_connect(
                        self._url, headers={"Authorization": f"Bearer {token}"}, max_msg_size=64 << 20
                    )
                )
                await socket.receive()  # a snapshot, or the baseline's greeting
                tasks.append(asyncio.create_task(self._read(socket)))
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            now = time.perf_counter_ns()
            stamps = _SENT.findall(message.data.encode())
            self.deliveries += len(stamps)
            self.latencies.extend((now - int(stamp)) / 1e6 for stamp in stamps)

    async def all(self, facts: int) -> None:
        while self.deliveries < facts * self._count:
            await asyncio.sleep(0.002)


async def measure(session: aiohttp.ClientSession, url: str, publish: Publish, args: argparse.Namespace) -> list[Row]:
    """A row for each number of clients."""
    rows = []
    for clients in args.clients:
        calm = Watchers(session, url, clients)
        async with calm.connected():
            facts = int(args.seconds * RATE)
            for number in range(facts):
                await publish(number)
                await asyncio.sleep(1 / RATE)
            async with asyncio.timeout(60):
                await calm.all(facts)
        burst = Watchers(session, url, clients)
        async with burst.connected():
            begin = time.perf_counter()
            async with asyncio.timeout(300):
                limit = asyncio.Semaphore(64)

                async def one(number: int, limit: asyncio.Semaphore = limit) -> None:
                    async with limit:
                        await publish(number)

                await asyncio.gather(*map(one, range(args.facts)))
                await burst.all(args.facts)
            seconds = time.perf_counter() - begin
        cuts = statistics.quantiles(calm.latencies, n=100)
        rows.append(Row(clients, cuts[49], cuts[98], args.facts / seconds, args.facts * clients / seconds))
    return rows


class Row(msgspec.Struct, frozen=True):
    """Milliseconds, facts a second, deliveries a second."""

    clients: int
    p50: float
    p99: float
    facts: float
    deliveries: float


@contextlib.asynccontextmanager
async def process(session: aiohttp.ClientSession, port: int, *command: str, **given: str) -> AsyncIterator[None]:
    """A server of its own, ready."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, env={**os.environ, **given}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.1)
        yield
    finally:
        child.terminate()
        await child.wait()


async def status(session: aiohttp.ClientSession, folder: Path, args: argparse.Namespace) -> list[Row]:
    """The service, with its broker and store."""
    broker, store, port = start_broker(folder / "broker"), start_store(folder / "store"), free_ports(1)[0]
    bus = RabbitBus(broker.url, service="bench", metrics=Metrics(), tracing=Tracing("bench"))
    versions = [0] * JOBS
    try:
        await bus.connect()

        async def publish(number: int) -> None:
            which = number % JOBS
            versions[which] += 1
            await bus.publish(changed(stamped(f"m{which}", versions[which])))

        given = {
            "RABBITMQ_URL": broker.url, "MONGO_URL": store.url, "ARTIFACTS_URL": folder.as_uri(), "PORT": str(port),
            "TRAINYARD_SECRET": SECRET, "LOG_LEVEL": "warning",
        }  # fmt: skip
        async with process(session, port, "services.status", **given):
            return await measure(session, f"http://127.0.0.1:{port}/api/ws", publish, args)
    finally:
        await bus.close()
        store.stop()
        broker.stop()


async def baseline(session: aiohttp.ClientSession, args: argparse.Namespace) -> list[Row]:
    """The bare broadcast."""
    port = free_ports(1)[0]

    async def publish(number: int) -> None:
        event = msgspec.json.encode(ModelPut(seq=number, model=stamped(f"m{number % JOBS}", number)))
        async with session.post(f"http://127.0.0.1:{port}/send", data=event):
            pass

    async with process(session, port, "tests.bench.bench_status", "--serve-baseline", str(port)):
        return await measure(session, f"http://127.0.0.1:{port}/ws", publish, args)


def stamped(identifier: str, version: int) -> JobView:
    """A job whose description tells when it was made."""
    return job(identifier, version, JobState.RUNNING, description=str(time.perf_counter_ns()))


def serve_baseline(port: int) -> None:
    """Hand whatever is posted to every websocket."""
    sockets: set[web.WebSocketResponse] = set()

    async def ready(_: web.Request) -> web.Response:
        return web.Response()

    async def watch(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.send_str("{}")
        sockets.add(socket)
        async for _ in socket:
            pass
        sockets.discard(socket)
        return socket

    async def send(request: web.Request) -> web.Response:
        text = (await request.read()).decode()
        for socket in list(sockets):
            with contextlib.suppress(ConnectionError):
                await socket.send_str(text)
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/readyz", ready), web.get("/ws", watch), web.post("/send", send)])
    web.run_app(app, host="127.0.0.1", port=port, print=None)


async def run(args: argparse.Namespace) -> None:
    """Both, one after the other, and the table."""
    connector = aiohttp.TCPConnector(limit=0)
    with tempfile.TemporaryDirectory() as folder:
        async with aiohttp.ClientSession(connector=connector) as session:
            bare = await baseline(session, args)
            ours = await status(session, Path(folder), args)
    print(f"{'':8} {'clients':>7} {'p50 ms':>8} {'p99 ms':>8} {'facts/s':>9} {'deliveries/s':>13}")
    for one, other in zip(bare, ours, strict=True):
        for name, row in (("bare", one), ("status", other)):
            print(f"{name:8} {row.clients:7} {row.p50:8.1f} {row.p99:8.1f} {row.facts:9.0f} {row.deliveries:13.0f}")
        print(
            f"{'ratio':8} {one.clients:7} {other.p50 / one.p50:8.1f} {other.p99 / one.p99:8.1f}"
            f" {other.facts / one.facts:9.2f} {other.deliveries / one.deliveries:13.2f}"
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 100, 500])
    parser.add_argument("--seconds", type=float, default=8, help="of calm, for latency")
    parser.add_argument("--facts", type=int, default=2000, help="in the burst, for throughput")
    parser.add_argument("--serve-baseline", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve_baseline:
        serve_baseline(args.serve_baseline)
    else:
        asyncio.run(run(args))


if __name__ == "__main__":
    main()
