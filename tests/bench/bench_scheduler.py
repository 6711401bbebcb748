"""How soon a job is on a trainer, and how many lives of jobs a second one scheduler keeps up with, beside a bare broker.

    python -m tests.bench.bench_scheduler [--seconds 20] [--teams 10] [--submissions 200] [--flight 64]

RabbitMQ, the embedded store, the dataset service and the scheduler are processes of their own; this one is all people and all
trainers. Latency is from the beginning of the HTTP request to the arrival of job.assign at a trainer with a free slot. A life
is submit, assign, started, one checkpoint, succeeded, as the scheduler's own facts tell it; steps take no time. The baseline is
the least that such lives need of the broker: facts published in a loop that waits for confirms, divided by the messages that
one life took. CPU is in cores while lives are measured: together they can't be more than the machine has.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import psutil

from shared.contract.events import JobAssign, JobChanged
from shared.contract.jobs import TERMINAL, JobState
from shared.contract.topology import STATUS_FACTS, trainer_queue
from shared.contract.wire import Envelope
from shared.runtime import log
from shared.runtime.bus import RabbitBus
from shared.runtime.clock import SystemClock
from shared.runtime.loop import Loop
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing
from tests.support.broker import Broker, start_broker
from tests.support.fake_trainer import FakeSettings, FakeTrainer
from tests.support.running import Caller, Service, token
from tests.support.status_facts import changed, job
from tests.support.store import Store, start_store
from tests.support.voc import frames, write_zip

RATE = 20.0  # submissions a second where several classes press the button at once
TRAINERS, SLOTS, STEPS = 4, 64, 20
BASELINE_SECONDS = 3.0
_PUBLISHED = re.compile(r'^trainyard_published_total\{outcome="confirmed",type="([^"]+)"\} ([\d.]+)$', re.MULTILINE)
Cell = float | str


class Moments:
    """When something happened to a job, and waiting for it."""

    def __init__(self) -> None:
        self._found: dict[str, asyncio.Future[float]] = {}

    def note(self, job_id: str) -> None:
        """It happened now; the first time counts."""
        if not (future := self._of(job_id)).done():
            future.set_result(time.perf_counter())

    async def of(self, job_id: str) -> float:
        """When it happened, once it has."""
        async with asyncio.timeout(30):
            return await self._of(job_id)

    def _of(self, job_id: str) -> asyncio.Future[float]:
        return self._found.setdefault(job_id, asyncio.get_running_loop().create_future())


class Bench:
    """All that is measured, with its people and trainers."""

    def __init__(self, session: aiohttp.ClientSession, broker: Broker, store: Store, folder: Path) -> None:
        common = {
            "RABBITMQ_URL": broker.url, "MONGO_URL": store.url, "ARTIFACTS_URL": folder.as_uri(),
            "WORK_DIR": str(folder / "work"), "LOG_LEVEL": "warning", "DRAIN_SECONDS": "1",
        }  # fmt: skip
        self.dataset = Service("dataset", folder, common)
        limits = {
            "DATASET_URL": self.dataset.url, "MIN_STEPS": str(STEPS), "TEAM_MINUTES": "100000000",
            "MAX_TEAM_JOBS": "10000", "MAX_QUEUED": "10000",
        }  # fmt: skip
        self.scheduler = Service("scheduler", folder, {**common, **limits})
        self.assigned, self.over = Moments(), Moments()
        self._session, self._broker, self._store, self._folder = session, broker, store, folder
        self._datasets: dict[str, str] = {}
        self._metrics = Metrics()
        self._submitted = 0

    @contextlib.asynccontextmanager
    async def running(self, teams: int) -> AsyncIterator[None]:
        """Everything."""
        async with self.dataset, self.scheduler, contextlib.AsyncExitStack() as stack:
            for number in range(teams):
                await self._add_team(f"team-{number}")
            bus = await self._bus(stack, "status")
            await bus.consume(STATUS_FACTS, {JobChanged: self._told})
            for number in range(TRAINERS):
                await self._add_trainer(f"trainer-{number}", stack)
            yield

    async def submit(self) -> tuple[str, float]:
        """A new job of the next team: its id, and when its request began."""
        team, dataset = list(self._datasets.items())[self._submitted % len(self._datasets)]
        self._submitted += 1
        body = {"dataset_ids": [dataset], "description": "Bench", "steps": STEPS, "max_minutes": 1}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        begun = time.perf_counter()
        caller = Caller(self._session, token(team))
        status, content = await caller("POST", f"{self.scheduler.url}/api/jobs", body, headers=headers)
        assert (status, content["job"]["state"]) == (201, "QUEUED"), content
        return content["job"]["id"], begun

    async def latency(self) -> float:
        """Milliseconds from a request to its job's assignment."""
        job_id, begun = await self.submit()
        return 1000 * (await self.assigned.of(job_id) - begun)

    async def life(self) -> None:
        """One job from submit to success."""
        job_id, _ = await self.submit()
        await self.over.of(job_id)

    async def published(self) -> int:
        """Messages that the broker has taken from the scheduler and the trainers so far."""
        async with self._session.get(f"{self.scheduler.url}/metrics") as response:
            text = await response.text() + self._metrics.exposition().decode()
        return sum(int(float(count)) for _, count in _PUBLISHED.findall(text))

    def processes(self) -> dict[str, psutil.Process]:
        """Who works, by name."""
        pids = {"broker": self._broker.pid, "store": self._store.pid}
        for service in (self.scheduler, self.dataset):
            assert service.process is not None
            pids[service.name] = service.process.pid
        return {"people and trainers": psutil.Process()} | {name: psutil.Process(pid) for name, pid in pids.items()}

    async def _add_team(self, team: str) -> None:
        archive = write_zip(self._folder / f"{team}.zip", frames(10))
        url = f"{self.dataset.url}/api/datasets?name=Field"
        status, content = await Caller(self._session, token(team))("POST", url, data=archive.read_bytes())
        assert status == 201, content
        self._datasets[team] = content["dataset"]["id"]

    async def _add_trainer(self, name: str, stack: contextlib.AsyncExitStack) -> None:
        bus = await self._bus(stack, name)
        settings = FakeSettings.model_validate(
            {"trainer_name": name, "slots": SLOTS, "step_seconds": 0, "burst": STEPS, "exports": False}
        )
        trainer = FakeTrainer(settings, bus, SystemClock(), lambda: None)
        begin = trainer.handlers[JobAssign]

        async def assign(envelope: Envelope) -> None:
            self.assigned.note(envelope.job_id or "")
            await begin(envelope)

        await bus.consume(trainer_queue(trainer.id), {**trainer.handlers, JobAssign: assign})
        duties = (("heartbeat", trainer.heart.beat), ("ping", trainer.ears.round))
        pace = settings.heartbeat_seconds
        beating, pinging = (Loop(name, duty, seconds=pace, metrics=self._metrics) for name, duty in duties)
        trainer.yard.changed = trainer.ears.changed = beating.wake
        for loop in (beating, pinging):
            stack.callback(asyncio.create_task(loop.run()).cancel)

    async def _bus(self, stack: contextlib.AsyncExitStack, name: str) -> RabbitBus:
        bus = RabbitBus(self._broker.url, service=name, metrics=self._metrics, tracing=Tracing(name))
        await bus.connect()
        stack.push_async_callback(bus.close)
        return bus

    async def _told(self, envelope: Envelope) -> None:
        assert isinstance(envelope.body, JobChanged)
        view = envelope.body.job
        if view.state in TERMINAL:
            assert view.state is JobState.SUCCEEDED, view
            self.over.note(view.id)


