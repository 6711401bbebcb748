"""One attempt at a job, from its spec to its end: prepare, step, checkpoint, evaluate, stop, export.

Owns the order of things and what is reported when. Knows nothing of pipes: it reports through a callable and looks at a
StopSignal between steps and between the parts of whatever takes long; how a stop is answered is in stops.py.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from services.trainer.engine import checkpoint, metrics, runtime
from services.trainer.engine.control import Interrupted, Report, RunError, StopSignal
from services.trainer.engine.evaluate import evaluate
from services.trainer.engine.export import export
from services.trainer.engine.inputs import read_pictures
from services.trainer.engine.models.registry import network_of
from services.trainer.engine.pictures import write_pictures
from services.trainer.engine.predictions import write_predictions
from services.trainer.engine.prepare import build_trainer, load_start
from services.trainer.engine.schedule import learning_rate
from services.trainer.engine.stepping import Stepping
from services.trainer.engine.stops import Stops
from services.trainer.engine.verify import verify
from services.trainer.protocol import (
    CheckpointEvaluated,
    CheckpointSaved,
    ModelExported,
    Phase,
    PicturesKept,
    RunEnded,
    RunPhase,
    RunProgressed,
    RunSpec,
    RunStarted,
    StopReason,
)

VERIFIED_PICTURES = 6
HEADWAY_SECONDS = 30.0
"""How often a phase that goes on says so."""

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
        self.work = Path(spec.work_dir)
        self.network = network_of(spec.starting_model)
        self.stepping = Stepping(step=spec.resume_step, seconds=spec.resume_seconds)
        self.saved_step = spec.resume_step
        self.pictures_due = spec.keep_pictures
        self.stops = Stops(stop, lambda: self.stepping.step, report)
        self.phase: Phase = "preparing"
        self.phase_said = time.monotonic()

    def make(self) -> None:
        """All phases in order. A drain unwinds whichever is under way, as does a stop before there is anything to keep."""
        try:
            trainer = self._prepared()
            reason = self._step_to_the_end(trainer)
            self._finish(trainer, reason)
        except Interrupted as interrupted:
            self.stops.answer()
            self._end(interrupted.reason)

    # Phases

    def _prepared(self) -> Any:
        """The trainer, ready for the next step."""
        runtime.configure(self.spec)
        self._between()
        trainer = build_trainer(self.spec, self._between)
        self._between()
        load_start(trainer, self.spec, self.report, self._between)
        self._between()
        if self.spec.resume_step and not self.spec.resume_evaluated:
            self._evaluate(trainer)
        return trainer

    def _step_to_the_end(self, trainer: Any) -> StopReason | None:
        """Step until all steps are made (None), a stop comes or time is up; checkpoints at their multiples and at the last
        step."""
        spec, stepping = self.spec, self.stepping
        one = tf.constant(1)
        while stepping.step < spec.steps:
            reason = self._reason_to_stop()
            if reason is not None:
                self._stop_stepping(trainer, reason)
                return reason
            # The first step traces the graph, which takes as long as many.
            self._enter("stepping" if stepping.made else "preparing")
            self._make_step(trainer, one)
            self.stops.end_step()
            if stepping.step % spec.checkpoint_every == 0 or stepping.step == spec.steps:
                self._save(trainer)
                self._evaluate(trainer)
        return None

    def _reason_to_stop(self) -> StopReason | None:
        """None where the next step begins."""
        if self.stepping.seconds >= self.spec.max_stepping_seconds:
            return self.stops.reason or "time_limit"
        return self.stops.begin_step()

    def _stop_stepping(self, trainer: Any, reason: StopReason) -> None:
        """Make what has been reached durable. Without a step there is nothing to save."""
        self.stops.answer(reason)
        if self.stepping.step > self.saved_step:
            self._save(trainer)
            self._evaluate(trainer)

    def _finish(self, trainer: Any, reason: StopReason | None) -> None:
        """Export, unless nothing was ever made or no format is wanted, and end."""
        self._between()
        if self.stepping.step and self.spec.export_formats:
            self._export(trainer)
        self._end(reason)

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
            self.report(RunStarted(step=stepping.step, resumed_from=spec.resume_step, seconds=now - begun))
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
        spec = self.spec
        return learning_rate(
            self.stepping.step - 1, steps=spec.steps, batch_size=spec.batch_size, scale=spec.learning_rate_scale
        )

    def _save(self, trainer: Any) -> None:
        self._enter("saving")
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
        self._between()
        self._enter("evaluating")
        self._keep_pictures()
        begun = time.monotonic()
        step, spec = self.stepping.step, self.spec
        evaluation, found = evaluate(trainer, spec.labels)
        kept = write_predictions(found, spec.eval_frames, spec.labels, self.work / "predictions" / f"{step:08d}")
        self.report(
            CheckpointEvaluated(
                step=step,
                evaluation=evaluation,
                seconds=time.monotonic() - begun,
                predictions=None if kept is None else str(kept),
            )
        )

    def _keep_pictures(self) -> None:
        """Once a run, and not before there is something to see in them: their upload must not delay that the job has begun."""
        if self.pictures_due:
            self.pictures_due = False
            folder = write_pictures(self.spec, self.work / "pictures")
            if folder is not None:
                self.report(PicturesKept(path=str(folder)))

    def _export(self, trainer: Any) -> None:
        self._enter("exporting")
        spec = self.spec
        folder = self.work / "model"
        files = export(
            trainer.model,
            self.network,
            spec.labels,
            folder,
            spec.export_formats,
            name=spec.starting_model,
            between=self._between,
        )
        pictures = read_pictures(spec.eval_files, VERIFIED_PICTURES, self.network.image_size)
        checks = {}
        for wanted, name in files.items():
            checks[wanted] = verify(
                trainer.model, self.network, folder / name, wanted, pictures, len(spec.labels), self._between
            )
        self.report(ModelExported(step=self.stepping.step, path=str(folder), files=files, checks=checks))

    # Between them

    def _enter(self, phase: Phase) -> None:
        """Say what is done from now on, where that is something else."""
        if phase != self.phase:
            self._say(phase)

    def _between(self) -> None:
        """Between the parts of a long phase: look whether it is still wanted, and now and then say that it goes on."""
        self.stops.look()
        if time.monotonic() - self.phase_said >= HEADWAY_SECONDS:
            self._say(self.phase)

    def _say(self, phase: Phase) -> None:
        self.phase, self.phase_said = phase, time.monotonic()
        self.report(RunPhase(phase=phase))

    def _end(self, reason: StopReason | None) -> None:
        self.report(
            RunEnded(
                outcome=OUTCOMES[reason],
                step=self.stepping.step,
                stepping_seconds=self.stepping.seconds,
                reason=reason,
            )
        )
