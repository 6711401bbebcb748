"""How an attempt ends when its surroundings fail: an artifact store that is away or can't delete, a fault of ours."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from services.trainer import holdings as holdings_module
from services.trainer import protocol
from services.trainer.attempt import Attempt, Tools
from services.trainer.checkpoints import Checkpoints
from services.trainer.data import DatasetCache
from services.trainer.domain import Lease, LeaseLost, Order
from services.trainer.gallery import Gallery
from services.trainer.holdings import Holdings
from services.trainer.machine import Slot
from services.trainer.patience import Patience
from services.trainer.preparation import Resume, find_resume
from services.trainer.publisher import Publisher
from services.trainer.reporter import Reporter, Voice
from services.trainer.settings import TrainerSettings
from shared.contract.events import Message, TrainingCheckpointed, TrainingEnded
from shared.contract.topology import Queue
from shared.contract.views import PredictionsView
from shared.contract.wire import Envelope, decode
from shared.runtime.artifacts import Artifacts, Corrupt, Manifest
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


class Choosy(Artifacts):
    """A store that refuses folders by a part of their name."""

    def __init__(self, url: str, refused: str, error: Exception) -> None:
        super().__init__(url)
        self._refused, self._error = refused, error

    def publish(self, prefix: str, folder: Path, meta: dict[str, Any] | None = None) -> Manifest:
        if self._refused in prefix:
            raise self._error
        return super().publish(prefix, folder, meta)


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
    def __init__(self, root: Path, artifacts: Artifacts | None = None, longest_call: float = 30) -> None:
        self.broker = MemoryBroker()
        self.broker.declare(ALL)
        self.clock = SystemClock()
        self.artifacts = artifacts or Artifacts((root / "artifacts").as_uri())
        self.patience = Patience(0, longest_call=longest_call)
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


async def test_a_store_that_hangs_fails_the_job_and_frees_its_slot(tmp_path: Path) -> None:
    store = SilentStore((tmp_path / "artifacts").as_uri())
    world = World(tmp_path, store, longest_call=0.2)
    attempt = world.attempt()
    assert await attempt.run() == "failed"
    ended = world.heard()[-1].body
    assert isinstance(ended, TrainingEnded)
    assert ended.reason is not None
    assert (ended.reason.code, "gave no answer within 0.2 s" in ended.reason.message) == ("artifacts_unavailable", True)
    assert world.idle == [attempt]
    store.let.set()


async def test_a_mistake_of_ours_ends_the_attempt_and_frees_its_slot(tmp_path: Path) -> None:
    world = World(tmp_path)
    attempt = world.attempt()
    assert await attempt.run() == "failed"
    ended = world.heard()[-1].body
    assert isinstance(ended, TrainingEnded)
    assert ended.reason is not None
    assert (ended.reason.code, ended.checkpoint_step) == ("internal_error", 0)
    assert world.idle == [attempt]


@pytest.mark.parametrize("found", [True, False])
async def test_an_end_before_the_first_step_names_the_checkpoint_that_can_be_read(tmp_path: Path, found: bool) -> None:
    world = World(tmp_path)
    if found:
        put_checkpoint(world.artifacts, tmp_path / "aside", job="j1", step=5)
    # The scheduler has heard of a later one, which is gone.
    await world.attempt(structs.replace(ORDER, attempt=2, assign=assign(known_step=10))).run()
    ended = world.heard()[-1].body
    assert isinstance(ended, TrainingEnded)
    told = (ended.step, ended.checkpoint_step, ended.stepping_seconds, ended.checkpoint_prefix)
    assert told == ((5, 5, 0.5, "jobs/j1/checkpoints/00000005-a1") if found else (0, 0, 0.0, ""))


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
    assert ended.checkpoint_prefix is None
    store.let.set()


class StuckStore(SilentStore):
    """A store that lists its checkpoints once, and then doesn't answer."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.listed = 0

    def folders(self, prefix: str) -> list[str]:
        self.listed += prefix.endswith("/checkpoints")
        return super().folders(prefix) if self.listed > 1 else Artifacts.folders(self, prefix)


