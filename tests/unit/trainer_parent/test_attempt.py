"""How an attempt ends when its surroundings fail: an artifact store that is away or can't delete, a fault of ours."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs

from services.trainer import protocol
from services.trainer.attempt import Attempt, Tools
from services.trainer.checkpoints import Checkpoints
from services.trainer.data import DatasetCache
from services.trainer.domain import Lease, Order
from services.trainer.machine import Slot
from services.trainer.patience import Patience
from services.trainer.preparation import Resume
from services.trainer.publisher import Publisher
from services.trainer.reporter import Reporter, Voice
from services.trainer.settings import TrainerSettings
from shared.contract.events import TrainingCheckpointed, TrainingEnded
from shared.contract.topology import Queue
from shared.contract.wire import Envelope, decode
from shared.runtime.artifacts import Artifacts
from shared.runtime.clock import SystemClock
from shared.runtime.metrics import Metrics
from tests.support.memory_bus import MemoryBroker, MemoryBus
from tests.support.trainer import assign, put_checkpoint

ALL = Queue(name="all", bindings=("training.*",))
ORDER = Order(job_id="j1", attempt=1, team="demo", assign=assign())


class BrokenCache(DatasetCache):
    """A cache with a mistake in it."""

    @asynccontextmanager
    async def use(self, prefix: str) -> AsyncIterator[Path]:
        raise KeyError(prefix)
        yield Path()


class KeepsAll(Artifacts):
    """A store that deletes nothing."""

    def delete(self, prefix: str) -> None:
        raise PermissionError("deleting is forbidden")


class SilentStore(Artifacts):
    """A store that doesn't answer until it is let."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked, self.let = threading.Event(), threading.Event()

    def folders(self, prefix: str) -> list[str]:
        self.asked.set()
        self.let.wait(30)
        return super().folders(prefix)


class World:
    def __init__(self, root: Path, artifacts: Artifacts | None = None) -> None:
        self.broker = MemoryBroker()
        self.broker.declare(ALL)
        self.clock = SystemClock()
        self.artifacts = artifacts or Artifacts((root / "artifacts").as_uri())
        self.patience = Patience(0)
        self.lease = Lease(60, self.clock.monotonic())
        self.idle: list[Attempt] = []
        bus = MemoryBus(self.broker, service="trainer", metrics=Metrics())
        self.tools = Tools(
            settings=TrainerSettings.model_validate({"work_dir": root / "work"}),
            reporter=Reporter(bus, trainer="t1", clock=self.clock, new_id=lambda: "id"),
            clock=self.clock,
            artifacts=self.artifacts,
            cache=BrokenCache(self.artifacts, root / "cache", 0, self.patience),
            patience=self.patience,
        )

    def attempt(self, order: Order = ORDER) -> Attempt:
        return Attempt(order, Slot(0, None, 0), self.lease, self.tools, self.idle.append)

    def heard(self) -> list[Envelope]:
        return [decode(message.body) for message in self.broker.waiting("all")]


async def test_a_store_that_is_away_fails_the_job_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where a folder should be")
    world = World(tmp_path)
    attempt = world.attempt()
    assert await attempt.run() == "failed"
    ended = world.heard()[-1].body
    assert isinstance(ended, TrainingEnded)
    assert ended.reason is not None
    assert ended.reason.code == "artifacts_unavailable"
    assert world.idle == [attempt]


async def test_a_mistake_of_ours_ends_the_attempt_and_frees_its_slot(tmp_path: Path) -> None:
    world = World(tmp_path)
    attempt = world.attempt()
    assert await attempt.run() == "failed"
    ended = world.heard()[-1].body
    assert isinstance(ended, TrainingEnded)
    assert ended.reason is not None
    assert (ended.reason.code, ended.checkpoint_step) == ("internal_error", 0)
    assert world.idle == [attempt]


@pytest.mark.parametrize(("reason", "outcome"), [("user", "stopped"), ("drained", "drained")])
async def test_a_stop_does_not_wait_for_a_store_that_is_silent(
    tmp_path: Path, reason: protocol.StopReason, outcome: str
) -> None:
    store = SilentStore((tmp_path / "artifacts").as_uri())
    world = World(tmp_path, store)
    attempt = world.attempt(structs.replace(ORDER, assign=assign(known_step=5)))
    running = asyncio.create_task(attempt.run())
    assert await asyncio.to_thread(store.asked.wait, 30)
    attempt.stop(reason)
    assert await running == outcome
    ended = world.heard()[-1].body
    assert isinstance(ended, TrainingEnded)
    assert ended.reason is not None
    # Of earlier attempts it knows what the scheduler told.
    assert (ended.outcome, ended.reason.code, ended.step, ended.checkpoint_step) == (outcome, reason, 5, 5)
    store.let.set()


def publisher(world: World) -> Publisher:
    return Publisher(
        ORDER,
        trainer="t1",
        voice=Voice(world.tools.reporter, ORDER, world.lease, world.clock),
        lease=world.lease,
        clock=world.clock,
        artifacts=world.artifacts,
        checkpoints=Checkpoints(world.artifacts, "j1", 1),
        patience=world.patience,
    )


async def save(publisher: Publisher, world: World, folder: Path, step: int) -> None:
    folder.mkdir(parents=True)
    (folder / "ckpt.index").write_text(str(step))
    saved = protocol.CheckpointSaved(step=step, stepping_seconds=1.0, path=str(folder), training={})
    await publisher.take(saved, world.clock.now())


async def test_a_store_that_cannot_delete_keeps_more_and_fails_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, KeepsAll((tmp_path / "artifacts").as_uri()))
    made = publisher(world)
    await made.resume(Resume())
    for step in (5, 10):
        await save(made, world, tmp_path / "run" / str(step), step)
        await made.take(protocol.CheckpointEvaluated(step=step, evaluation={}, seconds=1), world.clock.now())
    assert [type(e.body) for e in world.heard()] == [TrainingCheckpointed] * 2
    assert world.artifacts.folders("jobs/j1/checkpoints") == ["00000005-a1", "00000010-a1"]
    assert not (tmp_path / "run" / "5").exists()


async def test_an_evaluation_of_nothing_that_was_saved_is_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    made = publisher(world)
    await made.resume(Resume())
    await made.take(protocol.CheckpointEvaluated(step=5, evaluation={}, seconds=1), world.clock.now())
    assert world.heard() == []


@pytest.mark.parametrize("unsaid", [True, False])
async def test_of_two_checkpoints_without_evaluation_both_are_announced(tmp_path: Path, unsaid: bool) -> None:
    world = World(tmp_path)
    made = publisher(world)
    put_checkpoint(world.artifacts, tmp_path / "aside", job="j1", step=3)
    await made.resume(Resume())
    await save(made, world, tmp_path / "run" / "5", 5)
    await save(made, world, tmp_path / "run" / "10", 10)
    if unsaid:
        await made.close()
    else:
        ended = protocol.RunEnded(outcome="drained", step=10, stepping_seconds=1.0, reason="drained")
        await made.take(ended, world.clock.now())
    await made.close()
    assert [e.body.step for e in world.heard() if isinstance(e.body, TrainingCheckpointed)] == [5, 10]
    assert world.artifacts.folders("jobs/j1/checkpoints") == ["00000010-a1"]
