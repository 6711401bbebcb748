"""One attempt at a job, from its spec to its end: prepare, step, checkpoint, evaluate, stop, export.

Owns the order of things and what is reported when. Knows nothing of pipes: it reports through a callable and looks at a
StopSignal between steps and between phases.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from services.trainer.engine import checkpoint, metrics, runtime
from services.trainer.engine.control import Drained, Report, RunError, StopSignal
from services.trainer.engine.evaluate import evaluate
from services.trainer.engine.export import export
from services.trainer.engine.inputs import read_pictures
from services.trainer.engine.models.registry import network_of
from services.trainer.engine.prepare import build_trainer, load_start
from services.trainer.engine.schedule import learning_rate
from services.trainer.engine.stepping import Stepping
from services.trainer.engine.verify import verify
from services.trainer.protocol import (
    CheckpointEvaluated,
    CheckpointSaved,
    ModelExported,
    RunEnded,
    RunProgressed,
    RunSpec,
    RunStarted,
    RunStopping,
    StopReason,
)

VERIFIED_PICTURES = 6

OUTCOMES: dict[StopReason | None, Literal["succeeded", "stopped", "drained"]] = {
    None: "succeeded",
    "user": "stopped",
    "time_limit": "stopped",
    "drained": "drained",
}


def run(spec: RunSpec, report: Report, stop: StopSignal) -> None:
    """Make the attempt and report its end. Whatever is raised means that it failed; see `failures`."""
    _Run(spec, report, stop).make()


class _Run:
    """The state of one attempt. `stepping` accounts for the job's step and seconds over all attempts."""

    def __init__(self, spec: RunSpec, report: Report, stop: StopSignal) -> None:
        self.spec = spec
        self.report = report
        self.stop = stop
        self.work = Path(spec.work_dir)
        self.network = network_of(spec.starting_model)
        self.stepping = Stepping(step=spec.resume_step, seconds=spec.resume_seconds)
        self.saved_step = spec.resume_step
        self.stopping: StopReason | None = None

    def make(self) -> None:
        """All phases in order. A drain unwinds whichever is under way."""
        try:
            trainer = self._prepared()
            if trainer is not None:
                self._step_to_the_end(trainer)
                self._finish(trainer)
        except Drained:
            self._announce_stop("drained")
            self._end()

    # Phases

    def _prepared(self) -> Any | None:
        """The trainer, ready for the next step; None if the run was stopped with nothing to keep."""
        runtime.configure(self.spec)
        if self._stopped_early():
            return None
        trainer = build_trainer(self.spec, self._between_batches)
        if self._stopped_early():
            return None
        load_start(trainer, self.spec, self.report)
        if self._stopped_early():
            return None
        if self.spec.resume_step and not self.spec.resume_evaluated:
            self._evaluate(trainer)
        return trainer

    def _stopped_early(self) -> bool:
        """True, and the end reported, if a stop came before any step of any attempt."""
        self._raise_if_drained()
        if self.stop.reason is None or self.stepping.step:
            return False
        self.stopping = self.stop.reason
        self._end()
        return True

    def _step_to_the_end(self, trainer: Any) -> None:
        """Step until all steps are made, a stop comes or time is up; checkpoints at their multiples and at the last step."""
        spec, stepping = self.spec, self.stepping
        one = tf.constant(1)
        while stepping.step < spec.steps:
            reason = self._reason_to_stop()
            if reason is not None:
                return self._stop_stepping(trainer, reason)
            self._make_step(trainer, one)
            if stepping.step % spec.checkpoint_every == 0 or stepping.step == spec.steps:
                self._save(trainer)
                self._evaluate(trainer)
        return None

    def _reason_to_stop(self) -> StopReason | None:
        if self.stop.reason is not None:
            return self.stop.reason
        return "time_limit" if self.stepping.seconds >= self.spec.max_stepping_seconds else None

    def _stop_stepping(self, trainer: Any, reason: StopReason) -> None:
        """Make what has been reached durable. Without a step there is nothing to save."""
        self._announce_stop(reason)
        if self.stepping.step > self.saved_step:
            self._save(trainer)
            self._raise_if_drained()
            self._evaluate(trainer)

    def _finish(self, trainer: Any) -> None:
        """Export, unless nothing was ever made or no format is wanted, and end."""
        self._raise_if_drained()
        if self.stepping.step and self.spec.export_formats:
            self._export(trainer)
        self._end()

    # Steps of the phases

    def _make_step(self, trainer: Any, one: Any) -> None:
        spec, stepping = self.spec, self.stepping
        begun = time.monotonic()
        logs = {name: float(value) for name, value in trainer.train(one).items()}
        now = time.monotonic()
        if not math.isfinite(logs["total_loss"]):
            raise RunError(
                "nan_loss",
                f"Training diverged: the loss of step {stepping.step + 1} is not a number. Checkpoints before it are good.",
            )
        stepping.add(metrics.losses(logs), now - begun)
        if stepping.made == 1:
            self.report(RunStarted(step=stepping.step, resumed_from=spec.resume_step))
        if stepping.report_due(now):
            self._report_progress(now)

    def _report_progress(self, now: float) -> None:
        interval = self.stepping.take_report(now)
        self.report(
            RunProgressed(
                step=self.stepping.step,
                stepping_seconds=self.stepping.seconds,
                steps_per_second=interval.steps_per_second,
                learning_rate=self._rate(),
                losses=interval.means(),
            )
        )

    def _rate(self) -> float:
        """The learning rate that the last step used."""
        return learning_rate(self.stepping.step - 1, steps=self.spec.steps, batch_size=self.spec.batch_size)

    def _save(self, trainer: Any) -> None:
        stepping = self.stepping
        if stepping.since_report.steps:
            self._report_progress(time.monotonic())
        folder = checkpoint.save(trainer, self.work / "checkpoints" / f"{stepping.step:08d}")
        interval = stepping.take_checkpoint()
        training = interval.means() | {
            metrics.LEARNING_RATE: self._rate(),
            metrics.STEPS_PER_SEC: interval.steps_per_second,
        }
        self.saved_step = stepping.step
        self.report(
            CheckpointSaved(step=stepping.step, stepping_seconds=stepping.seconds, path=str(folder), training=training)
        )

    def _evaluate(self, trainer: Any) -> None:
        begun = time.monotonic()
        found = evaluate(trainer)
        seconds = time.monotonic() - begun
        self.report(CheckpointEvaluated(step=self.stepping.step, evaluation=found, seconds=seconds))

    def _export(self, trainer: Any) -> None:
        spec = self.spec
        folder = self.work / "model"
        files = export(
            trainer.model,
            self.network,
            spec.labels,
            folder,
            spec.export_formats,
            name=spec.starting_model,
            between=self._raise_if_drained,
        )
        pictures = read_pictures(spec.eval_files, VERIFIED_PICTURES, self.network.image_size)
        checks = {}
        for wanted, name in files.items():
            self._raise_if_drained()
            checks[wanted] = verify(trainer.model, self.network, folder / name, wanted, pictures, len(spec.labels))
        self.report(ModelExported(step=self.stepping.step, path=str(folder), files=files, checks=checks))

    # Stopping

    def _between_batches(self) -> None:
        """During an evaluation: a drain ends it, any other stop is announced and lets it finish."""
        self._raise_if_drained()
        if self.stop.reason is not None and self.stepping.step < self.spec.steps:
            self._announce_stop(self.stop.reason)

    def _raise_if_drained(self) -> None:
        if self.stop.reason == "drained":
            raise Drained

    def _announce_stop(self, reason: StopReason) -> None:
        """Say once that no further step will be made; a drain may come on top of another reason. Silent before any step."""
        first = self.stopping is None
        self.stopping = reason
        if first and self.stepping.step:
            self.report(RunStopping(step=self.stepping.step, reason=reason))

    def _end(self) -> None:
        self.report(
            RunEnded(
                outcome=OUTCOMES[self.stopping],
                step=self.stepping.step,
                stepping_seconds=self.stepping.seconds,
                reason=self.stopping,
            )
        )
