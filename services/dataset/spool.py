"""Scaled pictures on disk between being read and being dealt into shards.

Owns one temporary file. The split needs to have seen all pictures, and memory can't hold them.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from services.dataset.frames import Frame


class Spool:
    """Encoded pictures by name; a context manager that removes the file at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b")
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink()

    def add(self, name: str, data: bytes) -> None:
        """Keep one picture."""
        self._places[name] = (self._file.tell(), len(data))
        self._file.write(data)

    def get(self, frame: Frame) -> bytes:
        """The picture of a frame that was added."""
        offset, size = self._places[frame.name]
        self._file.seek(offset)
        return self._file.read(size)

    def size(self, frames: list[Frame]) -> int:
        """Bytes of these pictures together."""
        return sum(self._places[frame.name][1] for frame in frames)
