"""The scheduler as a process, with the real dataset service, broker and store, and trainers that a test puppeteers.

A scripted trainer speaks the real bus and makes no step: it says what a trainer would say, when the test wants.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from shared.contract import topology
from shared.contract.events import (
    AnnouncementsChanged,
    HeldJob,
    JobAssign,
    JobChanged,
    JobStop,
    Message,
    QueueMoved,
    RoomMoved,
    TeamChanged,
    TrainerDrain,
    TrainerHeartbeat,
    TrainingCheckpointed,
    TrainingEnded,
    TrainingStarted,
    TrainingStopping,
)
from shared.contract.topology import Queue
from shared.contract.views import Reason
from shared.contract.wire import Envelope
from shared.runtime.auth import Role
from shared.runtime.bus import Handlers, RabbitBus
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing
from tests.support.running import Caller, Service, token
from tests.support.voc import frames, write_zip
from tests.support.waiting import until

LEASE = 2.0
METRIC = "DetectionBoxes_Precision/mAP"


class Platform:
    """Dataset and scheduler running, a bus to listen on, and a client; `call` speaks for the team as a mentor."""

    def __init__(
        self, environ: dict[str, str], folder: Path, bus: RabbitBus, session: aiohttp.ClientSession, team: str
    ) -> None:
        self.environ, self.folder, self.bus, self.session, self.team = environ, folder, bus, session, team
        self.call = self.caller()
        self.dataset = Service("dataset", folder, environ)
        self.scheduler = self.another_scheduler()
        self.facts: list[Envelope] = []
        self.zips = 0

    def another_scheduler(self) -> Service:
        """A scheduler on the same broker and store, not started yet."""
        return Service("scheduler", self.folder, {**self.environ, "DATASET_URL": self.dataset.url})

    def caller(self, role: Role = "mentor", name: str = "Ada", team: str | None = None) -> Caller:
        """A client of somebody else."""
        return Caller(self.session, token(team or self.team, role, name))

    def of_team(self, team: str) -> Platform:
        """The same platform for another team."""
        other = object.__new__(Platform)
        other.__dict__ = {**self.__dict__, "team": team}
        other.call = other.caller()
        return other

    async def hear(self, envelope: Envelope) -> None:
        """Keep a fact for the test."""
        self.facts.append(envelope)

    async def add_dataset(self, name: str = "Field", labels: tuple[str, ...] = ("ball", "cube")) -> str:
        """A small dataset; its id."""
        self.zips += 1
        archive = write_zip(self.folder / f"{uuid.uuid4().hex}.zip", frames(10, labels))
        status, content = await self.call(
            "POST", f"{self.dataset.url}/api/datasets?name={name}", data=archive.read_bytes()
        )
        assert status == 201, content
        return str(content["dataset"]["id"])

    async def api(
        self, method: str, path: str, body: object = None, *, by: Caller | None = None, expect: int = 200, **more: Any
    ) -> Any:
        """A request to the scheduler that is answered with the expected status."""
        status, content = await (by or self.call)(method, f"{self.scheduler.url}/api{path}", body, **more)
        assert status == expect, (method, path, status, content)
        return content

    async def submit(
        self, *dataset_ids: str, key: str | None = None, by: Caller | None = None, **fields: Any
    ) -> tuple[int, Any]:
        """Ask for a job."""
        body = {"dataset_ids": list(dataset_ids), "description": "Balls", "steps": 40, "max_minutes": 10, **fields}
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return await (by or self.call)("POST", f"{self.scheduler.url}/api/jobs", body, headers=headers)

    async def queued(self, *dataset_ids: str, **fields: Any) -> str:
        """The id of a job that was queued."""
        status, content = await self.submit(*dataset_ids, **fields)
        assert (status, content["job"]["state"]) == (201, "QUEUED"), content
        return str(content["job"]["id"])

    async def job(self, job_id: str, what: Callable[[JobChanged], bool], seconds: float = 15) -> JobChanged:
        """The first fact about the job that `what` holds of, now or later."""

        def look() -> JobChanged | None:
            for envelope in self.facts:
                body = envelope.body
                if isinstance(body, JobChanged) and body.job.id == job_id and what(body):
                    return body
            return None

        return await until(look, seconds)  # type: ignore[no-any-return]

    async def in_state(self, job_id: str, state: str, attempt: int | None = None) -> JobChanged:
        """The first fact that tells this state."""
        return await self.job(job_id, lambda c: c.job.state == state and attempt in (None, c.job.attempt))

    def causes(self, job_id: str) -> list[str]:
        """What changed the job, in order."""
        return [e.body.trigger for e in self.facts if isinstance(e.body, JobChanged) and e.body.job.id == job_id]


class ScriptedTrainer:
    """Heartbeats and accepts by itself; the rest of what a trainer says, the test makes it say."""

    def __init__(self, platform: Platform, slots: int = 1, **labels: str) -> None:
        self.id = f"scripted-{uuid.uuid4().hex[:6]}"
        self._bus, self._slots, self.labels = platform.bus, slots, labels
        self.held: dict[tuple[str, int], JobAssign] = {}
        self.stops: list[tuple[str, int | None, str]] = []
        self.drains = 0
        self._teams: dict[str | None, str] = {}
        # What its heartbeats say otherwise than usual.
        self.fields: dict[str, Any] = {}
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take commands and begin to beat."""

        async def assign(envelope: Envelope) -> None:
            assert isinstance(envelope.body, JobAssign)
            assert envelope.job_id is not None
            assert envelope.attempt is not None
            self._teams[envelope.job_id] = envelope.team
            self.held[envelope.job_id, envelope.attempt] = envelope.body

        async def stop(envelope: Envelope) -> None:
            assert isinstance(envelope.body, JobStop)
            self.stops.append((envelope.job_id or "", envelope.attempt, envelope.body.reason))
            if envelope.body.reason == "release":
                self.held.pop((envelope.job_id or "", envelope.attempt or 0), None)

        async def drain(_: Envelope) -> None:
            self.drains += 1

        handlers: Handlers = {JobAssign: assign, JobStop: stop, TrainerDrain: drain}
        await self._bus.consume(topology.trainer_queue(self.id), handlers)
        self.resume()

    def resume(self) -> None:
        """Beat."""

        async def beat() -> None:
            while True:
                await self.beat()
                await asyncio.sleep(0.2)

        self._beating = asyncio.create_task(beat())

    async def beat(self) -> None:
        """One heartbeat."""
        held = [HeldJob(job_id=job_id, attempt=attempt) for job_id, attempt in self.held]
        plain = {"accelerator": "cpu", "device": "test", "memory_bytes": 8 << 30, "labels": self.labels}
        await self.say(TrainerHeartbeat(trainer=self.id, slots=self._slots, held=held, **{**plain, **self.fields}))

    async def silence(self) -> None:
        """Beat no more."""
        assert self._beating is not None
        self._beating.cancel()
        await asyncio.gather(self._beating, return_exceptions=True)

    async def holds(self, job_id: str, attempt: int = 1) -> JobAssign:
        """The assignment, once it has come."""
        return await until(lambda: self.held.get((job_id, attempt)))  # type: ignore[no-any-return]

    async def told(self, job_id: str, attempt: int, reason: str) -> None:
        """Until it was told to stop, drain or release."""
        await until(lambda: (job_id, attempt, reason) in self.stops)

    async def say(self, body: Message, job_id: str | None = None, attempt: int | None = None) -> None:
        """Publish a fact."""
        envelope = Envelope(
            id=uuid.uuid4().hex,
            time=datetime.now(UTC),
            source=self.id,
            team=self._teams.get(job_id, "demo"),
            body=body,
            job_id=job_id,
            attempt=attempt,
        )
        await self._bus.publish(envelope)

    async def started(self, job_id: str, attempt: int, resumed_from: int = 0) -> None:
        now = datetime.now(UTC)
        fact = TrainingStarted(
            trainer=self.id, step=resumed_from + 1, resumed_from=resumed_from, resumed_seconds=0.0, at=now
        )
        await self.say(fact, job_id, attempt)

    async def checkpointed(self, job_id: str, attempt: int, step: int, seconds: float) -> None:
        fact = TrainingCheckpointed(
            step=step,
            stepping_seconds=seconds,
            prefix=f"jobs/{job_id}/checkpoints/{step:08d}-a{attempt}",
            saved_at=datetime.now(UTC),
            training={},
            evaluation={METRIC: 0.5},
            best=True,
        )
        await self.say(fact, job_id, attempt)

    async def stopping(self, job_id: str, attempt: int, reason: Any, step: int = 20) -> None:
        await self.say(TrainingStopping(step=step, reason=reason), job_id, attempt)

    async def ended(
        self, job_id: str, attempt: int, outcome: Any, step: int, seconds: float, reason: Reason | None = None
    ) -> None:
        self.held.pop((job_id, attempt), None)
        fact = TrainingEnded(
            outcome=outcome,
            step=step,
            checkpoint_step=step,
            stepping_seconds=seconds,
            reason=reason,
            log_tail=[f"line {number}" for number in range(3)],
        )
        await self.say(fact, job_id, attempt)

    async def run(self, job_id: str, attempt: int = 1, step: int = 40, seconds: float = 20.0) -> None:
        """The whole of an attempt, from its assignment to its good end."""
        await self.holds(job_id, attempt)
        await self.started(job_id, attempt)
        await self.checkpointed(job_id, attempt, step, seconds)
        await self.ended(job_id, attempt, "succeeded", step, seconds)


