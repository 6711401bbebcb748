"""A trainer process with a scripted child, and the scheduler's side of its conversation."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from services.trainer.checkpoints import Checkpoint, Checkpoints
from services.trainer.domain import CheckpointName
from shared.contract.events import (
    DatasetSource,
    Fact,
    JobAssign,
    JobStop,
    Message,
    TrainerHeartbeat,
    TrainingProgressed,
    TrainingStarted,
)
from shared.contract.topology import Queue, trainer_queue
from shared.contract.wire import Envelope
from shared.runtime.artifacts import Artifacts
from shared.runtime.bus import RabbitBus
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing
from tests.support.process import ServiceProcess
from tests.support.scripted_child import Record

M = TypeVar("M")
REPOSITORY = Path(__file__).resolve().parents[2]
FACTS = Queue(name="test.facts", bindings=("training.*", "trainer.*", "model.*"))
HEARTBEAT_SECONDS = 0.25
LEASE_SECONDS = 20.0
DATASET = "datasets/d1"


class Desk:
    """Hears all facts in order and sends commands. Make it with `desk`."""

    def __init__(self, bus: RabbitBus) -> None:
        self._bus = bus
        self.heard: list[Envelope] = []

    async def hear(self, envelope: Envelope) -> None:
        self.heard.append(envelope)

    async def send(self, trainer: str, body: Message, *, job: str | None = None, attempt: int | None = None) -> None:
        envelope = Envelope(
            id=uuid.uuid4().hex,
            time=datetime.now(UTC),
            source="scheduler",
            team="demo" if job is not None else "",
            body=body,
            job_id=job,
            attempt=attempt,
            correlation_id="c1",
        )
        await self._bus.command(trainer_queue(trainer).name, envelope)

    async def until(self, found: Callable[[], M | None], what: str, seconds: float = 20) -> M:
        """What `found` gives, once it gives something."""
        deadline = time.monotonic() + seconds
        while (value := found()) is None or value is False:
            if time.monotonic() > deadline:
                raise AssertionError(f"no {what} within {seconds} s; heard {self.kinds()}")
            await asyncio.sleep(0.02)
        return value

    async def fact(self, kind: type[M], *, job: str | None = None, count: int = 1, seconds: float = 20) -> M:
        """The `count`-th fact of that kind (about that job)."""

        def found() -> M | None:
            facts = [e.body for e in self.heard if isinstance(e.body, kind) and (job is None or e.job_id == job)]
            return facts[count - 1] if len(facts) >= count else None

        return await self.until(found, kind.__name__, seconds)

    async def heartbeat(self, matches: Callable[[TrainerHeartbeat], bool], seconds: float = 20) -> TrainerHeartbeat:
        """A heartbeat from now on that `matches`."""
        begin = len(self.heard)

        def found() -> TrainerHeartbeat | None:
            beats = (e.body for e in self.heard[begin:] if isinstance(e.body, TrainerHeartbeat))
            return next((beat for beat in beats if matches(beat)), None)

        return await self.until(found, "such heartbeat", seconds)

    def about(self, job: str, attempt: int | None = None) -> list[Any]:
        """The facts about a job, in order, progress left out."""
        return [
            e.body
            for e in self.heard
            if e.job_id == job and attempt in (None, e.attempt) and not isinstance(e.body, TrainingProgressed)
        ]

    def kinds(self, job: str | None = None) -> list[str]:
        """The types of the facts about a job (of all but heartbeats), in order, progress left out."""
        bodies = self.about(job) if job else [e.body for e in self.heard if not isinstance(e.body, TrainerHeartbeat)]
        return [type(body).__name__ for body in bodies]


@contextlib.asynccontextmanager
async def desk(url: str) -> AsyncIterator[Desk]:
    """A desk on the broker at `url`."""
    bus = RabbitBus(url, service="desk", metrics=Metrics(), tracing=Tracing("desk"))
    await bus.connect()
    made = Desk(bus)
    await bus.consume(FACTS, dict.fromkeys(get_args(Fact), made.hear))
    try:
        yield made
    finally:
        await bus.stop_consuming(1)
        await bus.close()


class Trainer:
    """A trainer process over the folder `root`."""

    def __init__(self, root: Path, url: str, **environment: str) -> None:
        self.records = root / "records"
        self.records.mkdir(exist_ok=True)
        self.log = root / "trainer.log"
        self.work_dir = root / "work"
        self.process = self._start(root, url, environment)

    def _start(self, root: Path, url: str, environment: dict[str, str]) -> ServiceProcess:
        variables = {
            "RABBITMQ_URL": url,
            "ARTIFACTS_URL": (root / "artifacts").as_uri(),
            "TRAINER_NAME": "Test Box",
            "WORK_DIR": str(self.work_dir),
            "HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "DRAIN_SECONDS": "10",
            "CHILD_MODULE": "tests.support.scripted_child",
            "CHILD_RECORDS": str(self.records),
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": "json",
        }
        return ServiceProcess("services.trainer", {**os.environ, **variables, **environment}, self.log)

    def record(self, job: str, attempt: int = 1) -> Record | None:
        """What the child of that attempt left, None if there was none (yet)."""
        path = self.records / f"{job}-a{attempt}.json"
        return msgspec.json.decode(path.read_bytes(), type=Record) if path.exists() else None

    def script(self, job: str, script: Mapping[str, object]) -> None:
        """Give the children of one job a script of their own."""
        (self.records / f"{job}.script").write_text(json.dumps(script))

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def exit(self, seconds: float = 20) -> int:
        """Its exit status."""
        return await asyncio.to_thread(self.process.wait, seconds)

    def close(self) -> None:
        """Kill it if it still runs, and wait for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


