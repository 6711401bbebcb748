"""What fake trainers leave behind: a journal of each one's doings, and the checkpoints of all jobs.

Owns the lines, the files and how they are read again. Knows no bus and no job but by its id.
"""

from __future__ import annotations

import os
import uuid
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from services.trainer.domain import CheckpointName, resume_order

Kind = Literal["begun", "steps", "saved", "over"]


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a journal. `begun`: resumed from `last`. `steps`: made `first` to `last` from `start` to `end`, `held` if the
    lease still held then. `saved`: `last` is durable. `over`: with that outcome, `last` reached. Times are the machine's
    monotonic clock, which all its processes share."""

    kind: Kind
    trainer: str
    job: str
    attempt: int
    last: int
    first: int = 0
    start: float = 0.0
    end: float = 0.0
    held: bool = True
    outcome: str = ""


class Journal:
    """Append-only; whole lines that outlive a kill of this process, and from one `sync` to the next the machine's too."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, note: Note) -> None:
        """Add a line."""
        os.write(self._file, msgspec.json.encode(note) + b"\n")

    def sync(self) -> None:
        """Returns once it is on the disk."""
        os.fsync(self._file)


def notes(folder: Path) -> list[Note]:
    """All lines of all journals under a shared folder; those of one trainer are in order."""
    lines = (line for path in sorted((folder / "journal").glob("*")) for line in path.read_bytes().splitlines())
    return [msgspec.json.decode(line, type=Note) for line in lines]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint. `seconds` of stepping are those of all attempts up to it."""

    step: int
    attempt: int
    seconds: float
    saved_at: datetime


class Points:
    """The checkpoints of one job. All calls block."""

    def __init__(self, folder: Path, job_id: str) -> None:
        self._folder = folder / "checkpoints" / job_id

    def newest(self) -> Point | None:
        """Where to resume from."""
        names = resume_order(path.name for path in self._folder.glob("*"))
        return None if not names else msgspec.json.decode((self._folder / str(names[0])).read_bytes(), type=Point)

    def save(self, point: Point) -> None:
        """It exists once this returns, or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = self._folder / f".aside-{uuid.uuid4().hex}"
        with aside.open("wb") as file:
            file.write(msgspec.json.encode(point))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self._folder / str(CheckpointName(point.step, point.attempt)))
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
