"""The artifact store on a disk and on an object store (in memory): a folder exists when its manifest does."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest

from shared.runtime.artifacts import MANIFEST, Artifacts, Corrupt

PREFIX = "jobs/j1/checkpoints/00000100-a1"
CONTENT = {"model.bin": b"weights" * 1000, "state.json": b'{"step": 100}', "empty": b""}


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/store" if request.param == "file" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def store(url: str) -> Artifacts:
    return Artifacts(url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled(tmp_path / "source")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def filled(folder: Path, content: dict[str, bytes] | None = None) -> Path:
    folder.mkdir()
    for name, data in (content or CONTENT).items():
        (folder / name).write_bytes(data)
    return folder


def overwrite(url: str, path: str, data: bytes) -> None:
    """Change a file behind the store's back."""
    fs, root = fsspec.core.url_to_fs(url)
    fs.pipe_file(f"{root}/{path}", data)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_published_is_fetched(store: Artifacts, folder: Path, cache: Path) -> None:
    manifest = store.publish(PREFIX, folder, {"step": 100})
    assert store.find(PREFIX) == store.manifest(PREFIX) == manifest
    assert manifest.meta == {"step": 100}
    assert [(file.name, file.bytes) for file in manifest.files] == [
        ("empty", 0),
        ("model.bin", 7000),
        ("state.json", 13),
    ]
    assert manifest.file("model.bin") == manifest.files[1]
    assert manifest.file("other") is None
    fetched = store.fetch(PREFIX, cache)
    assert fetched == cache / PREFIX
    assert files(fetched) == CONTENT


def test_what_is_not_there_is_not_found(store: Artifacts, cache: Path) -> None:
    assert store.find(PREFIX) is None
    assert store.folders("jobs") == []
    with pytest.raises(Corrupt, match="no readable manifest"):
        store.manifest(PREFIX)
    with pytest.raises(Corrupt, match="no readable manifest"):
        store.fetch(PREFIX, cache)
    with pytest.raises(FileNotFoundError):
        store.open(PREFIX, "model.bin")
    with pytest.raises(FileNotFoundError):
        list(store.chunks(PREFIX, "model.bin"))
    store.delete(PREFIX)


def test_what_is_published_never_changes(store: Artifacts, folder: Path, tmp_path: Path, cache: Path) -> None:
    first = store.publish(PREFIX, folder, {"by": "first"})
    other = filled(tmp_path / "other", {"model.bin": b"something else"})
    assert store.publish(PREFIX, other, {"by": "second"}) == first
    assert files(store.fetch(PREFIX, cache)) == CONTENT


def test_a_manifest_or_a_folder_in_the_source_is_not_published(store: Artifacts, folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"not ours")
    (folder / "deeper").mkdir()
    manifest = store.publish(PREFIX, folder)
    assert [file.name for file in manifest.files] == sorted(CONTENT)
    assert store.find(PREFIX) == manifest


def test_only_complete_folders_are_listed(url: str, store: Artifacts, folder: Path) -> None:
    for name in ("00000200-a1", "00000100-a1"):
        store.publish(f"jobs/j1/checkpoints/{name}", folder)
    overwrite(url, "jobs/j1/checkpoints/00000300-a1/model.bin", b"no manifest yet") if url.startswith(
        "memory"
    ) else None
    assert store.folders("jobs/j1/checkpoints") == ["00000100-a1", "00000200-a1"]
    assert store.folders("jobs") == []


def test_a_second_fetch_copies_only_what_is_missing_or_changed(
    url: str, store: Artifacts, folder: Path, cache: Path
) -> None:
    store.publish(PREFIX, folder)
    fetched = store.fetch(PREFIX, cache)
    stamp = (fetched / "model.bin").stat().st_ino
    (fetched / "state.json").write_bytes(b'{"step": 999}')  # same size, other content
    (fetched / "empty").unlink()
    assert files(store.fetch(PREFIX, cache)) == CONTENT
    assert (fetched / "model.bin").stat().st_ino == stamp


@pytest.mark.parametrize("data", [b"weights" * 999 + b"weirdos", b"", b"weights" * 1001])
def test_a_changed_file_is_corrupt_and_never_reaches_the_cache(
    url: str, store: Artifacts, folder: Path, cache: Path, data: bytes
) -> None:
    store.publish(PREFIX, folder)
    overwrite(url, f"{PREFIX}/model.bin", data)
    with pytest.raises(Corrupt, match=r"model\.bin doesn't match its checksum"):
        store.fetch(PREFIX, cache)
    assert set(files(cache / PREFIX)) == {"empty"}


