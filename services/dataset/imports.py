"""From an upload to a dataset: reserve, receive, import, publish, finish; or nothing at all.

Owns the order of these steps and what is left behind when one fails. What a user sees of the rules is domain.py's, guards are
store.py's, reading an upload is importer.py's and happens in a thread.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from services.dataset import domain, index
from services.dataset.archive import check_size
from services.dataset.domain import Dataset, UploadRequest
from services.dataset.importer import ImportCancelled, ImportOptions, import_archive
from services.dataset.report import Imported
from services.dataset.settings import DatasetSettings
from services.dataset.store import DatasetStore, Reservation
from services.dataset.workspace import Workspace
from shared.contract.errors import KeyReused, UserError
from shared.runtime import log
from shared.runtime.artifacts import Artifacts
from shared.runtime.clock import Clock
from shared.runtime.mongo import OUTAGES

T = TypeVar("T")

_WRITE_BYTES = 1 << 20
_RETRY_AFTER = 5
_UNREACHABLE: tuple[type[Exception], ...] = (*OUTAGES, OSError)
_SIGNS_OF_LIFE = 6  # in the time after which silence counts as the end


class Upload(NamedTuple):
    """A zip on its way in; `declared_bytes` is what the client says of its size, if anything. `is_sent_now`: a client is
    sending it and waits until it has."""

    pieces: AsyncIterator[bytes]
    declared_bytes: int | None
    is_sent_now: bool = True


class Stop:
    """Tells an import to end: its thread asks (`is_set`), its coroutines wait."""

    def __init__(self) -> None:
        self._for_threads = threading.Event()
        self._for_coroutines = asyncio.Event()

    def set(self) -> None:
        """Tell; from the event loop's thread."""
        self._for_threads.set()
        self._for_coroutines.set()

    def is_set(self) -> bool:
        """Whether it was told; from any thread."""
        return self._for_threads.is_set()

    async def or_done(self, work: Coroutine[None, None, None]) -> None:
        """Do `work`, but raise UserError `import_interrupted` as soon as the import is to end."""
        tasks = [asyncio.create_task(work), asyncio.create_task(self._for_coroutines.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():
                raise _interrupted()
            tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Imports:
    """Uploads on their way to datasets.

    `changed` is called when there is an event to publish, `remove` takes away what an abandoned import published.
    """

    def __init__(
        self,
        *,
        settings: DatasetSettings,
        store: DatasetStore,
        artifacts: Artifacts,
        workspace: Workspace,
        clock: Clock,
        changed: Callable[[], None],
        remove: Callable[[Reservation], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._artifacts = artifacts
        self._workspace = workspace
        self._clock = clock
        self._changed = changed
        self._remove = remove
        self._room = asyncio.Semaphore(settings.imports_at_once)
        self._under_way: set[Stop] = set()
        self._stopping = False
        self._log = log.get("imports")

    async def stop(self) -> None:
        """Let imports under way end with a refusal, and begin no more."""
        self._stopping = True
        for stop in self._under_way:
            stop.set()

    async def create(self, team: str, dataset_id: str, request: UploadRequest, upload: Upload) -> Dataset:
        """A new dataset of what is uploaded; for a repeated request the one that the first made.

        Raises UserError: all that the importer does and too_many_datasets, idempotency_key_reused, import_in_progress,
        dataset_deleted, import_interrupted. Whatever is raised, nothing is left.
        """
        check_size(upload.declared_bytes or 0, self._settings.max_upload_bytes)
        reservation = Reservation(id=dataset_id, team=team, owner=uuid.uuid4().hex)
        limit = self._settings.max_datasets
        if not await self._reserved(reservation, request.fingerprint(), limit):
            dataset = await self._repeated(dataset_id, request)
            if dataset is None:
                raise domain.too_many(limit)
            if upload.is_sent_now:
                await self._discard(upload)
            return dataset
        try:
            with self._workspace.folder() as folder:
                async with self._alive(reservation) as stop:
                    return await self._import(reservation, request, upload, folder, stop)
        except BaseException:
            await asyncio.shield(self._give_up(reservation, request.fingerprint()))
            raise

    async def _reserved(self, reservation: Reservation, fingerprint: str, limit: int) -> bool:
        """Whether the id is ours. Cancelled, it leaves nothing: the store goes on with a write that nobody waits for."""
        writing = asyncio.create_task(self._store.reserve(reservation, fingerprint, limit, self._clock.now()))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            if (await asyncio.gather(writing, return_exceptions=True))[0] is True:
                await self._give_up(reservation, fingerprint)
            raise

    async def _repeated(self, dataset_id: str, request: UploadRequest) -> Dataset | None:
        existing = await self._store.existing(dataset_id)
        if existing is None:
            return None
        if existing.fingerprint != request.fingerprint():
            raise KeyReused("request")
        if existing.state == "deleted":
            message = "The dataset that this request made has been deleted. Send a new key to make it again."
            raise UserError("dataset_deleted", message, "Idempotency-Key", status=410)
        if existing.dataset is None:
            message = "The same request is being worked on. Ask again in a moment."
            raise UserError("import_in_progress", message, status=409, retry_after=_RETRY_AFTER)
        return existing.dataset

    async def _discard(self, upload: Upload) -> None:
        """Read a repeated upload to its end: most clients listen to an answer only then."""
        received = 0
        async for piece in upload.pieces:
            received += len(piece)
            check_size(received, self._settings.max_upload_bytes)

    async def _import(
        self, reservation: Reservation, request: UploadRequest, upload: Upload, folder: Path, stop: Stop
    ) -> Dataset:
        began = self._clock.monotonic()
        archive, made = folder / "upload.zip", folder / "dataset"
        await stop.or_done(self._receive(upload, archive))
        received = self._clock.monotonic()
        options = ImportOptions(
            source_name=request.name,
            salt=reservation.id,
            eval_percent=request.eval_percent,
            seed=request.seed,
            unlabelled=request.unlabelled,
            max_labels=self._settings.max_labels,
            archive=self._settings.archive_limits(),
            pictures=self._settings.picture_limits(),
        )
        async with self._room:
            imported = await _in_thread(lambda: import_archive(archive, made, options, stop.is_set), stop)
            await _in_thread(lambda: self._publish(reservation.id, made, imported), stop)
        now = self._clock.now()
        view = domain.view(reservation.id, reservation.team, request.name, now, imported)
        if not await self._store.finish(reservation, view, imported.report):
            raise _interrupted()
        self._changed()
        self._log.info(
            "dataset.imported",
            dataset=reservation.id,
            frames=view.train_frames + view.eval_frames,
            upload_seconds=round(received - began, 3),
            import_seconds=round(self._clock.monotonic() - received, 3),
        )
        return Dataset(view=view, report=imported.report)

    async def _receive(self, upload: Upload, path: Path) -> None:
        received = 0
        waiting = bytearray()
        with path.open("wb") as file:
            async for piece in upload.pieces:
                received += len(piece)
                check_size(received, self._settings.max_upload_bytes)
                waiting += piece
                if len(waiting) >= _WRITE_BYTES:
                    await asyncio.to_thread(file.write, bytes(waiting))
                    waiting.clear()
            await asyncio.to_thread(file.write, bytes(waiting))

    def _publish(self, dataset_id: str, folder: Path, imported: Imported) -> None:
        made = imported.manifest
        meta = msgspec.to_builtins(made)
        del meta["files"]  # the store's own manifest lists them
        published = self._artifacts.publish(domain.prefix(dataset_id), folder, meta)
        for file in made.files:
            found = published.file(file.name)
            # An importer that was taken for dead published other content under this id: theirs is to be removed first.
            if found is None or found.sha256 != file.sha256:
                raise ImportCancelled
        self._artifacts.publish(index.prefix(dataset_id), folder / index.FOLDER)

    @asynccontextmanager
    async def _alive(self, reservation: Reservation) -> AsyncIterator[Stop]:
        """Signs of life while the import is under way; the event is set when it has to end."""
        if self._stopping:
            raise _interrupted()
        stop = Stop()
        self._under_way.add(stop)
        task = asyncio.create_task(self._show_life(reservation, stop))
        try:
            yield stop
        finally:
            self._under_way.discard(stop)
            task.cancel()

    async def _show_life(self, reservation: Reservation, stop: Stop) -> None:
        while True:
            await asyncio.sleep(self._settings.silence_seconds / _SIGNS_OF_LIFE)
            try:
                if not await self._store.touch(reservation, self._clock.now()):
                    stop.set()
            except OUTAGES as error:
                self._log.info("import.untouched", dataset=reservation.id, error=str(error)[:200])

    async def _give_up(self, reservation: Reservation, fingerprint: str) -> None:
        try:
            if await self._store.abandon(reservation):
                await self._remove(reservation)
            # Taken for dead, but it may have published since the cleaner was there.
            elif (left := await self._store.disown(reservation, fingerprint)) is not None:
                await self._remove(left)
        except _UNREACHABLE as error:  # the cleaner finds it by its silence
            self._log.warning("import.left_behind", dataset=reservation.id, error=str(error)[:200])


async def _in_thread(work: Callable[[], T], stop: Stop) -> T:
    """Run `work` in a thread; when cancelled, tell it to stop and wait for it: it holds files in the folder."""
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except ImportCancelled as error:
        raise _interrupted() from error
    except asyncio.CancelledError:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)
        raise


def _interrupted() -> UserError:
    message = "The import was interrupted on the server's side; nothing was kept. Send the file again."
    return UserError("import_interrupted", message, status=503, retry_after=_RETRY_AFTER)