async def one_at_a_time(bench: Bench, count: int) -> list[float]:
    """Latencies where nobody else wants anything: each job is over before the next is asked for."""
    found = []
    for _ in range(count):
        job_id, begun = await bench.submit()
        found.append(1000 * (await bench.assigned.of(job_id) - begun))
        await bench.over.of(job_id)
    return found


async def at_a_rate(bench: Bench, count: int) -> list[float]:
    """Latencies where requests come at a steady pace, whether or not the ones before were answered."""
    begun, tasks = time.perf_counter(), []
    for number in range(count):
        await asyncio.sleep(begun + number / RATE - time.perf_counter())
        tasks.append(asyncio.create_task(bench.latency()))
    return list(await asyncio.gather(*tasks))


async def repeated(work: Callable[[], Awaitable[object]], seconds: float, side_by_side: int) -> float:
    """How often a second `work` is done, by so many at once."""
    begun, done = time.perf_counter(), 0

    async def one() -> None:
        nonlocal done
        while time.perf_counter() - begun < seconds:
            await work()
            done += 1

    await asyncio.gather(*(one() for _ in range(side_by_side)))
    return done / (time.perf_counter() - begun)


async def bare(broker: Broker, seconds: float, side_by_side: int) -> float:
    """Messages a second that are published and confirmed, facts of the same size into the same kind of queue."""
    bus = RabbitBus(broker.fresh_url(), service="bare", metrics=Metrics(), tracing=Tracing("bare"))
    await bus.connect()
    try:
        return await repeated(lambda: bus.publish(changed(job())), seconds, side_by_side)
    finally:
        await bus.close()


