"""A process's own folder for uploads, and the removal of those that dead processes left.

Owns nothing but folders. Each process holds a lock on its folder's lock file; the kernel drops the lock with its holder, so
whatever isn't locked is stale. Calls block, for milliseconds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "process-"
_LOCK = "lock"


class Workspace:
    """A fresh folder below `root`, locked until `close`."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._remove_stale(root)
        # The lock is taken before the folder has its name: nobody may find it unlocked.
        nameless = Path(tempfile.mkdtemp(dir=root, prefix="."))
        self._lock = os.open(nameless / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = nameless.rename(root / f"{_PREFIX}{uuid.uuid4().hex}")

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

    @staticmethod
    def _remove_stale(root: Path) -> None:
        for folder in root.glob(f"{_PREFIX}*"):
            try:
                lock = os.open(folder / _LOCK, os.O_RDWR)
            except FileNotFoundError:  # another process that starts removes it just now
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # its process lives
                continue
            else:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
