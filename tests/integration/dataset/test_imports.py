"""Imports when something else goes wrong: the store is away, the importer is taken for dead, its task is cancelled."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.dataset import index
from services.dataset.browsing import Browsing
from services.dataset.domain import UploadRequest, prefix
from services.dataset.imports import Imports, Upload
from services.dataset.loops import Cleaner
from services.dataset.settings import DatasetSettings
from services.dataset.store import DatasetStore, Reservation
from services.dataset.workspace import Workspace
from shared.contract.errors import NotFound, UserError
from shared.contract.events import Message
from shared.contract.views import DatasetView
from shared.contract.wire import Envelope
from shared.runtime.artifacts import Artifacts
from shared.runtime.clock import SystemClock
from shared.runtime.mongo import OUTAGES, Store
from tests.support.running import SECRET
from tests.support.store import Store as StoreProcess
from tests.support.voc import frames, write_zip

REQUEST = UploadRequest(name="Field", eval_percent=20, seed=0, unlabelled="skip")


class Clock(SystemClock):
    """The machine's clock, some time ahead."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class Parts:
    """The service's inside without its process."""

    def __init__(self, folder: Path, mongo_url: str, silence_seconds: float = 1.2) -> None:
        self.clock = Clock()
        self.connection = Store(mongo_url, f"t{uuid.uuid4().hex[:12]}_")
        self.store = DatasetStore(self.connection.database("dataset"), self._envelope)
        self.artifacts = Artifacts((folder / "artifacts").as_uri())
        self.workspace = Workspace(folder / "imports")
        self.cleaner = Cleaner(self.store, self.artifacts, self.clock, timedelta(seconds=silence_seconds))
        self.told = 0
        self.imports = Imports(
            settings=DatasetSettings.model_validate(
                {"trainyard_secret": SECRET, "silence_seconds": silence_seconds, "max_datasets": 2}
            ),
            store=self.store,
            artifacts=self.artifacts,
            workspace=self.workspace,
            clock=self.clock,
            changed=self._changed,
            remove=self.cleaner.remove,
        )
        self.data = write_zip(folder / "in.zip", frames(12)).read_bytes()

    def _envelope(self, body: Message, team: str) -> Envelope:
        return Envelope(id=uuid.uuid4().hex, time=datetime.now(UTC), source="dataset", team=team, body=body)

    def _changed(self) -> None:
        self.told += 1

    async def pieces(self, between: Callable[[], object] | None = None) -> AsyncIterator[bytes]:
        """The upload in two pieces; `between` is called (and awaited) after the first."""
        half = len(self.data) // 2
        yield self.data[:half]
        if between is not None:
            result = between()
            if asyncio.iscoroutine(result):
                await result
        yield self.data[half:]

    async def create(self, between: Callable[[], object] | None = None, dataset_id: str = "d1") -> None:
        await self.imports.create("demo", dataset_id, REQUEST, Upload(self.pieces(between), None))

    async def created(self, dataset_id: str) -> DatasetView:
        await self.create(dataset_id=dataset_id)
        view = await self.store.view("demo", dataset_id)
        assert view is not None
        return view

    async def outlive_the_importer(self) -> None:
        """The cleaner takes whoever imports for dead."""
        self.clock.ahead = timedelta(seconds=60)
        await self.cleaner.round()
        self.clock.ahead = timedelta()

    async def interrupted(self) -> None:
        with pytest.raises(UserError) as caught:
            await self.create()
        assert caught.value.code == "import_interrupted"

    async def nothing_is_left(self) -> None:
        assert await self.store.collection.count_documents({}) == 0
        assert self.artifacts.folders("datasets") == []
        assert [path.name for path in self.workspace.path.iterdir()] == ["lock"]
        assert self.told == 0


@pytest.fixture
async def parts(tmp_path: Path, mongo_url: str) -> AsyncIterator[Parts]:
    parts = Parts(tmp_path, mongo_url)
    await parts.store.prepare()
    yield parts
    parts.connection.close()
    parts.workspace.close()


async def test_an_importer_that_was_taken_for_dead_stops(parts: Parts) -> None:
    async def taken_for_dead() -> None:
        parts.clock.ahead = timedelta(seconds=60)
        [reservation] = await parts.store.silent_imports(parts.clock.now() - timedelta(seconds=30))
        parts.clock.ahead = timedelta()
        assert await parts.store.abandon(reservation)
        await parts.cleaner.round()
        await asyncio.sleep(5)  # its next sign of life comes first and finds nothing

    with pytest.raises(UserError) as caught:
        async with asyncio.timeout(3):
            await parts.create(taken_for_dead)
    assert (caught.value.code, caught.value.status) == ("import_interrupted", 503)
    await parts.nothing_is_left()


