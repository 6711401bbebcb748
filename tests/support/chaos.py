"""A room full of processes that are killed, frozen, drained and brought back, while people submit jobs.

Owns the processes, the people's patience (a request is repeated with the same Idempotency-Key until a scheduler answers it) and
the mischief. What must be true afterwards is the test's.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from shared.runtime.auth import Role
from tests.support.broker import Broker
from tests.support.process import ServiceProcess
from tests.support.running import Caller, Service, token
from tests.support.store import Store
from tests.support.voc import frames, write_zip
from tests.support.waiting import until

LEASE = 3.0
CHECKPOINT_EVERY = 20
STEP_CHARGE = 0.25
# A job of one minute makes so many steps.
STEPS_A_MINUTE = int(60 / STEP_CHARGE)
_PATIENCE = 60.0


class Asked(msgspec.Struct, kw_only=True):
    """What a person asked for, and what came of it."""

    team: str
    key: str
    body: dict[str, Any]
    job_id: str = ""
    # Whether stop was pressed: whatever the answer, it may have been done.
    stopped: bool = False


class Trainer:
    """A fake trainer's place: whoever is started there has a new name."""

    def __init__(self, place: int, folder: Path, environ: Mapping[str, str], seed: int) -> None:
        self.log = folder / f"trainer-{place}.log"
        self._place, self._folder, self._environ, self._seed = place, folder, environ, seed
        self._starts = 0
        self.process: ServiceProcess | None = None

    async def start(self) -> None:
        """Start one."""
        self._starts += 1
        self.name = f"place{self._place}-{self._starts}"
        settings = {
            "TRAINER_NAME": self.name,
            "FAKE_FOLDER": str(self._folder),
            "HEARTBEAT_SECONDS": "0.4",
            "STEP_SECONDS": "0.01",
            "SLOTS": "6",
            "STEP_CHARGE": str(STEP_CHARGE),
            "REPEATS": "0.05",
            "DELAY_SECONDS": "0.02",
            "DRAIN_SECONDS": "5",
            "SEED": str(self._seed + self._starts),
            "LOG_FORMAT": "json",
        }
        environ = {**os.environ, **self._environ, **settings}
        self.process = ServiceProcess("tests.support.fake_trainer", environ, self.log)

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(5)

    async def gone(self) -> None:
        """Once it has ended by itself."""
        assert self.process is not None
        await asyncio.to_thread(self.process.wait, 30)

    def id(self) -> str | None:
        """As it calls itself, once it has begun."""
        found = list((self._folder / "journal").glob(f"{self.name}-*"))
        return found[0].name if found else None


