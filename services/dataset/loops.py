"""The duty in the background: removing what nobody needs any more.

Owns the order (files first, then the document that remembers them), so that a crash between the two is made good the next time.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from services.dataset.domain import prefix
from services.dataset.store import DatasetStore, Reservation
from shared.runtime import log
from shared.runtime.artifacts import Artifacts
from shared.runtime.clock import Clock


class Cleaner:
    """Removes files of deleted datasets and of imports that failed or whose importer died; `silence` is how long one may
    give no sign of life."""

    def __init__(self, store: DatasetStore, artifacts: Artifacts, clock: Clock, silence: timedelta) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock
        self._silence = silence
        self._log = log.get("cleaner")

    async def round(self) -> None:
        """See the class."""
        for reservation in await self._store.silent_imports(self._clock.now() - self._silence):
            if await self._store.abandon(reservation):
                self._log.warning("import.abandoned", dataset=reservation.id)
        for reservation in await self._store.abandoned():
            await self.remove(reservation)
        for dataset_id in await self._store.to_purge():
            await asyncio.to_thread(self._artifacts.delete, prefix(dataset_id))
            await self._store.purged(dataset_id, self._clock.now())
            self._log.info("dataset.purged", dataset=dataset_id)

    async def remove(self, reservation: Reservation) -> None:
        """Remove what an abandoned import left."""
        await asyncio.to_thread(self._artifacts.delete, prefix(reservation.id))
        await self._store.forget(reservation)
