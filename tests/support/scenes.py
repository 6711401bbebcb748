"""Jobs brought into a wished-for state by real services and scripted trainers, with metrics that look like a training's."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from shared.contract.events import (
    ModelExported,
    TrainingCheckpointed,
    TrainingEnded,
    TrainingNoticed,
    TrainingProgressed,
)
from shared.contract.jobs import JobState
from shared.contract.views import ExportedFile, PredictionsView, Reason
from shared.runtime.artifacts import Artifacts
from tests.support import gallery
from tests.support.running import Caller
from tests.support.scheduling import Platform, ScriptedTrainer
from tests.support.voc import frames, write_zip
from tests.support.waiting import until

_PACE = 2.4  # steps a second
_LOSSES = ("classification_loss", "localization_loss", "regularization_loss")
_LOG = """\
loading 160 training pictures from 5 shards
building ssd_mobilenet_v2_320x320: 4,648,582 parameters
step 1: total loss 4.9121
step 100: total loss 2.1160, saved
step 187: the loss is not a number
the same with a tenth of the learning rate
step 112: the loss is not a number"""


class Scenes:
    """Makes datasets and jobs; each job that a trainer must hold gets a trainer of its own, found by a label."""

    def __init__(self, platform: Platform, database: Any) -> None:
        self._platform, self._database = platform, database
        self._trainers: list[ScriptedTrainer] = []
        self._running: list[asyncio.Task[None]] = []
        self._datasets: dict[str, str] = {}
        # The label of the trainer whose only slot is taken, once there is one.
        self._taken: str | None = None

    async def end(self) -> None:
        """Let go of the trainers."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for trainer in self._trainers:
            await trainer.silence()

    async def dataset(self, name: str, labels: tuple[str, ...] = ("Ball", "Cube"), pictures: int = 40) -> str:
        """A dataset, made at the first call; its id."""
        if name not in self._datasets:
            archive = write_zip(self._platform.folder / f"{uuid.uuid4().hex}.zip", frames(pictures, labels))
            url = f"{self._platform.dataset.url}/api/datasets?name={name}&eval_percent=20"
            status, content = await self._platform.call("POST", url, data=archive.read_bytes())
            assert status == 201, content
            self._datasets[name] = content["dataset"]["id"]
        return self._datasets[name]

    async def trainer(self, label: str, slots: int = 1) -> ScriptedTrainer:
        """A trainer with this label, known to the scheduler."""
        trainer = ScriptedTrainer(self._platform, slots, row=label)
        await trainer.start()
        self._trainers.append(trainer)
        admin = self._platform.caller("admin")

        async def known() -> bool:
            answer = await self._platform.api("GET", "/trainers", by=admin)
            return any(one["id"] == trainer.id for one in answer["trainers"])

        await until(known)
        return trainer

    async def submitted(self, description: str, label: str, by: Caller | None = None, **fields: Any) -> dict[str, Any]:
        """A job as its submission was answered."""
        wanted = {"description": description, "steps": 600, "max_minutes": 10, **fields}
        status, content = await self._platform.submit(
            await self.dataset("Field photos"), by=by, requires={"row": label}, **wanted
        )
        assert status == 201, content
        return dict(content["job"])

    async def held(self, description: str, **fields: Any) -> tuple[str, ScriptedTrainer]:
        """A job that a trainer holds, PREPARING."""
        label = uuid.uuid4().hex[:8]
        trainer = await self.trainer(label)
        job_id = (await self.submitted(description, label, **fields))["id"]
        await trainer.holds(job_id)
        await self._platform.in_state(job_id, "PREPARING")
        return job_id, trainer

    async def run(
        self, description: str, steps: int = 0, *, pictured: bool = False, requested: int = 600
    ) -> tuple[str, ScriptedTrainer]:
        """A job that is RUNNING, with a checkpoint each 100 steps up to `steps`, with predictions if it is `pictured`."""
        job_id, trainer = await self.held(description, steps=requested)
        await trainer.started(job_id, 1)
        await self._platform.in_state(job_id, "RUNNING")
        notice = Reason(code="pretrained_backbone", message="Training starts from ImageNet weights.")
        await trainer.say(TrainingNoticed(notice=notice), job_id, 1)
        for step in range(100, steps + 1, 100):
            await (self.pictured if pictured else self.checkpoint)(trainer, job_id, step)
        if steps:
            await self._platform.job(job_id, lambda change: change.job.steps_completed == steps)
        return job_id, trainer

    async def pictured(self, trainer: ScriptedTrainer, job_id: str, step: int, attempt: int = 1) -> None:
        """A checkpoint whose predictions are in the store."""
        artifacts = Artifacts(self._platform.environ["ARTIFACTS_URL"])
        view = await asyncio.to_thread(gallery.publish, artifacts, job_id, step, attempt)
        await self.checkpoint(trainer, job_id, step, attempt, view)

    async def checkpoint(
        self,
        trainer: ScriptedTrainer,
        job_id: str,
        step: int,
        attempt: int = 1,
        predictions: PredictionsView | None = None,
    ) -> None:
        """A checkpoint with all metrics."""
        precision = 0.62 * (1 - math.exp(-step / 260))
        fact = TrainingCheckpointed(
            step=step,
            stepping_seconds=step / _PACE,
            prefix=f"jobs/{job_id}/checkpoints/{step:08d}-a{attempt}",
            saved_at=datetime.now(UTC),
            training={**_losses(step, 1.0), "learning_rate": _rate(step), "steps_per_sec": _PACE},
            evaluation={
                "DetectionBoxes_Precision/mAP": precision,
                "DetectionBoxes_Precision/mAP@.50IOU": min(1, precision * 1.5),
                "DetectionBoxes_Precision/mAP@.75IOU": precision * 0.98,
                "DetectionBoxes_Precision/mAP (large)": precision * 1.05,
                "DetectionBoxes_Precision/mAP (medium)": precision * 0.7,
                "DetectionBoxes_Precision/mAP (small)": -1.0,
                "DetectionBoxes_Recall/AR@1": precision * 0.9,
                "DetectionBoxes_Recall/AR@10": precision * 1.1,
                "DetectionBoxes_Recall/AR@100": precision * 1.15,
                "DetectionBoxes_Recall/AR@100 (large)": precision * 1.2,
                "DetectionBoxes_Recall/AR@100 (medium)": precision * 0.8,
                "DetectionBoxes_Recall/AR@100 (small)": -1.0,
                "DetectionBoxes_PerformanceByCategory/mAP/Ball": precision * 1.2,
                "DetectionBoxes_PerformanceByCategory/mAP/Cube": precision * 0.8,
                **_losses(step, 1.12),
            },
            best=True,
            predictions=predictions,
        )
        await trainer.say(fact, job_id, attempt)

    async def progress(self, trainer: ScriptedTrainer, job_id: str, step: int, attempt: int = 1) -> None:
        """What a trainer says about once a second."""
        fact = TrainingProgressed(
            step=step,
            stepping_seconds=step / _PACE,
            steps_per_second=_PACE,
            learning_rate=_rate(step),
            losses=_losses(step, 1.0),
        )
        await trainer.say(fact, job_id, attempt)

    def keep_running(self, trainer: ScriptedTrainer, job_id: str, step: int, requested: int = 600) -> None:
        """From `step` on, progress each second and a checkpoint each 100 steps, never to the end."""

        async def go() -> None:
            made, saved = float(step), step // 100 * 100
            while True:
                made = min(made + _PACE, requested - 1)
                await self.progress(trainer, job_id, int(made))
                if made >= saved + 100:
                    saved += 100
                    await self.checkpoint(trainer, job_id, saved)
                await asyncio.sleep(1)

        self._running.append(asyncio.create_task(go()))

    async def succeed(self, job_id: str, trainer: ScriptedTrainer, steps: int = 600, model: Path | None = None) -> None:
        """To the end, with exported files: those of the folder `model`, else files that are told of alone."""
        await self._export(job_id, trainer, steps, model)
        await trainer.ended(job_id, 1, "succeeded", steps, steps / _PACE)
        await self._platform.in_state(job_id, "SUCCEEDED")

    async def stop(
        self,
        job_id: str,
        trainer: ScriptedTrainer,
        step: int,
        reason: Literal["user", "time_limit"] = "user",
        model: Path | None = None,
    ) -> None:
        """What a trainer does when it is told to stop, or the time is up: it saves the step it has reached, and exports."""
        await trainer.stopping(job_id, 1, reason, step=step)
        await self.checkpoint(trainer, job_id, step)
        if model is not None:
            await self._export(job_id, trainer, step, model)
        await trainer.ended(job_id, 1, "stopped", step, step / _PACE)
        await self._platform.in_state(job_id, "STOPPED")

    async def stall(self, job_id: str, trainer: ScriptedTrainer) -> None:
        """A job makes no step, nor does it at its second try, which its only trainer is given too."""
        reason = Reason(code="stalled", message="It made no step for 20 minutes.")
        for attempt in (1, 2):
            await trainer.holds(job_id, attempt)
            await trainer.ended(job_id, attempt, "failed", 0, 0.0, reason)
        await self._platform.in_state(job_id, "FAILED")

    async def _export(self, job_id: str, trainer: ScriptedTrainer, step: int, model: Path | None) -> None:
        prefix = f"jobs/{job_id}/model-a1"
        files = [
            ExportedFile(format="float32", name="model-float32.tflite", bytes=18_400_000, sha256="a" * 64),
            ExportedFile(format="float16", name="model-float16.tflite", bytes=9_300_000, sha256="b" * 64),
            ExportedFile(format="int8", name="model-int8.tflite", bytes=5_200_000, sha256="c" * 64),
            ExportedFile(format="labels", name="labels.txt", bytes=10, sha256="d" * 64),
        ]
        if model is not None:
            store = Artifacts(self._platform.environ["ARTIFACTS_URL"])
            manifest = await asyncio.to_thread(store.publish, prefix, model)
            files = [
                ExportedFile(format=file.name.split(".")[0], name=file.name, bytes=file.bytes, sha256=file.sha256)
                for file in manifest.files
            ]
        await trainer.say(ModelExported(step=step, prefix=prefix, files=files), job_id, 1)
        await self._platform.job(job_id, lambda change: change.job.export is not None)

    async def succeeded(self, description: str = "BallsModel", model: Path | None = None) -> str:
        """A model that is done; `model` as for `succeed`."""
        job_id, trainer = await self.run(description, steps=600, pictured=True)
        await self.succeed(job_id, trainer, model=model)
        return job_id

    async def more(self, parent_id: str, description: str) -> str:
        """A child of a finished model, RUNNING, ever."""
        label = uuid.uuid4().hex[:8]
        trainer = await self.trainer(label)
        body = {"description": description, "steps": 600, "max_minutes": 10, "requires": {"row": label}}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        answer = await self._platform.api("POST", f"/jobs/{parent_id}/more", body, expect=201, headers=headers)
        job_id = str(answer["job"]["id"])
        await trainer.holds(job_id)
        await trainer.started(job_id, 1)
        for step in (100, 200, 300):
            await self.checkpoint(trainer, job_id, step)
        self.keep_running(trainer, job_id, 312)
        return job_id

    # --- the eleven states -------------------------------------------------------------------------------------------

    async def queued(self, description: str = "Waits") -> str:
        """Waits for a trainer whose only slot is taken, for ever."""
        if self._taken is None:
            self._taken = uuid.uuid4().hex[:8]
            trainer = await self.trainer(self._taken)
            holder = str((await self.submitted("In front", self._taken))["id"])
            await trainer.holds(holder)
            await self._platform.in_state(holder, "PREPARING")
        return str((await self.submitted(description, self._taken))["id"])

    async def preparing(self) -> str:
        return (await self.held("Prepares"))[0]

    async def running(self) -> str:
        job_id, trainer = await self.run("Runs", steps=200)
        self.keep_running(trainer, job_id, 214)
        return job_id

    async def stop_requested(self) -> str:
        job_id, trainer = await self.run("Was told to stop", steps=100)
        await trainer.beat()
        await self._platform.api("POST", f"/jobs/{job_id}/stop")
        return job_id

    async def stopping(self) -> str:
        job_id, trainer = await self.run("Saves its work", steps=100)
        await trainer.stopping(job_id, 1, "time_limit", step=140)
        await self._platform.in_state(job_id, "STOPPING")
        return job_id

    async def stopped(self, description: str = "Stopped early") -> str:
        job_id, trainer = await self.run(description, steps=200)
        await self._platform.api("POST", f"/jobs/{job_id}/stop")
        await self.stop(job_id, trainer, 213)
        return job_id

    async def canceled(self) -> str:
        job_id = await self.queued("Changed my mind")
        await self._platform.api("POST", f"/jobs/{job_id}/stop")
        return job_id

    async def failed(self, description: str = "Diverged") -> str:
        job_id, trainer = await self.run(description, steps=100)
        reason = Reason(
            code="labels_out_of_range",
            message="A training picture has boxes outside of the picture, which the input can't read.",
            remedy="Look at the dataset's warnings, mend those boxes, and train again.",
        )
        trainer.held.pop((job_id, 1), None)
        fact = TrainingEnded(
            outcome="failed",
            step=187,
            checkpoint_step=100,
            stepping_seconds=100 / _PACE,
            reason=reason,
            log_tail=_LOG.splitlines(),
        )
        await trainer.say(fact, job_id, 1)
        await self._platform.in_state(job_id, "FAILED")
        return job_id

    async def try_again_later(self, description: str = "No room") -> str:
        job = await self.submitted(description, f"none-{uuid.uuid4().hex[:6]}")
        assert job["state"] == "TRY_AGAIN_LATER", job
        return str(job["id"])

    async def unspecified(self) -> str:
        """A write that no scheduler makes: the reservation is gone from the ledger."""
        job_id, _ = await self.run("Odd", steps=100)
        changed = await self._database["jobs"].update_one(
            {"_id": job_id}, {"$set": {"ledger": []}, "$inc": {"view.version": 1}}
        )
        assert changed.matched_count == 1
        await self._platform.in_state(job_id, "STATE_UNSPECIFIED")
        return job_id

    async def every_state(self) -> dict[JobState, str]:
        """A job in each state; ids by state."""
        await self.dataset("Field photos")
        await self.queued("Waits first")
        makers: dict[JobState, Callable[[], Awaitable[str]]] = {
            JobState.CANCELED: self.canceled,
            JobState.STOPPED: self.stopped,
            JobState.FAILED: self.failed,
            JobState.STATE_UNSPECIFIED: self.unspecified,
            JobState.SUCCEEDED: self.succeeded,
            JobState.TRY_AGAIN_LATER: self.try_again_later,
            JobState.PREPARING: self.preparing,
            JobState.STOPPING: self.stopping,
            JobState.QUEUED: self.queued,
            JobState.RUNNING: self.running,
            JobState.STOP_REQUESTED: self.stop_requested,
        }
        return {state: await make() for state, make in makers.items()}


def _losses(step: int, factor: float) -> dict[str, float]:
    parts = (3.2 * math.exp(-step / 180) + 0.34, 0.9 * math.exp(-step / 240) + 0.17, 0.143)
    wave = 1 + 0.05 * math.sin(step / 17)
    named = {f"Loss/{name}": factor * wave * part for name, part in zip(_LOSSES, parts, strict=True)}
    return {**named, "Loss/total_loss": sum(named.values())}


def _rate(step: int) -> float:
    return 0.02 * min(1.0, step / 100) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / 600)))