def assign(**changes: Any) -> JobAssign:
    """Ten steps with a checkpoint at every fifth."""
    values: dict[str, Any] = {
        "starting_model": "ssd_mobilenet_v2_320x320",
        "datasets": [DatasetSource(id="d1", name="Field", prefix=DATASET, train_frames=8, eval_frames=2)],
        "labels": ["ball", "cube"],
        "batch_size": 8,
        "steps": 10,
        "checkpoint_every": 5,
        "max_stepping_seconds": 600.0,
        "seed": 7,
        "lease_seconds": LEASE_SECONDS,
    }
    return JobAssign(**{**values, **changes})


def stop(reason: str = "user") -> JobStop:
    return JobStop(reason=reason)  # type: ignore[arg-type]


def put_dataset(artifacts: Artifacts, aside: Path, prefix: str = DATASET, size: int = 100) -> None:
    """A dataset of one shard a pool, `size` bytes each; nobody here reads them."""
    folder = aside / prefix.replace("/", "-")
    folder.mkdir(parents=True)
    for name in ("train-00000-of-00001.tfrecord", "eval-00000-of-00001.tfrecord"):
        (folder / name).write_bytes(os.urandom(size))
    artifacts.publish(prefix, folder)


def put_checkpoint(
    artifacts: Artifacts, aside: Path, *, job: str, step: int, attempt: int = 1, map: float | None = None
) -> str:
    """A checkpoint that an earlier attempt left, evaluated where a mAP is given; returns its prefix."""
    checkpoints = Checkpoints(artifacts, job, attempt)
    folder = aside / f"{job}-{step}-a{attempt}"
    folder.mkdir(parents=True)
    (folder / "ckpt.index").write_text(f"step {step}")
    name = CheckpointName(step, attempt)
    checkpoint = Checkpoint(
        step=step, attempt=attempt, stepping_seconds=step / 10, saved_at=datetime.now(UTC), training={}
    )
    checkpoints.save(checkpoint, folder)
    if map is not None:
        checkpoints.record(name, {"DetectionBoxes_Precision/mAP": map})
    return checkpoints.prefix(name)


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def name_of(scheduler: Desk) -> str:
    """The id of the trainer that says it is alive."""
    return (await scheduler.heartbeat(lambda beat: True)).trainer


async def running(scheduler: Desk, trainer: Trainer, job: str = "j1", attempt: int = 1) -> int:
    """The pid of the child of an attempt, once it makes steps."""
    await scheduler.fact(TrainingStarted, job=job)
    record = trainer.record(job, attempt)
    assert record is not None
    assert alive(record.pid)
    return record.pid


async def gone(scheduler: Desk, pid: int, seconds: float = 10) -> None:
    await scheduler.until(lambda: not alive(pid) or None, f"end of process {pid}", seconds)


@dataclass(frozen=True)
class Yard:
    """One trainer with its store, and the scheduler's side of it."""

    scheduler: Desk
    trainer: Trainer
    name: str
    artifacts: Artifacts

    async def send(self, body: Message, *, job: str | None = "j1", attempt: int | None = 1) -> None:
        """A command to the trainer."""
        await self.scheduler.send(self.name, body, job=job, attempt=attempt)


@contextlib.asynccontextmanager
async def yard(
    root: Path,
    url: str,
    script: Mapping[str, object] | None = None,
    prepare: Callable[[Artifacts], object] = lambda _: None,
    **environment: str,
) -> AsyncIterator[Yard]:
    """A trainer that is alive, its store with the dataset and whatever `prepare` puts there; its log is printed at the end."""
    artifacts = Artifacts((root / "artifacts").as_uri())
    put_dataset(artifacts, root / "aside")
    prepare(artifacts)
    async with desk(url) as scheduler:
        trainer = Trainer(root, url, CHILD_SCRIPT=json.dumps(script or {}), **environment)
        try:
            yield Yard(scheduler, trainer, await name_of(scheduler), artifacts)
        finally:
            trainer.close()
            print(trainer.log.read_text())