async def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    rows: list[tuple[str, Cell]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker, store = start_broker(folder / "broker"), start_store(folder / "store")
        try:
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                bench = Bench(session, broker, store, folder)
                async with bench.running(args.teams):
                    await repeated(bench.life, 2, 8)  # warm
                    rows += _latencies("one at a time", await one_at_a_time(bench, args.submissions))
                    rows += _latencies(f"at {RATE:.0f}/s", await at_a_rate(bench, args.submissions))
                    rows += await _lives(bench, args)
            lives, messages = (float(cell) for _, cell in rows[-2:])
            singly, together = [await bare(broker, BASELINE_SECONDS, n) for n in (1, args.flight)]
        finally:
            store.stop()
            broker.stop()
    rows += [
        ("bare: messages confirmed/s, one at a time", singly),
        (f"bare: messages confirmed/s, {args.flight} in flight", together),
        ("bare: lives/s at so many messages each", together / messages),
        ("ratio: lives/s to bare", lives / (together / messages)),
    ]
    for label, cell in rows:
        print(f"{label:52} {cell if isinstance(cell, str) else format(cell, '10.2f')}")


def _latencies(how: str, found: list[float]) -> list[tuple[str, Cell]]:
    cuts = statistics.quantiles(found, n=100)
    return [(f"submit to assign, {how}, {len(found)} jobs: p{n}, ms", cuts[n - 1]) for n in (50, 99)]


async def _lives(bench: Bench, args: argparse.Namespace) -> list[tuple[str, Cell]]:
    """CPU, then lives a second and messages a life."""
    before = await bench.published()
    workers = bench.processes()
    cpu = {name: sum(process.cpu_times()[:2]) for name, process in workers.items()}
    begun = time.perf_counter()
    lives = await repeated(bench.life, args.seconds, args.flight)
    passed = time.perf_counter() - begun
    used = {name: (sum(process.cpu_times()[:2]) - cpu[name]) / passed for name, process in workers.items()}
    messages = (await bench.published() - before) / (lives * passed)
    rows: list[tuple[str, Cell]] = [(f"CPU: {name}", cores) for name, cores in used.items()]
    return [*rows, (f"lives/s, {args.flight} in flight, {passed:.0f} s", lives), ("messages a life", messages)]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of lives, one after another")
    parser.add_argument("--teams", type=int, default=10)
    parser.add_argument("--submissions", type=int, default=200, help="each way, for latency")
    parser.add_argument("--flight", type=int, default=64, help="jobs on their way at a time")
    log.configure("bench", "warning", "console")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
