"""The trainer's local side: cache, patience, threads that may be left behind, the log's tail, the work folder."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from services.trainer.app import WorkDirInUse, claim
from services.trainer.checkpoints import Checkpoints
from services.trainer.data import DatasetCache
from services.trainer.domain import CheckpointName, LeaseLost
from services.trainer.patience import Patience, StoreUnavailable
from services.trainer.supervisor import LOG_LINES, LogTail
from services.trainer.threads import abandonable
from shared.runtime.artifacts import Artifacts, Corrupt
from tests.support.trainer import put_checkpoint, put_dataset

NAMES = ("datasets/a", "datasets/b", "datasets/c")


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Three datasets of 200 bytes."""
    made = Artifacts((tmp_path / "artifacts").as_uri())
    for name in NAMES:
        put_dataset(made, tmp_path / "aside", name)
    return made


def cached(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "datasets").iterdir())


class TestCache:
    def cache(self, artifacts: Artifacts, folder: Path, limit: int) -> DatasetCache:
        return DatasetCache(artifacts, folder, limit, Patience(0, longest_call=30))

    async def used(self, cache: DatasetCache, folder: Path, prefix: str, moment: int) -> None:
        """Use a dataset; `moment` stands for when."""
        async with cache.use(prefix) as files:
            assert len(list(files.glob("*.tfrecord"))) == 2
        os.utime(folder / prefix, (moment, moment))

    async def test_what_was_used_longest_ago_makes_way(self, artifacts: Artifacts, tmp_path: Path) -> None:
        folder = tmp_path / "cache"
        cache = self.cache(artifacts, folder, 450)
        await self.used(cache, folder, "datasets/a", 1)
        await self.used(cache, folder, "datasets/b", 2)
        await self.used(cache, folder, "datasets/a", 3)
        await self.used(cache, folder, "datasets/c", 4)
        assert cached(folder) == ["a", "c"]
        # The order outlives the process.
        await self.used(self.cache(artifacts, folder, 450), folder, "datasets/b", 5)
        assert cached(folder) == ["b", "c"]

    async def test_what_is_in_use_stays_and_a_job_gets_what_it_needs(
        self, artifacts: Artifacts, tmp_path: Path
    ) -> None:
        folder = tmp_path / "cache"
        cache = self.cache(artifacts, folder, 250)
        async with cache.use("datasets/a"), cache.use("datasets/b"):
            assert cached(folder) == ["a", "b"]
        await self.used(cache, folder, "datasets/c", 1)
        assert cached(folder) == ["c"]

    async def test_two_jobs_share_a_dataset(self, artifacts: Artifacts, tmp_path: Path) -> None:
        cache = self.cache(artifacts, tmp_path / "cache", 0)
        async with cache.use("datasets/a") as first:
            async with cache.use("datasets/a") as second:
                assert first == second
            await self.used(cache, tmp_path / "cache", "datasets/b", 1)
            assert list(first.glob("*.tfrecord"))

    async def test_a_damaged_dataset_is_not_held(self, artifacts: Artifacts, tmp_path: Path) -> None:
        (tmp_path / "artifacts/datasets/a/train-00000-of-00001.tfrecord").write_bytes(b"other")
        cache = self.cache(artifacts, tmp_path / "cache", 0)
        with pytest.raises(Corrupt):
            async with cache.use("datasets/a"):
                pass
        await self.used(cache, tmp_path / "cache", "datasets/b", 1)
        assert cached(tmp_path / "cache") == ["a", "b"] or cached(tmp_path / "cache") == ["b"]


class TestPatience:
    async def test_a_failure_that_passes_is_not_seen(self) -> None:
        answers = iter([OSError("away"), OSError("still away"), "here"])

        def ask() -> str:
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            assert isinstance(answer, str)
            return answer

        assert await Patience(30, longest_call=30).call(ask) == "here"

    async def test_one_that_lasts_is_told_as_what_it_is(self) -> None:
        def ask() -> None:
            raise PermissionError("read-only store")

        with pytest.raises(StoreUnavailable, match="PermissionError: read-only store"):
            await Patience(0.1, longest_call=30).call(ask)

    @pytest.mark.parametrize("error", [Corrupt("damaged"), LeaseLost("over")])
    async def test_what_a_repetition_cannot_change_comes_at_once(self, error: Exception) -> None:
        calls = []

        def ask() -> None:
            calls.append(1)
            raise error

        with pytest.raises(type(error)):
            await Patience(30, longest_call=30).call(ask)
        assert len(calls) == 1

    async def test_one_that_gives_no_answer_is_given_up(self) -> None:
        release, calls = threading.Event(), []

        def ask() -> None:
            calls.append(1)
            release.wait(30)

        with pytest.raises(StoreUnavailable, match=r"gave no answer within 0\.1 s"):
            await Patience(30, longest_call=0.1).call(ask)
        assert len(calls) == 1
        release.set()

    async def test_a_time_limit_of_the_driver_s_own_is_a_failure_like_others(self) -> None:
        answers = iter([TimeoutError("slow"), None])

        def ask() -> str:
            if (error := next(answers)) is not None:
                raise error
            return "here"

        assert await Patience(30, longest_call=30).call(ask) == "here"

    async def test_a_cancellation_is_not_repeated(self) -> None:
        release = threading.Event()
        task = asyncio.create_task(Patience(30, longest_call=30).call(release.wait))
        await asyncio.sleep(0.05)
        task.cancel()
        begun = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - begun < 1
        release.set()


