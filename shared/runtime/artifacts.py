"""The artifact store: folders of files under an fsspec URL, each with a checksum manifest.

Owns the law that a folder exists when its manifest does. On a local disk a folder is written aside, each file fsynced, and
renamed; on an object store the manifest is written last. Readers fetch into a local cache and check every file's SHA-256.
All calls block: run them with `asyncio.to_thread`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import msgspec
from fsspec.implementations.local import LocalFileSystem

MANIFEST = "manifest.json"
_CHUNK = 1 << 20
_ASIDE = ".aside-"


class ArtifactFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a folder, by its name in it."""

    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a published folder holds; `meta` is the publisher's own (JSON values)."""

    files: list[ArtifactFile]
    meta: dict[str, Any] = {}

    def file(self, name: str) -> ArtifactFile | None:
        """The file of that name, None if there is none."""
        return next((file for file in self.files if file.name == name), None)


class Corrupt(Exception):
    """A folder whose manifest is missing or unreadable, or a file that doesn't match it."""


class Artifacts:
    """Folders by prefix (`jobs/<id>/checkpoints/…`), relative to the store's URL."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._local = isinstance(self._fs, LocalFileSystem)

    def publish(self, prefix: str, folder: Path, meta: dict[str, Any] | None = None) -> Manifest:
        """Copy all files of `folder` (flat) to `prefix` and make them exist at once. Publishing an existing prefix again
        replaces nothing: its manifest is returned, as what has been announced never changes."""
        existing = self.find(prefix)
        if existing is not None:
            return existing
        sources = sorted(path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST)
        manifest = Manifest(files=[_describe(path) for path in sources], meta=meta or {})
        if self._local:
            return self._publish_by_rename(prefix, sources, manifest)
        for path in sources:
            self._fs.put_file(str(path), self._path(prefix, path.name))
        self._fs.pipe_file(self._path(prefix, MANIFEST), msgspec.json.encode(manifest))
        return manifest

    def manifest(self, prefix: str) -> Manifest:
        """What `prefix` holds. Raises Corrupt if there is no readable manifest."""
        try:
            manifest = msgspec.json.decode(self._fs.cat_file(self._path(prefix, MANIFEST)), type=Manifest)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corrupt(f"{prefix} has no readable manifest: {error}") from error
        for file in manifest.files:
            if "/" in file.name or file.name in ("", ".", ".."):
                raise Corrupt(f"{prefix} has a manifest with the file name {file.name!r}")
        return manifest

    def find(self, prefix: str) -> Manifest | None:
        """The manifest, or None where the folder doesn't exist (yet)."""
        return self.manifest(prefix) if self._fs.exists(self._path(prefix, MANIFEST)) else None

    def fetch(self, prefix: str, cache: Path) -> Path:
        """The folder as local files under `cache`, checked; copied only where they aren't there yet. Raises Corrupt."""
        manifest = self.manifest(prefix)
        target = cache / prefix
        target.mkdir(parents=True, exist_ok=True)
        for file in manifest.files:
            path = target / file.name
            if path.exists() and path.stat().st_size == file.bytes and _sha256(path) == file.sha256:
                continue
            aside = path.with_name(f"{_ASIDE}{uuid.uuid4().hex}")
            try:
                self._fs.get_file(self._path(prefix, file.name), str(aside))
                if _sha256(aside) != file.sha256:
                    raise Corrupt(f"{prefix}/{file.name} doesn't match its checksum")
                aside.rename(path)
            except FileNotFoundError as error:
                raise Corrupt(f"{prefix}/{file.name} is in the manifest but not in the store") from error
            finally:
                aside.unlink(missing_ok=True)
        return target

    def folders(self, prefix: str) -> list[str]:
        """Names of the complete folders directly under `prefix`, sorted."""
        try:
            listed = self._fs.ls(self._path(prefix), detail=False, refresh=True)
        except FileNotFoundError:
            return []
        names = (path.rstrip("/").rpartition("/")[2] for path in listed)
        return sorted(n for n in names if _ASIDE not in n and self._fs.exists(self._path(prefix, n, MANIFEST)))

    def open(self, prefix: str, name: str) -> BinaryIO:
        """A file of a folder for reading, seekable. Raises FileNotFoundError."""
        return cast(BinaryIO, self._fs.open(self._path(prefix, name), "rb"))

    def read(self, prefix: str, name: str, offset: int, length: int) -> bytes:
        """`length` bytes of a file from `offset` on, without reading what is before. Raises Corrupt where they aren't there."""
        try:
            data = self._fs.cat_file(self._path(prefix, name), start=offset, end=offset + length)
        except FileNotFoundError as error:
            raise Corrupt(f"{prefix}/{name} is not in the store") from error
        if len(data) != length:
            raise Corrupt(f"{prefix}/{name} ends before byte {offset + length}")
        return cast(bytes, data)

    def chunks(self, prefix: str, name: str) -> Iterator[bytes]:
        """A file's bytes in pieces of 1 MiB. Raises FileNotFoundError."""
        with self.open(prefix, name) as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def delete(self, prefix: str) -> None:
        """Remove a folder and all below it; its manifest first, so that it never half exists. Nothing there is no error."""
        manifest = self._path(prefix, MANIFEST)
        if self._fs.exists(manifest):
            self._fs.rm_file(manifest)
        if self._fs.exists(self._path(prefix)):
            self._fs.rm(self._path(prefix), recursive=True)

    def check(self) -> None:
        """Raises OSError unless the store can be written."""
        self._fs.makedirs(self._root, exist_ok=True)
        probe = self._path(f"{_ASIDE}{uuid.uuid4().hex}")
        self._fs.pipe_file(probe, b"")
        self._fs.rm_file(probe)

    def _publish_by_rename(self, prefix: str, sources: list[Path], manifest: Manifest) -> Manifest:
        root, target = Path(self._root), Path(self._path(prefix))
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f"{_ASIDE}{uuid.uuid4().hex}")
        aside.mkdir()
        try:
            for path in sources:
                with path.open("rb") as source, (aside / path.name).open("wb") as copy:
                    shutil.copyfileobj(source, copy, _CHUNK)
                    _sync(copy)
            with (aside / MANIFEST).open("wb") as file:
                file.write(msgspec.json.encode(manifest))
                _sync(file)
            _sync_folder(aside)
            if target.exists() and not (target / MANIFEST).exists():
                # Left by a deletion that was cut short, or by hand: without a manifest it is nothing.
                shutil.rmtree(target)
            try:
                aside.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return self.manifest(prefix)  # another publisher was quicker: what exists never changes
            for folder in (target.parent, *target.parent.parents):
                _sync_folder(folder)
                if folder == root:
                    break
            return manifest
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _path(self, *parts: str) -> str:
        # An empty prefix or a dot would name the store itself, and deleting that would delete everything.
        for part in parts:
            if not part.isprintable() or any(name in ("", ".", "..") for name in part.split("/")):
                raise ValueError(f"not a path inside the store: {part!r}")
        return "/".join([self._root.rstrip("/"), *parts])


def _describe(path: Path) -> ArtifactFile:
    return ArtifactFile(name=path.name, bytes=path.stat().st_size, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
