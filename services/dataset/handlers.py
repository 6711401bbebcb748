"""Commands about datasets that exist: look, delete, compare, claim for a job.

Rules are domain.py's, guards are store.py's. Making datasets is imports.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.dataset import domain
from services.dataset.domain import Dataset
from services.dataset.store import DatasetStore
from shared.contract.api.datasets import Claim, Compatibility
from shared.contract.errors import NotFound
from shared.contract.views import DatasetView
from shared.runtime.clock import Clock


class Datasets:
    """The commands; `changed` is called when there is an event to publish."""

    def __init__(self, store: DatasetStore, clock: Clock, changed: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed

    async def get(self, team: str | None, dataset_id: str) -> Dataset:
        """A dataset of a team or (None) of whichever. Raises NotFound."""
        dataset = await self._store.find(team, dataset_id)
        if dataset is None:
            raise NotFound("dataset", dataset_id)
        return dataset

    async def delete(self, team: str, dataset_id: str) -> None:
        """Delete a dataset. Raises NotFound, UserError `dataset_in_use` with the names of the models that use it."""
        while not await self._store.delete(team, dataset_id):
            dataset = await self.get(team, dataset_id)
            if dataset.claims:
                raise domain.in_use(dataset)
        self._changed()

    async def compatibility(self, team: str, dataset_ids: Sequence[str]) -> Compatibility:
        """Whether datasets can be trained on together. Raises NotFound."""
        return domain.compatibility([(await self.get(team, dataset_id)).view for dataset_id in dataset_ids])

    async def claim(self, team: str, job_id: str, description: str, dataset_ids: Sequence[str]) -> list[DatasetView]:
        """Claim all the datasets for a job, in their order, or none. Claiming again is no error. Raises NotFound."""
        claim = Claim(job_id=job_id, description=description, claimed_at=self._clock.now())
        taken: list[str] = []
        views: list[DatasetView] = []
        for dataset_id in dict.fromkeys(dataset_ids):
            view = await self._store.claim(team, dataset_id, claim)
            if view is not None:
                taken.append(dataset_id)
            else:
                view = await self._store.view(team, dataset_id)
            if view is None:
                await self._store.release(team, job_id, taken)
                raise NotFound("dataset", dataset_id)
            views.append(view)
        return views