def test_a_lost_file_is_corrupt(url: str, store: Artifacts, folder: Path, cache: Path) -> None:
    store.publish(PREFIX, folder)
    fs, root = fsspec.core.url_to_fs(url)
    fs.rm_file(f"{root}/{PREFIX}/model.bin")
    with pytest.raises(Corrupt, match=r"model\.bin is in the manifest but not in the store"):
        store.fetch(PREFIX, cache)
    assert set(files(cache / PREFIX)) == {"empty"}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"files": [{"name": "\xff"}]}'])
def test_an_unreadable_manifest_is_corrupt(url: str, store: Artifacts, folder: Path, data: bytes) -> None:
    store.publish(PREFIX, folder)
    overwrite(url, f"{PREFIX}/{MANIFEST}", data)
    for look in (store.manifest, store.find):
        with pytest.raises(Corrupt, match="no readable manifest"):
            look(PREFIX)
    with pytest.raises(Corrupt):
        store.publish(PREFIX, folder)


@pytest.mark.parametrize("name", ["../../escaped", "/etc/passwd", "a/b", "", ".", ".."])
def test_a_manifest_cannot_name_files_elsewhere(
    url: str, store: Artifacts, folder: Path, cache: Path, name: str
) -> None:
    store.publish(PREFIX, folder)
    overwrite(url, f"{PREFIX}/{MANIFEST}", b'{"files": [{"name": "%s", "bytes": 1, "sha256": "x"}]}' % name.encode())
    with pytest.raises(Corrupt, match="the file name"):
        store.fetch(PREFIX, cache)
    assert not cache.exists()


@pytest.mark.parametrize(
    "prefix", ["", ".", "..", "../x", "jobs/../../x", "/etc", "jobs//x", "jobs/./x", "jobs/x/", "a\0b"]
)
def test_no_prefix_leads_out_of_the_store_or_to_the_whole_of_it(
    store: Artifacts, folder: Path, cache: Path, prefix: str
) -> None:
    store.publish("datasets/d1", folder)
    for call in (
        lambda: store.publish(prefix, folder),
        lambda: store.manifest(prefix),
        lambda: store.find(prefix),
        lambda: store.fetch(prefix, cache),
        lambda: store.folders(prefix),
        lambda: store.open(prefix, "model.bin"),
        lambda: store.open("datasets/d1", prefix),
        lambda: store.delete(prefix),
    ):
        with pytest.raises(ValueError, match="not a path inside the store"):
            call()
    assert store.folders("datasets") == ["d1"]


