"""A process's own folder for uploads, and the removal of those that dead processes left.

Owns nothing but folders. Each process holds a lock on its folder's lock file; the kernel drops the lock with its holder, so
whatever isn't locked is stale. Calls block, for milliseconds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "process-"
_LOCK = "lock"


class Workspace:
    """A fresh folder below `root`, locked until `close`."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / ".starting"):  # nobody may find the new folder before it is locked
            for folder in root.glob(f"{_PREFIX}*"):
                _remove_if_stale(folder)
            self.path = Path(tempfile.mkdtemp(dir=root, prefix=_PREFIX))
            self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder for one import, gone at the end."""
        path = Path(tempfile.mkdtemp(dir=self.path))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_if_stale(folder: Path) -> None:
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # its process lives
        return
    finally:
        os.close(lock)
    shutil.rmtree(folder, ignore_errors=True)
