"""One stack per data folder: the lock that a running stack holds, and what it tells others about itself.

The kernel drops the lock with its holder, so a stack that was killed leaves nothing stale behind.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

_TRIES = 10


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A running stack: the process to tell, the page's address, and whether all is up."""

    pid: int
    url: str
    ready: bool


class AlreadyRunning(Exception):
    """Another stack holds the lock."""

    def __init__(self, running: Running | None) -> None:
        super().__init__("already running")
        self.running = running


class StackLock:
    """The held lock."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def tell(self, running: Running) -> None:
        """Write what others may know, over what was there."""
        text = msgspec.json.encode(running)
        os.pwrite(self._file.fileno(), text, 0)
        os.ftruncate(self._file.fileno(), len(text))


@contextmanager
def hold(data: Path, url: str) -> Iterator[StackLock]:
    """Hold the data folder's lock for a stack whose page is at `url`; raises AlreadyRunning."""
    with _open(data) as file:
        # Whoever looks whether a stack runs holds the lock for an instant, so one refusal proves nothing.
        for tries_left in reversed(range(_TRIES)):
            if _locked(file):
                break
            if not tries_left:
                raise AlreadyRunning(_decode(file.read()))
            time.sleep(0.05)
        lock = StackLock(file)
        lock.tell(Running(pid=os.getpid(), url=url, ready=False))
        yield lock


def running_stack(data: Path) -> Running | None:
    """The stack that runs on this data folder, or None."""
    if not data.is_dir():
        return None
    with _open(data) as file:
        return None if _locked(file) else _decode(file.read())


def _open(data: Path) -> IO[bytes]:
    return open(os.open(data / "stack.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+b")


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _decode(text: bytes) -> Running | None:
    try:
        return msgspec.json.decode(text, type=Running)
    except msgspec.DecodeError:  # held for an instant by somebody who only looks
        return None
