"""What must be there before a child can start: a checkpoint to resume from, the datasets' shards, the child's specification.

Owns the walk back over checkpoints that can't be read and the choice of files; starts nothing and publishes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec

from services.trainer.checkpoints import Checkpoint, Checkpoints
from services.trainer.data import DatasetCache
from services.trainer.domain import CheckpointName, Order
from services.trainer.gallery import Gallery
from services.trainer.machine import Slot
from services.trainer.patience import Patience
from services.trainer.protocol import DatasetName, RunSpec
from services.trainer.settings import TrainerSettings
from shared.contract.events import DatasetSource
from shared.runtime import log
from shared.runtime.artifacts import Corrupt


class BadDataset(Exception):
    """A dataset of the job can't be trained on; the text is a sentence for the user."""


class BadParent(Exception):
    """The model that the job starts from can't be read; the text is a sentence for the user."""


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go on: a checkpoint, its files, its evaluation if known. `unreadable` are newer ones that had to be skipped;
    `pictures` tells whether evaluation pictures are kept already."""

    checkpoint: Checkpoint | None = None
    folder: Path | None = None
    evaluation: dict[str, float] | None = None
    unreadable: Sequence[CheckpointName] = ()
    pictures: bool = False


class Shards(msgspec.Struct, frozen=True, kw_only=True):
    """Local files of a job's datasets, and of the parent model's checkpoint if it starts from one. `eval_datasets` says which
    dataset each of the `eval` files is of."""

    train: list[str]
    eval: list[str]
    eval_datasets: list[DatasetName]
    init_dir: str | None


async def find_resume(checkpoints: Checkpoints, gallery: Gallery, folder: Path, patience: Patience) -> Resume:
    """The newest checkpoint that can be read whole, fetched under `folder`. Raises StoreUnavailable."""
    unreadable: list[CheckpointName] = []
    await patience.call(gallery.find)
    pictures = gallery.pictures is not None
    for name in await patience.call(checkpoints.names):
        try:
            checkpoint, files = await patience.call(partial(checkpoints.fetch, name, folder))
        except Corrupt as error:
            log.get("preparation").warning("checkpoint.corrupt", checkpoint=str(name), error=str(error))
            unreadable.append(name)
            continue
        evaluation = await patience.call(partial(checkpoints.evaluation, name))
        return Resume(
            checkpoint=checkpoint, folder=files, evaluation=evaluation, unreadable=unreadable, pictures=pictures
        )
    return Resume(unreadable=unreadable, pictures=pictures)


async def fetch_shards(order: Order, cache: DatasetCache, stack: AsyncExitStack, resume: Resume) -> Shards:
    """All datasets of the job in the cache, kept there until `stack` is closed, and the parent model's checkpoint: a job that
    goes on from a checkpoint of its own needs none. Raises BadDataset, BadParent and StoreUnavailable."""
    train: list[str] = []
    evaluation: list[str] = []
    eval_datasets: list[DatasetName] = []
    for source in order.assign.datasets:
        try:
            folder = await stack.enter_async_context(cache.use(source.prefix))
        except Corrupt as error:
            raise BadDataset(f"The dataset {source.name!r} can't be read: {error}.") from error
        train += _files(folder, "train")
        shards = _files(folder, "eval")
        evaluation += shards
        eval_datasets += [DatasetName(source.id, source.name)] * len(shards)
        _check(source, folder)
    init_dir: str | None = None
    if order.assign.init_prefix is not None and resume.checkpoint is None:
        try:
            init_dir = str(await stack.enter_async_context(cache.use(order.assign.init_prefix)))
        except Corrupt as error:
            raise BadParent(f"The model to start from can't be read: {error}.") from error
    return Shards(train=train, eval=evaluation, eval_datasets=eval_datasets, init_dir=init_dir)


def make_spec(
    order: Order, shards: Shards, resume: Resume, *, slot: Slot, work_dir: Path, settings: TrainerSettings
) -> RunSpec:
    """What the child is told."""
    assign, checkpoint = order.assign, resume.checkpoint
    return RunSpec(
        job_id=order.job_id,
        attempt=order.attempt,
        starting_model=assign.starting_model,
        train_files=shards.train,
        eval_files=shards.eval,
        train_frames=sum(source.train_frames for source in assign.datasets),
        eval_frames=sum(source.eval_frames for source in assign.datasets),
        labels=assign.labels,
        batch_size=assign.batch_size,
        steps=assign.steps,
        checkpoint_every=assign.checkpoint_every,
        max_stepping_seconds=assign.max_stepping_seconds,
        seed=assign.seed,
        work_dir=str(work_dir),
        export_formats=settings.export_formats,
        pretrained_dir=None if settings.pretrained_dir is None else str(settings.pretrained_dir.absolute()),
        allow_download=settings.allow_download,
        resume_dir=None if resume.folder is None else str(resume.folder),
        resume_step=0 if checkpoint is None else checkpoint.step,
        resume_seconds=0.0 if checkpoint is None else checkpoint.stepping_seconds,
        resume_evaluated=checkpoint is None or resume.evaluation is not None,
        init_dir=shards.init_dir,
        threads=slot.threads,
        learning_rate_scale=assign.learning_rate_scale,
        eval_datasets=shards.eval_datasets,
        keep_pictures=not resume.pictures,
    )


def _files(folder: Path, pool: str) -> list[str]:
    return sorted(str(path) for path in folder.glob(f"{pool}-*.tfrecord"))


def _check(source: DatasetSource, folder: Path) -> None:
    for pool, frames in (("train", source.train_frames), ("eval", source.eval_frames)):
        if frames > 0 and not _files(folder, pool):
            raise BadDataset(
                f"The dataset {source.name!r} should have {frames} {pool} frames, but has no file of them."
            )