async def test_an_importer_that_lives_is_left_alone(parts: Parts) -> None:
    async def slowly() -> None:
        for _ in range(5):
            await asyncio.sleep(0.5)
            await parts.cleaner.round()

    await parts.create(slowly)
    assert await parts.store.find("demo", "d1") is not None
    assert parts.told == 1


async def test_an_importer_that_was_taken_for_dead_too_late_to_notice(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has published when it loses its reservation: it makes no dataset, and removes what it published."""
    publish = parts.artifacts.publish

    async def lose() -> None:
        change = {"$set": {"state": "abandoned"}, "$unset": {"slot": ""}}
        await parts.store.collection.update_one({"_id": "d1"}, change)

    def published(*args: object) -> object:
        result = publish(*args)  # type: ignore[arg-type]
        asyncio.run_coroutine_threadsafe(lose(), loop).result(5)
        return result

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(parts.artifacts, "publish", published)
    await parts.interrupted()
    await parts.nothing_is_left()


def before_it_publishes(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, do: Callable[[], Coroutine[object, object, None]], seconds: float
) -> None:
    """Have that done in the last moment before the importer, on its thread, publishes."""
    publish, loop = parts.artifacts.publish, asyncio.get_running_loop()

    def published(*args: object) -> object:
        asyncio.run_coroutine_threadsafe(do(), loop).result(seconds)
        return publish(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(parts.artifacts, "publish", published)


async def test_an_importer_that_publishes_once_the_cleaner_has_forgotten_it(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a store outage: nothing refers to what it published, so it removes that itself."""

    async def forget() -> None:
        await parts.outlive_the_importer()
        assert await parts.store.existing("d1") is None

    before_it_publishes(parts, monkeypatch, forget, 5)
    await parts.interrupted()
    await parts.nothing_is_left()


async def test_an_importer_that_was_taken_for_dead_leaves_its_successor_alone(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = parts.artifacts.publish

    async def succeed() -> None:
        await parts.outlive_the_importer()
        monkeypatch.setattr(parts.artifacts, "publish", publish)
        await parts.create()

    before_it_publishes(parts, monkeypatch, succeed, 10)
    await parts.interrupted()
    assert await parts.store.find("demo", "d1") is not None
    assert parts.artifacts.folders("datasets") == ["d1"]


async def test_what_is_left_while_the_cleaner_removes_is_removed_the_next_time(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reservation = Reservation(id="d1", team="demo", owner="o1")
    assert await parts.store.reserve(reservation, "f", 2, parts.clock.now())
    assert await parts.store.abandon(reservation)
    delete = parts.artifacts.delete

    def deleted(of: str) -> None:
        delete(of)
        parts.artifacts.publish(of, tmp_path)  # the importer, which lives
        asyncio.run_coroutine_threadsafe(parts.store.disown(reservation, "f"), loop).result(5)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(parts.artifacts, "delete", deleted)
    await parts.cleaner.round()
    monkeypatch.setattr(parts.artifacts, "delete", delete)
    assert parts.artifacts.folders("datasets") == ["d1"]
    await parts.cleaner.round()
    await parts.nothing_is_left()


async def test_other_content_under_the_same_id(parts: Parts, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "label_map.pbtxt").write_text("something else")
    parts.artifacts.publish(prefix("d1"), other)
    await parts.interrupted()
    await parts.nothing_is_left()
    await parts.create()
    assert await parts.store.find("demo", "d1") is not None


async def test_a_cancelled_import(parts: Parts, tmp_path: Path) -> None:
    parts.data = write_zip(tmp_path / "large.zip", frames(1200)).read_bytes()
    for pause in (0.0, 0.01, 0.05, 0.1):
        task = asyncio.create_task(parts.create())
        await asyncio.sleep(pause)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await parts.nothing_is_left()


async def test_nothing_begins_once_the_service_is_stopping(parts: Parts) -> None:
    await parts.imports.stop()
    await parts.interrupted()
    await parts.nothing_is_left()


async def test_a_failed_import_gives_its_slot_back(parts: Parts) -> None:
    def broken() -> None:
        raise UserError("upload_broken", "gone")

    for number in range(3):
        with pytest.raises(UserError, match="gone"):
            await parts.create(broken, f"d{number}")
    await parts.create(dataset_id="d7")
    await parts.create(dataset_id="d8")
    with pytest.raises(UserError) as caught:
        await parts.create(dataset_id="d9")
    assert caught.value.code == "too_many_datasets"


async def test_a_reservation_that_nobody_finishes(parts: Parts) -> None:
    dead = Reservation(id="d1", team="demo", owner="dead")
    assert await parts.store.reserve(dead, REQUEST.fingerprint(), 2, parts.clock.now())
    with pytest.raises(UserError) as caught:
        await parts.create()
    assert (caught.value.code, caught.value.retry_after) == ("import_in_progress", 5)
    parts.clock.ahead = timedelta(seconds=2)
    await parts.cleaner.round()
    await parts.create()


@pytest.mark.timeout(120)
async def test_the_store_goes_away_during_an_upload(tmp_path: Path, private_store: StoreProcess) -> None:
    parts = Parts(tmp_path, private_store.url)
    await parts.store.prepare()

    async def killed() -> None:
        await asyncio.to_thread(private_store.kill)
        await asyncio.sleep(1)  # signs of life fail meanwhile: no reason to stop
        raise UserError("upload_broken", "gone")

    with pytest.raises(UserError, match="gone"):
        await parts.create(killed)
    await asyncio.to_thread(private_store.restart)
    for _ in range(20):  # the client finds the store again
        try:
            assert await parts.store.collection.count_documents({"state": "importing"}) == 1
            break
        except OUTAGES:
            await asyncio.sleep(0.5)
    parts.clock.ahead = timedelta(seconds=60)
    await parts.cleaner.round()
    await parts.nothing_is_left()
    parts.connection.close()
    parts.workspace.close()


async def test_indexes_in_memory_are_bounded(parts: Parts) -> None:
    one, two = await parts.created("d1"), await parts.created("d2")
    browsing = Browsing(parts.store, parts.artifacts, parts.workspace, most=30)
    first = await browsing.look(one)
    assert first.pictures.weight == 24
    assert await browsing.look(one) is first
    await browsing.look(two)
    assert await browsing.look(one) is not first  # the other one took its place
    assert (await browsing.look(one)).pictures == first.pictures


async def test_whoever_asks_first_may_go(parts: Parts) -> None:
    one = await parts.created("d1")
    browsing = Browsing(parts.store, parts.artifacts, parts.workspace)
    asking = [asyncio.create_task(browsing.look(one)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    assert (await asking[1]) is (await asking[2])
    with pytest.raises(asyncio.CancelledError):
        await asking[0]


async def test_a_dataset_that_is_deleted_while_its_pictures_are_indexed(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await parts.created("d1")
    parts.artifacts.delete(index.prefix("d1"))
    publish = parts.artifacts.publish

    async def delete() -> None:
        assert await parts.store.delete("demo", "d1")
        await asyncio.to_thread(parts.artifacts.delete, prefix("d1"))

    def published(*args: object) -> object:
        asyncio.run_coroutine_threadsafe(delete(), loop).result(5)
        return publish(*args)  # type: ignore[arg-type]

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(parts.artifacts, "publish", published)
    with pytest.raises(NotFound):
        await Browsing(parts.store, parts.artifacts, parts.workspace).look(one)
    assert parts.artifacts.folders(prefix("d1")) == []
    assert [path.name for path in parts.workspace.path.iterdir()] == ["lock"]


async def test_a_deleted_dataset_is_not_found_rather_than_unreadable(parts: Parts) -> None:
    one = await parts.created("d1")
    assert await parts.store.delete("demo", "d1")
    await asyncio.to_thread(parts.artifacts.delete, prefix("d1"))
    with pytest.raises(NotFound):
        await Browsing(parts.store, parts.artifacts, parts.workspace).look(one)


async def test_indexing_ends_when_the_service_stops(parts: Parts) -> None:
    one = await parts.created("d1")
    parts.artifacts.delete(index.prefix("d1"))
    await parts.store.collection.update_one({"_id": "d1"}, {"$unset": {"indexed": ""}})
    browsing = Browsing(parts.store, parts.artifacts, parts.workspace)
    await browsing.stop()
    with pytest.raises(UserError) as caught:
        await browsing.look(one)
    assert (caught.value.code, caught.value.status) == ("files_unreadable", 503)
    await browsing.catch_up()
    assert [view.id for view in await parts.store.unindexed()] == ["d1"]
    again = Browsing(parts.store, parts.artifacts, parts.workspace)
    await again.catch_up()
    assert await parts.store.unindexed() == []
    assert (await parts.store.view("demo", "d1")) == one