async def drained(world: World, store: StuckStore, known: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer that is drained while its store hangs where no stop helps."""
    monkeypatch.setattr(holdings_module, "_LAST_WORDS_SECONDS", 0.05)
    monkeypatch.setattr(holdings_module, "_HAND_BACK_SECONDS", 0.3)
    holdings = Holdings(world.tools, [Slot(0, None, 0)], Metrics())
    holdings.begin(structs.replace(ORDER, attempt=2, assign=assign(known_step=known)))
    assert await asyncio.to_thread(store.asked.wait, 30)
    await holdings.drain(0.05)
    assert holdings.held() == []
    store.let.set()


@pytest.mark.parametrize("known", [5, 0])
async def test_a_drain_that_takes_too_long_hands_back_what_was_told(
    tmp_path: Path, known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StuckStore((tmp_path / "artifacts").as_uri())
    world = World(tmp_path, store)
    put_checkpoint(store, tmp_path / "aside", job="j1", step=5)
    await drained(world, store, known, monkeypatch)
    ended = world.heard()[-1].body
    assert isinstance(ended, TrainingEnded)
    assert ended.reason is not None
    # A checkpoint that the scheduler hasn't heard of would keep it waiting for that.
    assert (ended.outcome, ended.reason.code, ended.checkpoint_step) == ("drained", "drained", known)
    assert (ended.step, ended.stepping_seconds, ended.checkpoint_prefix) == (5, 0.5 if known else 0.0, None)


@pytest.mark.parametrize("lost", [True, False])
async def test_a_drain_does_not_wait_for_a_broker_that_is_away(
    tmp_path: Path, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StuckStore((tmp_path / "artifacts").as_uri())
    world = World(tmp_path, store)
    put_checkpoint(store, tmp_path / "aside", job="j1", step=5)
    tell = Voice.tell

    async def without_broker(voice: Voice, body: Message) -> None:
        if isinstance(body, TrainingEnded):
            world.broker.down()
            voice._lease._lost = lost
        await tell(voice, body)

    monkeypatch.setattr(Voice, "tell", without_broker)
    with capture_logs() as logged:
        await drained(world, store, 5, monkeypatch)
    (said,) = (entry["error"] for entry in logged if entry["event"] == "attempt.left_unsaid")
    assert said.startswith("LeaseLost" if lost else "TimeoutError")


def publisher(world: World, gallery: Gallery | None = None, attempt: int = 1) -> Publisher:
    return Publisher(
        structs.replace(ORDER, attempt=attempt),
        trainer="t1",
        voice=Voice(world.tools.reporter, ORDER, world.lease, world.clock),
        lease=world.lease,
        clock=world.clock,
        artifacts=world.artifacts,
        checkpoints=Checkpoints(world.artifacts, "j1", attempt),
        gallery=gallery or Gallery(world.artifacts, "j1", attempt),
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
    assert made.announced is not None
    assert made.durable is not None
    assert (made.announced.step, made.durable.step) == (5, 10)
    if unsaid:
        await made.close()
    else:
        ended = protocol.RunEnded(outcome="drained", step=10, stepping_seconds=1.0, reason="drained")
        await made.take(ended, world.clock.now())
    await made.close()
    assert [e.body.step for e in world.heard() if isinstance(e.body, TrainingCheckpointed)] == [5, 10]
    assert world.artifacts.folders("jobs/j1/checkpoints") == ["00000010-a1"]


def folder_with(path: Path, name: str) -> str:
    """A folder with one file of that name."""
    path.mkdir(parents=True)
    (path / name).write_text(name)
    return str(path)


async def evaluated(publisher: Publisher, world: World, folder: Path, step: int) -> str:
    """Save and evaluate a checkpoint; returns where the child left its predictions."""
    await save(publisher, world, folder / str(step), step)
    found = folder_with(folder / f"predictions-{step}", "predictions.json.gz")
    message = protocol.CheckpointEvaluated(step=step, evaluation={}, seconds=1, predictions=found)
    await publisher.take(message, world.clock.now())
    return found


def told(world: World) -> list[PredictionsView | None]:
    """What the checkpoints that were announced say of their predictions."""
    return [e.body.predictions for e in world.heard() if isinstance(e.body, TrainingCheckpointed)]


class TestGallery:
    async def test_predictions_are_kept_before_they_are_told_of_and_outlive_their_checkpoint(
        self, tmp_path: Path
    ) -> None:
        world = World(tmp_path)
        made = publisher(world)
        await made.resume(Resume())
        pictures = folder_with(tmp_path / "run" / "pictures", "000.jpg")
        await made.take(protocol.PicturesKept(path=pictures), world.clock.now())
        for step in (5, 10):
            assert not Path(await evaluated(made, world, tmp_path / "run", step)).exists()
        assert not Path(pictures).exists()
        assert told(world) == [
            PredictionsView(prefix=f"jobs/j1/predictions/{step:08d}-a1", pictures="jobs/j1/pictures-a1")
            for step in (5, 10)
        ]
        assert world.artifacts.folders("jobs/j1/checkpoints") == ["00000010-a1"]
        assert world.artifacts.folders("jobs/j1/predictions") == ["00000005-a1", "00000010-a1"]
        assert world.artifacts.manifest("jobs/j1/pictures-a1").file("000.jpg") is not None

    async def test_of_two_attempts_the_first_keeps_pictures_and_a_checkpoint_has_one_file(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        first = publisher(world)
        await first.take(
            protocol.PicturesKept(path=folder_with(tmp_path / "run" / "pictures", "000.jpg")), world.clock.now()
        )
        await evaluated(first, world, tmp_path / "run", 5)
        # It died before it could record the evaluation: the next one evaluates, and tells of it, again.
        world.artifacts.delete("jobs/j1/evaluations/00000005-a1")
        gallery = Gallery(world.artifacts, "j1", 2)
        checkpoints = Checkpoints(world.artifacts, "j1", 2)
        resume = await find_resume(checkpoints, gallery, tmp_path / "resume", world.patience)
        assert resume.pictures
        assert resume.checkpoint is not None
        assert (resume.checkpoint.step, resume.evaluation) == (5, None)
        second = publisher(world, gallery, attempt=2)
        await second.resume(resume)
        again = folder_with(tmp_path / "again", "predictions.json.gz")
        message = protocol.CheckpointEvaluated(step=5, evaluation={}, seconds=1, predictions=again)
        await second.take(message, world.clock.now())
        await evaluated(second, world, tmp_path / "second", 10)
        assert told(world) == [
            PredictionsView(prefix=f"jobs/j1/predictions/{name}", pictures="jobs/j1/pictures-a1")
            for name in ("00000005-a1", "00000005-a1", "00000005-a1", "00000010-a2")
        ]
        assert world.artifacts.folders("jobs/j1/predictions") == ["00000005-a1", "00000010-a2"]
        assert [name for name in world.artifacts.folders("jobs/j1") if "pictures" in name] == ["pictures-a1"]

    @pytest.mark.parametrize(
        ("refused", "error"),
        [
            ("pictures", OSError("the store is away")),
            ("predictions", OSError("the store is away")),
            ("predictions", Corrupt("it has no readable manifest")),
        ],
    )
    async def test_what_cannot_be_kept_is_left_out_and_the_training_goes_on(
        self, tmp_path: Path, refused: str, error: Exception
    ) -> None:
        world = World(tmp_path, Choosy((tmp_path / "artifacts").as_uri(), refused, error))
        made = publisher(world)
        await made.resume(Resume())
        pictures = folder_with(tmp_path / "run" / "pictures", "000.jpg")
        await made.take(protocol.PicturesKept(path=pictures), world.clock.now())
        assert not Path(await evaluated(made, world, tmp_path / "run", 5)).exists()
        assert told(world) == [None]
        assert world.artifacts.folders("jobs/j1/checkpoints") == ["00000005-a1"]
        assert world.artifacts.folders("jobs/j1/predictions") == []

    async def test_a_folder_that_is_not_there_is_left_out(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        made = publisher(world)
        await made.resume(Resume())
        await made.take(protocol.PicturesKept(path="/nowhere"), world.clock.now())
        await save(made, world, tmp_path / "run", 5)
        message = protocol.CheckpointEvaluated(step=5, evaluation={}, seconds=1, predictions="/nowhere")
        await made.take(message, world.clock.now())
        assert told(world) == [None]

    async def test_without_a_lease_nothing_is_kept(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        world.lease = Lease(0, world.clock.monotonic())
        pictures = folder_with(tmp_path / "run" / "pictures", "000.jpg")
        with pytest.raises(LeaseLost):
            await publisher(world).take(protocol.PicturesKept(path=pictures), world.clock.now())
        assert world.artifacts.folders("jobs/j1") == []