class Room:
    """All of it. `random` decides what happens."""

    def __init__(
        self, folder: Path, broker: Broker, store: Store, session: aiohttp.ClientSession, *, seed: int, trainers: int
    ) -> None:
        self.folder, self.broker, self.store = folder, broker, store
        self.random = random.Random(seed)
        self.happened: Counter[str] = Counter()
        self._session = session
        common = {
            "RABBITMQ_URL": broker.url,
            "MONGO_URL": store.url,
            "ARTIFACTS_URL": f"file://{folder}/artifacts",
            "WORK_DIR": f"{folder}/work",
        }
        self.dataset = Service("dataset", folder, common)
        limits = {
            "DATASET_URL": self.dataset.url,
            "MIN_STEPS": "20",
            "CHECKPOINT_EVERY": str(CHECKPOINT_EVERY),
            "TEAM_MINUTES": "10000",
            "MAX_TEAM_JOBS": "1000",
            "MAX_QUEUED": "1000",
            "MAX_ATTEMPTS": "20",
            "LEASE_SECONDS": str(LEASE),
            "PLAN_SECONDS": "0.2",
            "LEADER_SECONDS": "1.5",
            "AUDIT_SECONDS": "2",
        }
        self.schedulers = [Service("scheduler", folder, {**common, **limits}) for _ in range(2)]
        self.trainers = [Trainer(place, folder, common, seed) for place in range(trainers)]
        self._busy: set[Service | Trainer] = set()
        self._acts: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start everything."""
        (self.folder / "journal").mkdir()
        await asyncio.gather(*(one.start() for one in self._all()))
        self._watch = asyncio.create_task(self._watch_over())

    async def close(self) -> None:
        """End everything."""
        tasks = [*self._acts, *([] if self._watch is None else [self._watch])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in self._all():
            if one.process is not None and one.process.poll() is None:
                one.kill()

    def _all(self) -> list[Service | Trainer]:
        return [self.dataset, *self.schedulers, *self.trainers]

    # --- people ----------------------------------------------------------------------------------------------------------

    async def ask(
        self, team: str, method: str, path: str, body: object = None, *, key: str = "", role: Role = "mentor"
    ) -> tuple[int, Any]:
        """A request to either scheduler, again until one of them answers it."""
        caller = Caller(self._session, token(team, role))
        deadline = time.monotonic() + _PATIENCE
        while True:
            url = self.random.choice(self.schedulers).url
            try:
                status, content = await caller(method, f"{url}/api{path}", body, headers={"Idempotency-Key": key})
                if status < 500:
                    return status, content
            except (aiohttp.ClientError, TimeoutError) as error:
                status, content = 0, repr(error)
            self.happened[f"request again after {status}"] += 1
            assert time.monotonic() < deadline, (method, path, status, content)
            await asyncio.sleep(self.random.uniform(0.05, 0.4))

    async def add_dataset(self, team: str) -> str:
        """A small dataset; its id."""
        archive = write_zip(self.folder / f"{team}.zip", frames(10))
        caller = Caller(self._session, token(team))
        status, content = await caller("POST", f"{self.dataset.url}/api/datasets?name=Field", data=archive.read_bytes())
        assert status == 201, content
        return str(content["dataset"]["id"])

    async def submit(self, asked: Asked) -> None:
        """Ask for a job, now and then twice at once."""
        asks = [self.ask(asked.team, "POST", "/jobs", asked.body, key=asked.key)]
        if self.random.random() < 0.1:
            asks.append(self.ask(asked.team, "POST", "/jobs", asked.body, key=asked.key))
        answers = await asyncio.gather(*asks)
        assert {status for status, _ in answers} == {201}, answers
        ids = {str(content["job"]["id"]) for _, content in answers}
        assert len(ids) == 1, answers
        asked.job_id = ids.pop()

    async def stop(self, asked: Asked) -> None:
        """Press stop, which may come too late."""
        asked.stopped = True
        status, content = await self.ask(asked.team, "POST", f"/jobs/{asked.job_id}/stop")
        assert status in {200, 409}, content

    # --- mischief ----------------------------------------------------------------------------------------------------------

    def one_more(self) -> None:
        """Begin one mischief, with somebody who is well."""
        kind: Callable[[Any], Awaitable[None]] = self.random.choices(
            [self._kill, self._freeze, self._terminate, self._drain], weights=[8, 4, 1, 1]
        )[0]
        among: list[Service | Trainer] = [*self.trainers]
        if kind in {self._kill, self._freeze}:
            among += self.schedulers * 2
        victims = [one for one in among if one not in self._busy]
        if victims:
            self._begin(kind, self.random.choice(victims))

    def hurt_broker(self) -> None:
        """Begin to kill the broker and bring it back."""
        self._acts.add(asyncio.create_task(self._kill_broker()))

    def hurt_store(self) -> None:
        """Begin to kill the store and bring it back."""
        self._acts.add(asyncio.create_task(self._kill_store()))

    def _begin(self, kind: Callable[[Any], Awaitable[None]], victim: Service | Trainer) -> None:
        async def act() -> None:
            try:
                await kind(victim)
            finally:
                self._busy.discard(victim)

        self._busy.add(victim)
        self._note(f"{_kind(victim)} {kind.__name__.strip('_')}", victim.log.stem)
        task = asyncio.create_task(act())
        self._acts.add(task)

    async def _watch_over(self) -> None:
        """Whoever leaves by itself has a successor, as under every supervisor."""
        while True:
            for one in self.trainers:
                if one not in self._busy and one.process is not None and one.process.poll() is not None:
                    self._note("trainer left", one.log.stem)
                    await one.start()
            await asyncio.sleep(0.2)

    async def settled(self) -> None:
        """Once all that was begun is over and everybody is back."""
        await asyncio.gather(*self._acts)

    def _note(self, what: str, whom: str = "") -> None:
        self.happened[what] += 1
        print(f"{datetime.now(UTC):%H:%M:%S.%f}", what, whom)

    async def _kill_broker(self) -> None:
        # On RabbitMQ 3.10 the queue of a trainer that has just come stays without a leader for good: it must notice and leave.
        young = next((one for one in self.trainers if one not in self._busy), None)
        if young is not None:
            self._busy.add(young)
            await self._kill(young)
            await until(young.id)
            await asyncio.sleep(0.3)
            self._busy.discard(young)
        self._note("broker kill")
        await asyncio.to_thread(self.broker.kill)
        await asyncio.to_thread(self.broker.start)

    async def _kill_store(self) -> None:
        self._note("store kill")
        await asyncio.to_thread(self.store.kill)
        await asyncio.sleep(self.random.uniform(0, 2))
        await asyncio.to_thread(self.store.start)

    async def _kill(self, victim: Service | Trainer) -> None:
        victim.kill()
        await asyncio.sleep(self.random.uniform(0, 2))
        try:
            await victim.start()
        except AssertionError:
            # It has waited for the broker or the store for too long, as whoever watches over it would think.
            victim.kill()
            await victim.start()

    async def _terminate(self, victim: Trainer) -> None:
        assert victim.process is not None
        victim.process.send_signal(signal.SIGTERM)
        await victim.gone()
        await victim.start()

    async def _drain(self, victim: Trainer) -> None:
        if (name := victim.id()) is None:
            return
        status, content = await self.ask("ops", "POST", f"/trainers/{name}/drain", role="admin")
        # Not heard of, or not any more.
        assert status in {200, 404, 409}, content
        if status == 200:
            await victim.gone()
            await victim.start()

    async def _freeze(self, victim: Service | Trainer) -> None:
        assert victim.process is not None
        victim.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self.random.uniform(0.3, 2 * LEASE))
        victim.process.send_signal(signal.SIGCONT)


def _kind(victim: Service | Trainer) -> str:
    return victim.name if isinstance(victim, Service) else "trainer"