class TestThreads:
    async def test_gives_what_the_call_gives_or_raises(self) -> None:
        assert await abandonable(lambda: 7) == 7
        with pytest.raises(KeyError):
            await abandonable(lambda: os.environ["NO_SUCH_VARIABLE"])

    async def test_an_abandoned_call_ends_unheard(self) -> None:
        release, ended = threading.Event(), threading.Event()

        def call() -> None:
            release.wait(5)
            ended.set()
            raise OSError("nobody hears this")

        task = asyncio.create_task(abandonable(call))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        release.set()
        assert await asyncio.to_thread(ended.wait, 5)
        await asyncio.sleep(0.05)

    def test_a_loop_does_not_wait_for_it(self) -> None:
        release, ended = threading.Event(), threading.Event()

        def call() -> None:
            release.wait(5)
            ended.set()

        async def leave() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await abandonable(call)

        begun = time.monotonic()
        asyncio.run(leave())
        assert time.monotonic() - begun < 2
        release.set()
        assert ended.wait(5)
        # The thread finds its loop closed, and that is all.
        for thread in threading.enumerate():
            if thread.name == "abandonable":
                thread.join(5)


class TestLogTail:
    def test_keeps_the_last_lines_whatever_the_pieces(self) -> None:
        tail = LogTail(lines=3)
        assert tail.feed(b"one\ntw") == ["one"]
        assert tail.feed(b"o\r\nthree\rfour\n\nfi") == ["two", "three", "four"]
        assert tail.lines() == ["two", "three", "four", "fi"]

    def test_bounds_what_a_child_may_say(self) -> None:
        tail = LogTail()
        tail.feed(b"x" * 10_000 + b"\n" + b"\xff\n")
        for number in range(LOG_LINES - 1):
            tail.feed(b"%d\n" % number)
        tail.feed(b"y" * 3_000_000)
        lines = tail.lines()
        assert len(lines) == LOG_LINES
        assert max(map(len, lines)) == 500
        assert lines[0] == "0"


class TestCheckpoints:
    def test_a_manifest_that_describes_something_else_is_damage(self, artifacts: Artifacts, tmp_path: Path) -> None:
        prefix = put_checkpoint(artifacts, tmp_path / "aside", job="j1", step=5)
        checkpoints = Checkpoints(artifacts, "j1", 1)
        artifacts.publish("jobs/j1/checkpoints/00000009-a1", tmp_path / "artifacts" / prefix, {"step": "five"})
        with pytest.raises(Corrupt, match="doesn't describe a checkpoint"):
            checkpoints.fetch(CheckpointName(9, 1), tmp_path / "cache")
        meta = artifacts.manifest(prefix).meta
        artifacts.publish("jobs/j1/checkpoints/00000008-a1", tmp_path / "artifacts" / prefix, meta)
        with pytest.raises(Corrupt, match="describes 00000005-a1"):
            checkpoints.fetch(CheckpointName(8, 1), tmp_path / "cache")
        found, files = checkpoints.fetch(CheckpointName(5, 1), tmp_path / "cache")
        assert (found.name, [path.name for path in files.iterdir()]) == (CheckpointName(5, 1), ["ckpt.index"])
        assert checkpoints.evaluation(CheckpointName(5, 1)) is None

    def test_nothing_is_deleted_once_the_lease_is_gone(self, artifacts: Artifacts, tmp_path: Path) -> None:
        for step in (1, 2, 3):
            put_checkpoint(artifacts, tmp_path / "aside", job="j1", step=step)
        asked = []

        def require() -> None:
            asked.append(1)
            if len(asked) == 2:
                raise LeaseLost("over")

        checkpoints = Checkpoints(artifacts, "j1", 1)
        with pytest.raises(LeaseLost):
            checkpoints.prune(CheckpointName(3, 1), None, require)
        assert [name.step for name in checkpoints.names()] == [3, 2]


def test_a_work_folder_has_one_trainer(tmp_path: Path) -> None:
    first = claim(tmp_path / "work")
    with pytest.raises(WorkDirInUse, match="WORK_DIR"):
        claim(tmp_path / "work")
    os.close(first)
    os.close(claim(tmp_path / "work"))
