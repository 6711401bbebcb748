"""Datasets and starting weights as local files: a bounded cache in front of the artifact store.

Owns WORK_DIR/cache: what is fetched into it and what makes way. Folders in use are never removed; of the others the one
used longest ago goes first. The order survives a restart, as it is kept in the folders' own times.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from services.trainer.patience import Patience
from shared.runtime import log
from shared.runtime.artifacts import Artifacts
from shared.runtime.locks import KeyedLocks


class DatasetCache:
    """One a trainer. `limit_bytes` bounds what lies there unused: a job gets all that it needs even when that is more."""

    def __init__(self, artifacts: Artifacts, folder: Path, limit_bytes: int, patience: Patience) -> None:
        self._artifacts = artifacts
        self._folder = folder
        self._limit = limit_bytes
        self._patience = patience
        self._users: Counter[str] = Counter()
        self._fetching = KeyedLocks()
        # Held while folders are removed: a fetch of the same folder waits for that, then begins afresh.
        self._room = threading.Lock()
        self._log = log.get("cache")

    @asynccontextmanager
    async def use(self, prefix: str) -> AsyncIterator[Path]:
        """The folder `prefix` as local files, checked, there for as long as the context lasts.

        Raises Corrupt, and StoreUnavailable."""
        self._users[prefix] += 1
        try:
            async with self._fetching.hold(prefix):
                folder = await self._patience.call(partial(self._fetch, prefix))
            yield folder
        finally:
            self._users[prefix] -= 1

    def _fetch(self, prefix: str) -> Path:
        manifest = self._artifacts.manifest(prefix)
        self._make_room(prefix, sum(file.bytes for file in manifest.files))
        folder = self._artifacts.fetch(prefix, self._folder)
        os.utime(folder)
        return folder

    def _make_room(self, prefix: str, needed: int) -> None:
        """Remove unused folders, the one used longest ago first, until `needed` bytes for `prefix` fit under the limit."""
        with self._room:
            sizes = {path: _size(path) for path in self._folders()}
            sizes.pop(self._folder / prefix, None)
            total = sum(sizes.values())
            for path in sorted(sizes, key=lambda path: path.stat().st_mtime):
                if total + needed <= self._limit:
                    return
                if self._users[path.relative_to(self._folder).as_posix()] == 0:
                    shutil.rmtree(path)
                    total -= sizes[path]
                    self._log.info("cache.evicted", folder=str(path), bytes=sizes[path])
            if total + needed > self._limit:
                self._log.warning("cache.over_limit", bytes=total + needed, limit=self._limit)

    def _folders(self) -> list[Path]:
        """All folders that hold files: prefixes have several parts."""
        return [Path(top) for top, _, files in os.walk(self._folder) if files]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
