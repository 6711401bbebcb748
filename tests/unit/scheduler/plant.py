"""The scheduler as processes that can be killed, on a store, a broker and a dataset service in memory and on virtual time.

Real is the scheduler from its composition root up to its HTTP routes; fake is what stands around it. Of a process that dies
nothing runs on, whatever its code would do about a failure: its locks, its board and its half-done work are gone.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal, TypeVar, cast
from unittest import mock

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pymongo.errors import AutoReconnect

from services.scheduler import app as scheduler
from services.scheduler import cleaner, teams
from services.scheduler.settings import SchedulerSettings
from shared.contract.api.claims import ClaimingJob
from shared.contract.errors import UserError
from shared.contract.topology import SCHEDULER_FACTS, Queue
from shared.contract.views import DatasetView
from shared.contract.wire import Envelope
from shared.runtime import auth
from shared.runtime.auth import Role
from shared.runtime.bus import Handlers, RabbitBus
from shared.runtime.clock import Clock
from shared.runtime.mongo import OUTAGES, Database, Store
from shared.runtime.service import Runtime
from shared.runtime.web import application
from tests.support.memory_bus import MemoryBroker, MemoryBus
from tests.support.memory_store import WRITES, MemoryStore, Moment
from tests.support.virtual_time import VirtualTimeLoop
from tests.unit.scheduler.datasets import Claims, Datasets, a_dataset

GRACE = 20
EPOCH = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SECRET = "a secret of at least thirty-two characters"
T = TypeVar("T")


class LoopClock:
    """The event loop's virtual time."""

    def now(self) -> datetime:
        return EPOCH + timedelta(milliseconds=int(self.monotonic() * 1000))

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class InlineExecutor(ThreadPoolExecutor):
    """Runs what is for a thread at once: on virtual time nobody waits for one."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it is the future's
            done.set_exception(error)
        return done


@dataclass
class Fuse:
    """What befalls a process at its so many-th write from now on, before or after the write took effect."""

    left: int
    moment: Moment
    what: Literal["crash", "error"]


class Process:
    """One scheduler. `cut` keeps it from the store."""

    def __init__(self, plant: Plant, name: str) -> None:
        self.plant, self.name = plant, name
        self.runtime = _Runtime(self)
        self.cut = False
        self.dead = False
        self.fuse: Fuse | None = None
        self._requests: set[asyncio.Task[web.StreamResponse]] = set()
        self._app = application(
            secret=SECRET,
            metrics=self.runtime.metrics,
            tracing=self.runtime.tracing,
            problems=self.runtime.problems,
            outages=OUTAGES,
        )
        self._starting = asyncio.create_task(self._start())

    @property
    def ready(self) -> bool:
        """Whether it answers requests."""
        return self._starting.done() and not self.dead

    async def ask(
        self, method: str, path: str, token: str, body: object = None, key: str | None = None
    ) -> tuple[int, Any]:
        """An HTTP request; (status, answer), status 0 where it died over it."""
        if not self.ready:
            return 0, None
        headers = {"Authorization": f"Bearer {token}"} | ({} if key is None else {"Idempotency-Key": key})
        request = make_mocked_request(method, path, headers=headers, app=self._app)
        request._read_bytes = json.dumps({} if body is None else body).encode()
        task = asyncio.create_task(self._app._handle(request))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        await asyncio.wait([task])
        if task.cancelled():
            return 0, None
        response = task.result()
        assert isinstance(response, web.Response)
        content = response.body
        return response.status, json.loads(content) if isinstance(content, bytes) and content else None

    async def leave(self) -> None:
        """End in good order."""
        await self.runtime.drain()
        await self.runtime.stack.aclose()
        self.dead = True

    async def kill(self) -> None:
        """`kill -9`."""
        self.die()

    def die(self) -> None:
        """`kill -9`, by itself."""
        if not self.dead:
            self.dead = True
            asyncio.get_running_loop().call_soon(self._bury)

    async def breathe(self) -> None:
        """A moment in which others run. Never returns in a process that is dead."""
        await asyncio.sleep(0)
        if self.dead:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError
            await asyncio.get_running_loop().create_future()

    async def hook(self, moment: Moment, operation: str, collection: str) -> None:
        """Around each operation on the store: see Hook."""
        if moment == "before":
            await asyncio.sleep(self.plant.latency())
            await self.breathe()
            if self.cut:
                raise AutoReconnect("the store can't be reached")
        elif collection == "jobs":
            self.plant.wrote()
        fuse = self.fuse
        if fuse is not None and operation in WRITES and moment == fuse.moment:
            fuse.left -= 1
            if fuse.left <= 0:
                self.fuse = None
                if fuse.what == "crash":
                    self.die()
                    await self.breathe()
                raise AutoReconnect("the connection was lost")

    async def _start(self) -> None:
        await scheduler.compose(self.runtime, self._app)
        self._app.freeze()

    def _bury(self) -> None:
        for task in (self._starting, *self.runtime._tasks, *self._requests):
            task.cancel()
        self.plant.later(self.runtime.stack.aclose())


class _Runtime(Runtime[SchedulerSettings]):
    """The real one, but for what it connects to."""

    def __init__(self, process: Process) -> None:
        super().__init__(scheduler.NAME, process.plant.settings, clock=_ClockOf(process))
        self._process = process

    async def bus(self, *, heartbeat_seconds: int = 0) -> RabbitBus:
        bus = _Bus(self._process)
        self.stack.push_async_callback(bus.close)

        async def stop_consuming() -> None:
            await bus.stop_consuming(self.settings.drain_seconds)

        self.on_drain(stop_consuming)
        return cast(RabbitBus, bus)

    async def store(self) -> Store:
        return cast(Store, _StoreOf(self._process))


class _ClockOf(LoopClock):
    """Tells the fake dataset service whose client it makes."""

    def __init__(self, process: Process) -> None:
        self.process = process


class _StoreOf:
    def __init__(self, process: Process) -> None:
        self._process = process

    def database(self, _: str) -> Database:
        return self._process.plant.store.database(self._process.hook)


class _Bus(MemoryBus):
    """A dead process says nothing."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.plant.broker, service=process.name, metrics=process.runtime.metrics, outages=OUTAGES)
        self._process = process

    async def publish(self, envelope: Envelope) -> None:
        await self._process.breathe()
        await super().publish(envelope)

    async def command(self, queue: str, envelope: Envelope) -> None:
        await self._process.breathe()
        await super().command(queue, envelope)

    async def consume(self, queue: Queue, handlers: Handlers) -> None:
        await self._process.breathe()
        await super().consume(queue, handlers)


