"""What fake trainers leave behind: a journal of each one's doings, and the checkpoints of all jobs.

Owns the lines, the files and how they are read again. Knows no bus and no job but by its id.
"""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from services.trainer.domain import CheckpointName, resume_order

Kind = Literal["begun", "steps", "saved", "over"]
# Ends at which the last step was saved.
_IN_ORDER = frozenset({"succeeded", "stopped", "drained"})


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


def contradictions(folder: Path, accepted: Collection[tuple[str, int]], *, patience: float) -> list[str]:
    """What journals and checkpoints under `folder` tell that can't be right, in plain words; none is the rule.

    An attempt is one trainer's. Of the attempts at a job that the scheduler has `accepted` (job id, attempt: it heard of their
    first step in time) no two make steps at the same time, as far as their leases held; each goes on from the newest checkpoint
    that an earlier one left. One that ended in good order left its last step, so that nothing is made twice but what came
    after the last checkpoint of a trainer that was killed, cut off or let go. An attempt that nobody accepted, because its
    assignment came too late, is over within `patience` seconds.
    """
    found: list[str] = []
    attempts: dict[str, dict[int, list[Note]]] = defaultdict(lambda: defaultdict(list))
    for note in notes(folder):
        attempts[note.job][note.attempt].append(note)
    for job, by_number in attempts.items():
        points = {CheckpointName.parse(path.name) for path in (folder / "checkpoints" / job).glob("*")}
        idle_since, saved, ended_at = 0.0, 0, 0
        for number, made in sorted(by_number.items()):
            who = f"job {job}, attempt {number} of {made[0].trainer}"
            if len({note.trainer for note in made}) > 1:
                found.append(f"{who}: another trainer made it, too: {sorted({note.trainer for note in made})}")
            steps = [note for note in made if note.kind == "steps" and note.held]
            if (job, number) not in accepted:
                if steps and steps[-1].end - steps[0].start > patience:
                    found.append(f"{who}: nobody had accepted it, but it went on to step {steps[-1].last}")
                continue
            begun = next(note for note in made if note.kind == "begun")
            earlier = {0} | {point.step for point in points if point is not None and point.attempt < number}
            if begun.last not in earlier or begun.last < max(saved, ended_at):
                found.append(f"{who}: goes on from {begun.last}; saved were {sorted(earlier)}, {saved}, {ended_at}")
            reached = begun.last
            for note in steps:
                if note.first != reached + 1:
                    found.append(f"{who}: step {note.first} after {reached}")
                if note.start < idle_since:
                    found.append(
                        f"{who}: step {note.first} {idle_since - note.start:.3f} s before an earlier attempt's"
                    )
                reached = note.last
            idle_since = max([idle_since, *(note.end for note in steps)])
            saved = max([saved, *(note.last for note in made if note.kind == "saved")])
            over = next((note for note in made if note.kind == "over"), None)
            ended_at = over.last if over is not None and over.outcome in _IN_ORDER else 0
    return found