@asynccontextmanager
async def open_platform(
    amqp_url: str, mongo_url: str, mongo_prefix: str, folder: Path, **settings: str
) -> AsyncIterator[Platform]:
    """Dataset and scheduler with small limits; `settings` come on top."""
    environ = {
        "RABBITMQ_URL": amqp_url,
        "MONGO_URL": mongo_url,
        "MONGO_PREFIX": mongo_prefix,
        "ARTIFACTS_URL": f"file://{folder}/artifacts",
        "WORK_DIR": f"{folder}/work",
        "MIN_STEPS": "20",
        "TEAM_MINUTES": "30",
        "LEASE_SECONDS": str(LEASE),
        "PLAN_SECONDS": "0.1",
        "MAX_ATTEMPTS": "2",
        "LEADER_SECONDS": "2",
        "AUDIT_SECONDS": "1",
        **settings,
    }
    bus = RabbitBus(amqp_url, service="test", metrics=Metrics(), tracing=Tracing("test"))
    await bus.connect()
    async with aiohttp.ClientSession() as session:
        running = Platform(environ, folder, bus, session, "demo")
        listener = Queue(name="test.listener", bindings=("job.*", "queue.*", "room.*", "team.*", "announcements.*"))
        heard = (AnnouncementsChanged, JobChanged, QueueMoved, RoomMoved, TeamChanged)
        await bus.consume(listener, dict.fromkeys(heard, running.hear))
        both = (running.dataset, running.scheduler)
        try:
            # Side by side: most of a start is imports.
            await asyncio.gather(*(service.start() for service in both))
            yield running
        finally:
            await asyncio.gather(*(asyncio.to_thread(service.end) for service in both if service.process is not None))
    await bus.close()


@asynccontextmanager
async def open_trainer(platform: Platform, slots: int = 1, **labels: str) -> AsyncIterator[ScriptedTrainer]:
    """A trainer that beats, and that the scheduler knows."""
    scripted = ScriptedTrainer(platform, slots, **labels)
    await scripted.start()
    admin = platform.caller("admin")

    async def known() -> bool:
        answer = await platform.api("GET", "/trainers", by=admin)
        return any(one["id"] == scripted.id for one in answer["trainers"])

    await until(known)
    yield scripted
    await scripted.silence()