class DatasetClient:
    """DatasetService's methods, on `Datasets`."""

    def __init__(self, _: object, __: str, ___: str, clock: Clock) -> None:
        assert isinstance(clock, _ClockOf)
        self._process, self._clock = clock.process, clock
        self._there = clock.process.plant.datasets

    async def claim(self, team: str, job_id: str, description: str, dataset_ids: Sequence[str]) -> list[DatasetView]:
        found = await self.look(team, dataset_ids)
        self._there.claims[job_id] = Claims(team, set(dataset_ids), self._clock.now())
        await self._process.breathe()
        return found

    async def release(self, team: str, job_id: str) -> None:
        await self._reach()
        claims = self._there.claims.get(job_id)
        if claims is not None and claims.team == team:
            del self._there.claims[job_id]
        await self._process.breathe()

    async def look(self, team: str, dataset_ids: Sequence[str]) -> list[DatasetView]:
        await self._reach()
        return [self._there.views[dataset_id] for dataset_id in dataset_ids]

    async def old_claims(self, older_than_seconds: int) -> list[ClaimingJob]:
        await self._reach()
        before = self._clock.now() - timedelta(seconds=older_than_seconds)
        return [
            ClaimingJob(job_id=job_id, team=claims.team, since=claims.at)
            for job_id, claims in self._there.claims.items()
            if claims.at < before
        ]

    async def _reach(self) -> None:
        await self._process.breathe()
        if not self._there.up:
            raise UserError("datasets_unreachable", "The dataset service can't be reached just now.", status=503)


