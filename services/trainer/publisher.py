"""What a child says becomes artifacts and facts here, strictly in order.

Owns the uploads of one attempt, which checkpoint is the last durable one, which is the best, and when a checkpoint is
announced: after its files are safe and, where there is one, with its evaluation. Pictures and predictions are there to be
looked at: what can't be kept of them is logged and left out, and the training goes on. Knows neither processes nor datasets.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from services.trainer import protocol
from services.trainer.checkpoints import Checkpoint, Checkpoints
from services.trainer.domain import Best, Lease, Order, better
from services.trainer.gallery import Gallery
from services.trainer.patience import Patience, StoreUnavailable
from services.trainer.preparation import Resume
from services.trainer.reporter import Voice
from services.trainer.supervisor import BadChild
from services.trainer.threads import abandonable
from shared.contract import events
from shared.contract.views import ExportedFile, PredictionsView, Reason
from shared.runtime import log
from shared.runtime.artifacts import Artifacts, Corrupt
from shared.runtime.clock import Clock

T = TypeVar("T")


class Publisher:
    """One attempt's. `durable` is the last checkpoint whose files are safe, of this attempt or an earlier one."""

    def __init__(
        self,
        order: Order,
        *,
        trainer: str,
        voice: Voice,
        lease: Lease,
        clock: Clock,
        artifacts: Artifacts,
        checkpoints: Checkpoints,
        gallery: Gallery,
        patience: Patience,
    ) -> None:
        self._order = order
        self._trainer = trainer
        self._voice = voice
        self._lease = lease
        self._clock = clock
        self._artifacts = artifacts
        self._checkpoints = checkpoints
        self._gallery = gallery
        self._patience = patience
        self._log = log.get("publisher")
        self._resumed: Checkpoint | None = None
        self._pending: Checkpoint | None = None
        self._best: Best | None = None
        self.durable: Checkpoint | None = None
        self.announced: Checkpoint | None = None

    async def resume(self, resume: Resume) -> None:
        """Begin from what earlier attempts left; what the scheduler hasn't heard of it is announced."""
        self._resumed = self.durable = resume.checkpoint
        unheard = resume.checkpoint is not None and resume.checkpoint.step > self._order.assign.known_step
        self.announced = None if unheard else resume.checkpoint
        for name in resume.unreadable:
            message = f"The checkpoint of step {name.step} is damaged; training goes on from an earlier one."
            await self._voice.tell(events.TrainingNoticed(notice=Reason(code="checkpoint_corrupt", message=message)))
        self._best = await self._patience.call(partial(self._checkpoints.best, resume.unreadable))
        if unheard and resume.checkpoint is not None:
            predictions = await self._patience.call(partial(self._gallery.predictions, resume.checkpoint.name))
            await self._tell_of(resume.checkpoint, resume.evaluation or {}, predictions)
            await self._prune(resume.checkpoint)

    async def take(self, message: protocol.FromChild, at: datetime) -> None:
        """One message that came at `at`; returns when all that it causes is confirmed.

        Raises LeaseLost, StoreUnavailable, and BadChild for files that aren't there.
        """
        match message:
            case protocol.Notice():
                notice = Reason(code=message.code, message=message.message)
                await self._voice.tell(events.TrainingNoticed(notice=notice))
            case protocol.RunStarted():
                await self._voice.tell(
                    events.TrainingStarted(
                        trainer=self._trainer,
                        step=message.step,
                        resumed_from=0 if self._resumed is None else self._resumed.step,
                        resumed_seconds=0.0 if self._resumed is None else self._resumed.stepping_seconds,
                        at=at,
                        resumed_prefix=None if self._resumed is None else self._checkpoints.prefix(self._resumed.name),
                    )
                )
            case protocol.RunStopping():
                await self._voice.tell(events.TrainingStopping(step=message.step, reason=message.reason))
            case protocol.PicturesKept():
                await self._keep(self._gallery.keep_pictures, message.path)
            case protocol.CheckpointSaved():
                await self._announce_pending()
                await self._save(message)
            case protocol.CheckpointEvaluated():
                await self._evaluated(message)
            case protocol.ModelExported():
                await self._export(message)
            case protocol.RunEnded() | protocol.RunFailed():
                await self._announce_pending()
            case protocol.RunProgressed() | protocol.RunPhase():
                pass  # the first is said by Progress, out of order; the second is the watchdog's

    async def close(self) -> None:
        """The child is gone: announce what it had saved and not yet evaluated."""
        await self._announce_pending()

    async def _save(self, message: protocol.CheckpointSaved) -> None:
        checkpoint = Checkpoint(
            step=message.step,
            attempt=self._order.attempt,
            stepping_seconds=message.stepping_seconds,
            saved_at=self._clock.now(),
            training=message.training,
        )
        folder = _folder(message.path)
        await self._write(partial(self._checkpoints.save, checkpoint, folder))
        self.durable = self._pending = checkpoint
        await abandonable(partial(shutil.rmtree, folder, ignore_errors=True))

    async def _evaluated(self, message: protocol.CheckpointEvaluated) -> None:
        checkpoint = self.durable
        if checkpoint is None or checkpoint.step != message.step:
            self._log.warning("evaluation.unmatched", step=message.step)
            return
        self._pending = None
        self._best = better(self._best, checkpoint.name, message.evaluation)
        predictions = None
        if message.predictions is not None:
            keep = partial(self._gallery.keep_predictions, checkpoint.name)
            predictions = await self._keep(keep, message.predictions)
        await self._tell_of(checkpoint, message.evaluation, predictions)
        # Recorded after it was told: should we die in between, the next attempt evaluates and tells it again.
        await self._write(partial(self._checkpoints.record, checkpoint.name, message.evaluation))
        await self._prune(checkpoint)

    async def _keep(self, keep: Callable[[Path], T], path: str) -> T | None:
        """What `keep` gives once it has published the folder, None where it can't; the folder is gone then, in any case."""
        try:
            return await self._write(partial(keep, _folder(path)))
        except (BadChild, StoreUnavailable, Corrupt) as error:
            self._log.warning("gallery.not_kept", path=path, error=str(error))
            return None
        finally:
            await abandonable(partial(shutil.rmtree, path, ignore_errors=True))

    async def _announce_pending(self) -> None:
        checkpoint, self._pending = self._pending, None
        if checkpoint is not None:
            await self._tell_of(checkpoint, {})
            await self._prune(checkpoint)

    async def _tell_of(
        self, checkpoint: Checkpoint, evaluation: dict[str, float], predictions: PredictionsView | None = None
    ) -> None:
        await self._voice.tell(
            events.TrainingCheckpointed(
                step=checkpoint.step,
                stepping_seconds=checkpoint.stepping_seconds,
                prefix=self._checkpoints.prefix(checkpoint.name),
                saved_at=checkpoint.saved_at,
                training=checkpoint.training,
                evaluation=evaluation,
                best=self._best is not None and self._best.name == checkpoint.name,
                predictions=predictions,
            )
        )
        self.announced = checkpoint

    async def _prune(self, checkpoint: Checkpoint) -> None:
        """Once `checkpoint` is told of, and only then, those that it replaces may go."""
        prune = partial(self._checkpoints.prune, checkpoint.name, self._best, self._require)
        try:
            gone = await self._patience.call(prune)
        except StoreUnavailable as error:  # too many are kept, which the next one makes good
            self._log.warning("checkpoints.not_pruned", error=str(error))
        else:
            self._log.info("checkpoints.pruned", latest=str(checkpoint.name), gone=[str(name) for name in gone])

    async def _export(self, message: protocol.ModelExported) -> None:
        prefix = f"jobs/{self._order.job_id}/model-a{self._order.attempt}"
        meta = {"step": message.step, "attempt": self._order.attempt, "checks": message.checks}
        manifest = await self._write(partial(self._artifacts.publish, prefix, _folder(message.path), meta))
        files: list[ExportedFile] = []
        for kind, name in message.files.items():
            file = manifest.file(name)
            if file is None:
                raise BadChild(f"the exported model has no file {name!r}")
            files.append(ExportedFile(format=kind, name=name, bytes=file.bytes, sha256=file.sha256))
        await self._voice.tell(
            events.ModelExported(step=message.step, prefix=prefix, files=files, checks=message.checks)
        )

    async def _write(self, call: Callable[[], T]) -> T:
        """What the blocking `call()` returns; before each try the lease is checked."""

        def guarded() -> T:
            self._require()
            return call()

        return await self._patience.call(guarded)

    def _require(self) -> None:
        self._lease.require(self._clock.monotonic())


def _folder(path: str) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise BadChild(f"there is no folder {path!r}")
    return folder