def test_files_are_read_in_pieces_and_by_position(store: Artifacts, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    store.publish(PREFIX, filled(tmp_path / "big", {"model.tflite": data}))
    pieces = list(store.chunks(PREFIX, "model.tflite"))
    assert [len(piece) for piece in pieces] == [1 << 20, 1 << 20, len(data) - (2 << 20)]
    assert b"".join(pieces) == data
    with store.open(PREFIX, "model.tflite") as file:
        file.seek(1000)
        assert file.read(3) == data[1000:1003]


def test_a_range_of_a_file(store: Artifacts, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10
    store.publish(PREFIX, filled(tmp_path / "big", {"model.tflite": data}))
    assert store.read(PREFIX, "model.tflite", 1000, 300) == data[1000:1300]
    assert store.read(PREFIX, "model.tflite", len(data) - 1, 1) == data[-1:]
    with pytest.raises(Corrupt, match="ends before byte 2561"):
        store.read(PREFIX, "model.tflite", len(data) - 1, 2)
    with pytest.raises(Corrupt, match="not in the store"):
        store.read(PREFIX, "other.tflite", 0, 1)


def test_a_deleted_folder_is_gone_with_all_below_it(store: Artifacts, folder: Path) -> None:
    store.publish("jobs/j1/model", folder)
    store.publish("jobs/j1/checkpoints/00000100-a1", folder)
    store.publish("jobs/j2/model", folder)
    store.delete("jobs/j1/model")
    assert store.find("jobs/j1/model") is None
    store.delete("jobs/j1")
    assert store.folders("jobs/j1/checkpoints") == []
    assert store.find("jobs/j2/model") is not None
    store.delete("jobs/j1")


def test_a_deletion_that_is_cut_short_leaves_no_folder(
    store: Artifacts, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(PREFIX, folder)

    def cut(*_: Any, **__: Any) -> None:
        raise ConnectionError("the machine went away")

    with monkeypatch.context() as patch:
        patch.setattr(store._fs, "rm", cut)
        with pytest.raises(ConnectionError):
            store.delete(PREFIX)
    assert store.find(PREFIX) is None
    assert store.publish(PREFIX, folder).files
    assert store.find(PREFIX) is not None


def test_a_store_that_can_be_written_is_well(store: Artifacts, folder: Path) -> None:
    store.check()
    store.publish("datasets/d1", folder)
    store.check()
    assert store.folders("datasets") == ["d1"]


class TestOnADisk:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / "store"

    @pytest.fixture
    def store(self, root: Path) -> Artifacts:
        return Artifacts(f"file://{root}")

    def test_what_cannot_be_written_is_not_well(self, root: Path, store: Artifacts) -> None:
        root.write_bytes(b"a file where the folder should be")
        with pytest.raises(OSError, match="store"):
            store.check()

    @pytest.mark.parametrize("crash_at", range(6))
    def test_a_crash_at_any_moment_leaves_all_or_nothing(
        self, crash_at: int, root: Path, store: Artifacts, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A power cut before the n-th sync: three files, the manifest, the folder, its parents."""
        syncs = 0

        def power_cut(_: object) -> None:
            nonlocal syncs
            syncs += 1
            if syncs > crash_at:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", power_cut)
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a dead process tidies nothing
            with pytest.raises(KeyboardInterrupt):
                store.publish(PREFIX, folder)
        renamed = crash_at >= 5
        assert (store.find(PREFIX) is not None) == renamed
        assert store.folders("jobs/j1/checkpoints") == ([PREFIX.rpartition("/")[2]] if renamed else [])
        store.publish(PREFIX, folder)
        assert files(store.fetch(PREFIX, cache)) == CONTENT

    def test_a_failed_publication_leaves_nothing_behind(
        self, root: Path, store: Artifacts, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.publish(PREFIX, folder)
        assert files(root) == {}
        assert list((root / PREFIX).parent.iterdir()) == []

    def test_another_failure_of_the_rename_is_told(
        self, store: Artifacts, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "rename", refuse)
        with pytest.raises(PermissionError):
            store.publish(PREFIX, folder)

    def test_leftovers_without_a_manifest_are_replaced(
        self, root: Path, store: Artifacts, folder: Path, cache: Path
    ) -> None:
        (root / PREFIX).mkdir(parents=True)
        (root / PREFIX / "model.bin").write_bytes(b"half")
        assert store.find(PREFIX) is None
        store.publish(PREFIX, folder)
        assert files(store.fetch(PREFIX, cache)) == CONTENT

    def test_a_quicker_publisher_wins(
        self, store: Artifacts, folder: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = filled(tmp_path / "other", {"model.bin": b"slower"})
        quicker = store.publish(PREFIX, folder, {"by": "quicker"})
        monkeypatch.setattr(store, "find", lambda _: None)  # it looked before the other was done
        assert store.publish(PREFIX, other, {"by": "slower"}) == quicker
        assert files(store.fetch(PREFIX, cache)) == CONTENT


class TestOnAnObjectStore:
    @pytest.mark.parametrize("crash_at", range(4))
    def test_a_crash_between_files_leaves_nothing_that_exists(
        self, crash_at: int, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = Artifacts(f"memory://{uuid.uuid4().hex}")
        put, puts = store._fs.put_file, 0

        def put_or_die(*args: Any, **kwargs: Any) -> None:
            nonlocal puts
            puts += 1
            if puts > crash_at:
                raise ConnectionError("the machine went away")
            put(*args, **kwargs)

        def die(*_: object, **__: object) -> None:
            raise ConnectionError("the machine went away")

        with monkeypatch.context() as patch:
            patch.setattr(store._fs, "put_file", put_or_die)
            patch.setattr(store._fs, "pipe_file", die)
            with pytest.raises(ConnectionError):
                store.publish(PREFIX, folder)
        assert store.find(PREFIX) is None
        assert store.folders("jobs/j1/checkpoints") == []
        store.publish(PREFIX, folder)
        assert files(store.fetch(PREFIX, cache)) == CONTENT


@pytest.mark.parametrize("failure", [ConnectionError("the store went away"), KeyboardInterrupt()], ids=type)
def test_a_fetch_that_breaks_off_leaves_no_half_file(
    failure: BaseException, store: Artifacts, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(PREFIX, folder)

    def half(_: str, to: str) -> None:
        Path(to).write_bytes(b"hal")
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(store._fs, "get_file", half)
        with pytest.raises(type(failure)):
            store.fetch(PREFIX, cache)
    assert files(cache) == {}
    assert files(store.fetch(PREFIX, cache)) == CONTENT