class Plant:
    """All of it. Make it and use it inside the event loop, under `patched`."""

    def __init__(self, settings: SchedulerSettings, seed: int = 0) -> None:
        self.settings = settings
        self._random = random.Random(seed)
        self.store = MemoryStore()
        self.broker = MemoryBroker()
        self.datasets = Datasets({name: a_dataset(name, EPOCH) for name in ("data-1", "data-2", "data-3")})
        self.clock = LoopClock()
        self.processes: dict[str, Process] = {}
        # Called right after each write of a job, before anybody else can act on it.
        self.wrote: Callable[[], None] = lambda: None
        self._births = itertools.count(1)
        self._later: set[asyncio.Task[Any]] = set()

    def start(self, place: str) -> Process:
        """A new scheduler process."""
        process = self.processes[place] = Process(self, f"{place}-{next(self._births)}")
        return process

    def living(self) -> list[Process]:
        """The processes that answer."""
        return [process for process in self.processes.values() if process.ready]

    def is_well(self) -> bool:
        """Whether nothing is broken just now."""
        sound = all(process.fuse is None and not process.cut for process in self.living())
        return bool(self.living()) and sound and self.broker.is_up and self.datasets.up

    def at_rest(self) -> bool:
        """Whether no message waits or is handled, and nothing is left to be told."""
        places = [place for name, place in self.broker._places.items() if name == SCHEDULER_FACTS.name]
        places += [
            place for name, place in self.broker._places.items() if name.startswith("trainer.") and place.consumers
        ]
        busy = any(place.ready or any(one.tasks for one in place.consumers) for place in places)
        return not busy and not any(job.get("outbox") for job in self.store.collections["jobs"].values())

    def dead_letters(self) -> list[str]:
        """What was given up, and why."""
        names = [name for name in self.broker._places if name.endswith(".dead")]
        return [f"{one.kind}: {one.headers.get('x-reason')}" for name in names for one in self.broker.waiting(name)]

    def latency(self) -> float:
        """How long the store takes for its next answer, so that others come in between."""
        return self._random.choice((0.0, 0.0, 0.001, 0.004, 0.02))

    def again(self) -> float | None:
        """After how long a message is delivered once more, None for most."""
        return self._random.uniform(0, 25) if self._random.random() < 0.3 else None

    def later(self, work: Coroutine[Any, Any, object]) -> None:
        """Do this in the background."""
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def token(self, team: str, role: Role, name: str) -> str:
        """A person's token, or an operator's."""
        return auth.mint(SECRET, team=team, role=role, name=name, now=datetime.now(UTC), lifetime=None)


async def nothing_left() -> None:
    """End whatever runs in this event loop, however often it has to be told."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for _ in range(3):
        for task in others:
            task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*others, return_exceptions=True)


def a_loop() -> VirtualTimeLoop:
    """An event loop on virtual time, without threads."""
    loop = VirtualTimeLoop()
    loop.set_default_executor(InlineExecutor())
    return loop


@contextmanager
def patched() -> Iterator[None]:
    """The composition root with the dataset service's fake client and without an HTTP client."""

    class NoSession:
        def __init__(self, **_: object) -> None: ...
        async def __aenter__(self) -> NoSession:
            return self

        async def __aexit__(self, *_: object) -> None: ...

    without = SimpleNamespace(ClientSession=NoSession, ClientTimeout=lambda **_: None)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(scheduler, "DatasetService", DatasetClient))
        stack.enter_context(mock.patch.object(scheduler, "aiohttp", without))
        # What a submitter that died has left is let go sooner than in minutes.
        stack.enter_context(mock.patch.object(cleaner, "_CLAIM_GRACE_SECONDS", GRACE))
        stack.enter_context(mock.patch.object(teams, "_PENDING_LIFETIME", timedelta(seconds=GRACE)))
        yield


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A scene from its beginning to its end, in virtual time; nothing of it may be left."""
    loop = a_loop()
    try:
        loop.run_until_complete(scene())
    finally:
        loop.run_until_complete(nothing_left())
        loop.close()
