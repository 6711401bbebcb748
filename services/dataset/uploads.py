"""Uploads that arrive piece by piece and survive a broken connection: files on disk until they are imported or expire.

Owns the folder: per upload a file with the bytes so far, whose size is the offset, and one that says whose it is and how
long it will be. Locks are the kernel's and go with their holder. Calls block. What is said on the wire is tus.py's.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import msgspec

from shared.contract.errors import KeyReused, NotFound, UserError

_CHUNK_BYTES = 1 << 20
_RETRY_AFTER = 2
_ABOUT, _BYTES = ".json", ".part"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What an upload is: `length` bytes of `team`'s; `metadata` is the client's own word, as it was sent."""

    id: str
    team: str
    length: int
    metadata: str = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an upload is: `offset` bytes are here; it is removed at `expires` unless more comes."""

    about: About
    offset: int
    expires: datetime


class Uploads:
    """Unfinished uploads, and finished ones that are not imported yet; each lives for `lifetime` after its last byte."""

    def __init__(self, folder: Path, *, lifetime: timedelta, max_bytes: int, per_team: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lifetime = lifetime
        self.max_bytes = max_bytes
        self._per_team = per_team
        self._creating = threading.Lock()

    def create(self, team: str, upload_id: str, length: int, metadata: str) -> Progress:
        """Begin an upload, or find it as far as it is where that was done before.

        Raises UserError archive_too_large, too_many_uploads, idempotency_key_reused (another upload has that id).
        """
        if length > self.max_bytes:
            message = f"The file has {length:,} bytes; at most {self.max_bytes:,} are allowed."
            details = {"bytes": length, "limit": self.max_bytes}
            raise UserError("archive_too_large", message, "Upload-Length", status=413, details=details)
        about = About(id=upload_id, team=team, length=length, metadata=metadata)
        with self._creating:
            if self._path(upload_id, _ABOUT).exists():
                return self._begun(about)
            mine = sum(about.team == team for about in self._all())
            if mine >= self._per_team:
                message = f"Your team has {mine} uploads under way, the most that it may have. Finish or cancel one."
                raise UserError("too_many_uploads", message, status=409, details={"limit": self._per_team})
            self._path(about.id, _BYTES).touch()
            aside = self._path(about.id, ".aside")
            aside.write_bytes(msgspec.json.encode(about))
            aside.rename(self._path(about.id, _ABOUT))
        return self.find(team, about.id)

    def _begun(self, about: About) -> Progress:
        progress = self.find(about.team, about.id)
        if progress.about != about:
            raise KeyReused("upload")
        return progress

    def find(self, team: str, upload_id: str) -> Progress:
        """A team's upload. Raises NotFound."""
        try:
            about = msgspec.json.decode(self._path(upload_id, _ABOUT).read_bytes(), type=About)
            state = self._path(upload_id, _BYTES).stat()
        except FileNotFoundError as error:
            raise NotFound("upload", upload_id) from error
        if about.team != team:
            raise NotFound("upload", upload_id)
        expires = datetime.fromtimestamp(state.st_mtime, UTC) + self._lifetime
        return Progress(about=about, offset=state.st_size, expires=expires)

    @contextmanager
    def appending(self, team: str, upload_id: str, offset: int) -> Iterator[BinaryIO]:
        """The file to append to, which nobody else has meanwhile.

        Raises NotFound, UserError upload_busy (423) and, unless `offset` is where it ends, upload_offset (409).
        """
        with self._locked(team, upload_id) as file:
            there = self.find(team, upload_id).offset
            if offset != there:
                message = f"Upload-Offset is {offset:,}, but {there:,} bytes are here."
                raise UserError("upload_offset", message, "Upload-Offset", status=409, details={"offset": there})
            file.seek(offset)
            yield file

    def pieces(self, team: str, upload_id: str) -> Iterator[bytes]:
        """The bytes of a finished upload. Raises NotFound, UserError upload_busy, upload_incomplete (409)."""
        with self._locked(team, upload_id) as file:
            progress = self.find(team, upload_id)
            if progress.offset != progress.about.length:
                message = f"Only {progress.offset:,} of {progress.about.length:,} bytes of the upload are here."
                raise UserError("upload_incomplete", message, "upload", status=409)
            while piece := file.read(_CHUNK_BYTES):
                yield piece

    def remove(self, team: str, upload_id: str) -> None:
        """Remove an upload with all that came of it. Raises NotFound, UserError upload_busy."""
        with self._locked(team, upload_id):
            self._drop(upload_id)

    def clean(self, now: datetime) -> list[str]:
        """Remove what has expired, but for uploads that somebody is at; their ids."""
        removed = []
        for path in self._folder.glob(f"*{_BYTES}"):
            with suppress(FileNotFoundError, BlockingIOError), path.open("r+b") as file:
                if datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC) + self._lifetime > now:
                    continue
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._drop(path.stem)
                removed.append(path.stem)
        return removed

    @contextmanager
    def _locked(self, team: str, upload_id: str) -> Iterator[BinaryIO]:
        self.find(team, upload_id)
        try:
            file = self._path(upload_id, _BYTES).open("r+b")
        except FileNotFoundError as error:  # removed just now
            raise NotFound("upload", upload_id) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                message = "Another request is at this upload. Try again in a moment."
                raise UserError("upload_busy", message, status=423, retry_after=_RETRY_AFTER) from error
            yield file

    def _drop(self, upload_id: str) -> None:
        for suffix in (_ABOUT, ".aside", _BYTES):  # without the first it is nothing
            self._path(upload_id, suffix).unlink(missing_ok=True)

    def _all(self) -> Iterator[About]:
        for path in self._folder.glob(f"*{_ABOUT}"):
            with suppress(FileNotFoundError):
                yield msgspec.json.decode(path.read_bytes(), type=About)

    def _path(self, upload_id: str, suffix: str) -> Path:
        return self._folder / f"{upload_id}{suffix}"
