"""Showing what is in a dataset: its index, what it counts, the bytes of one picture.

Owns the indexes that are in memory, a bounded number of them, and the making of those that aren't there yet: of datasets
that were imported before there was one, or whose was lost. Who may look is http.py's.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import msgspec

from services.dataset import findings, index
from services.dataset.findings import Contents
from services.dataset.formats import tfrecord
from services.dataset.importer import ImportCancelled
from services.dataset.index import PictureIndex, Shard
from services.dataset.store import DatasetStore
from services.dataset.workspace import Workspace
from shared.contract.errors import NotFound, UserError
from shared.contract.views import DatasetView
from shared.runtime import log
from shared.runtime.artifacts import Artifacts, Corrupt

_UNREADABLE: tuple[type[Exception], ...] = (Corrupt, tfrecord.Broken, OSError, ImportCancelled)
_RETRY_AFTER = 5
# Pictures and boxes of all indexes in memory: some 50 MB.
_MOST_IN_MEMORY = 400_000


class Looked(NamedTuple):
    """A dataset's index and what it counts."""

    pictures: PictureIndex
    contents: Contents


class Jpeg(NamedTuple):
    """A picture's bytes and a word that is another one for other bytes."""

    data: bytes
    tag: str


class Browsing:
    """The datasets' contents."""

    def __init__(
        self, store: DatasetStore, artifacts: Artifacts, workspace: Workspace, *, most: int = _MOST_IN_MEMORY
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._workspace = workspace
        self._most = most
        self._known: OrderedDict[str, Looked] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Looked]] = {}
        self._making = asyncio.Semaphore(1)  # one at a time: it decodes every picture
        self._hopeless: set[str] = set()
        self._stopping = False
        self._log = log.get("browsing")

    async def stop(self) -> None:
        """Let the making of an index end soon."""
        self._stopping = True

    async def look(self, dataset: DatasetView) -> Looked:
        """What is in a dataset. Raises NotFound if it is gone meanwhile, UserError `files_unreadable` (503)."""
        known = self._known.get(dataset.id)
        if known is not None:
            self._known.move_to_end(dataset.id)
            return known
        task = self._loading.get(dataset.id)
        if task is None:
            # A task of its own: whoever asked first may go, and others wait for the same.
            task = self._loading[dataset.id] = asyncio.create_task(self._load(dataset))
            task.add_done_callback(partial(self._loaded, dataset.id))
        return await asyncio.shield(task)

    async def jpeg(self, dataset: DatasetView, number: int, *, thumb: bool) -> Jpeg:
        """The picture of that number, or its thumbnail. Raises NotFound and as `look`."""
        found = (await self.look(dataset)).pictures
        if not 0 <= number < len(found.pictures):
            raise NotFound("picture", str(number))
        picture = found.pictures[number]
        if thumb and picture.thumb is not None:
            folder, place, tag = index.prefix(dataset.id), picture.thumb, f"{picture.digest}-thumb"
        else:
            folder, place, tag = dataset.prefix, picture.picture, picture.digest
        try:
            data = await asyncio.to_thread(self._artifacts.read, folder, place.name, place.offset, place.length)
        except _UNREADABLE as error:
            self._known.pop(dataset.id, None)
            if isinstance(error, Corrupt) and folder != dataset.prefix:
                await asyncio.to_thread(self._artifacts.delete, folder)  # made again when it is asked for next
            raise await self._unreadable(dataset, error) from error
        return Jpeg(data, tag)

    async def catch_up(self) -> None:
        """Index the datasets that aren't yet; what can't be is tried again after a start."""
        for dataset in await self._store.unindexed():
            if dataset.id in self._hopeless or self._stopping:
                continue
            try:
                looked = await self.look(dataset)
            except UserError as error:
                self._log.warning("dataset.unindexed", dataset=dataset.id, error=error.message)
                self._hopeless.add(dataset.id)
            else:
                await self._store.indexed(dataset.id, findings.findings(*looked))

    async def _load(self, dataset: DatasetView) -> Looked:
        try:
            found = await asyncio.to_thread(self._read, dataset.id)
            if found is None:
                async with self._making:
                    found = await asyncio.to_thread(self._make, dataset)
                looked = Looked(found, await asyncio.to_thread(findings.count, found))
                if not await self._store.indexed(dataset.id, findings.findings(*looked)):
                    # Deleted meanwhile, and maybe its files before ours were there.
                    await asyncio.to_thread(self._artifacts.delete, index.prefix(dataset.id))
                    raise NotFound("dataset", dataset.id)
                self._log.info("dataset.indexed", dataset=dataset.id, pictures=len(found.pictures))
            else:
                looked = Looked(found, await asyncio.to_thread(findings.count, found))
        except _UNREADABLE as error:
            raise await self._unreadable(dataset, error) from error
        self._remember(dataset.id, looked)
        return looked

    def _read(self, dataset_id: str) -> PictureIndex | None:
        """The index in the store, None if there is none that can be read: then nothing of it is left."""
        folder = index.prefix(dataset_id)
        try:
            if self._artifacts.find(folder) is None:
                return None
            return index.decode(b"".join(self._artifacts.chunks(folder, index.INDEX)))
        except (Corrupt, FileNotFoundError, msgspec.DecodeError) as error:
            self._log.warning("index.broken", dataset=dataset_id, error=str(error)[:200])
            self._artifacts.delete(folder)
            return None

    def _make(self, dataset: DatasetView) -> PictureIndex:
        files = self._artifacts.manifest(dataset.prefix).files
        shards = [Shard(file.name, partial(self._artifacts.open, dataset.prefix, file.name)) for file in files]
        labels = [label.name for label in dataset.labels]
        with self._workspace.folder() as folder:
            made = index.build(shards, labels, folder, self._check_stop)
            self._artifacts.publish(index.prefix(dataset.id), folder)
        return made

    def _check_stop(self) -> None:
        if self._stopping:
            raise ImportCancelled

    def _loaded(self, dataset_id: str, task: asyncio.Task[Looked]) -> None:
        del self._loading[dataset_id]
        if not task.cancelled():
            task.exception()  # told to whoever waits; nobody may be left

    def _remember(self, dataset_id: str, looked: Looked) -> None:
        self._known[dataset_id] = looked
        while len(self._known) > 1 and sum(known.pictures.weight for known in self._known.values()) > self._most:
            self._known.popitem(last=False)

    async def _unreadable(self, dataset: DatasetView, error: Exception) -> UserError:
        if await self._store.view(None, dataset.id) is None:
            return NotFound("dataset", dataset.id)
        self._log.warning("dataset.unreadable", dataset=dataset.id, error=repr(error)[:300])
        message = f"The pictures of “{dataset.name}” can't be read just now. Try again in a moment."
        return UserError("files_unreadable", message, status=503, retry_after=_RETRY_AFTER)
