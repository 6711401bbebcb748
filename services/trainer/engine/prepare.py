"""Builds what a run needs before its first step: the trainer, and the weights it starts from.

Owns the choice between the ways to start: an earlier checkpoint of the job, a parent model, pretrained weights, none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from official.core.base_trainer import Trainer

from services.trainer.engine import checkpoint
from services.trainer.engine.control import Report, RunError
from services.trainer.engine.optimizer import build_optimizer
from services.trainer.engine.pretrained import OFFICIAL_URL, load_pretrained
from services.trainer.engine.task import DetectionTask, experiment
from services.trainer.protocol import RunSpec


class WatchedTrainer(Trainer):  # type: ignore[misc]
    """Model Garden's trainer, which calls `between_batches` during an evaluation; that may raise to end it."""

    def __init__(self, *args: Any, between_batches: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._between_batches = between_batches

    def eval_reduce(self, state: Any = None, step_outputs: Any = None) -> Any:
        self._between_batches()
        return super().eval_reduce(state, step_outputs)


def build_trainer(spec: RunSpec, between_batches: Callable[[], None]) -> Any:
    """Model, optimizer and input pipelines of `spec`, with fresh weights.

    Raises RunError("bad_data") if there is nothing to train on or nothing to evaluate on.
    """
    for frames, files, purpose in (
        (spec.train_frames, spec.train_files, "train"),
        (spec.eval_frames, spec.eval_files, "evaluate"),
    ):
        if not frames or not files:
            raise RunError("bad_data", f"The dataset has no pictures to {purpose} on.")
    config = experiment(spec)
    task = DetectionTask(config.task)
    optimizer = build_optimizer(spec.steps, spec.batch_size, spec.learning_rate_scale)
    return WatchedTrainer(config, task, task.build_model(), optimizer, between_batches=between_batches)


def load_start(trainer: Any, spec: RunSpec, report: Report, between: Callable[[], None]) -> None:
    """Fill the trainer with what this attempt starts from; `between` is called while weights are fetched and calibrated, and
    may raise to end it. Raises RunError("bad_checkpoint")."""
    if spec.resume_dir is not None:
        checkpoint.restore(trainer, Path(spec.resume_dir), spec.resume_step)
    elif spec.init_dir is not None:
        checkpoint.warm_start(trainer, Path(spec.init_dir))
    else:
        pictures = (batch[0] for batch in trainer.train_dataset)
        notice = load_pretrained(
            trainer.model.backbone,
            pictures,
            folder=spec.pretrained_dir,
            scratch=Path(spec.work_dir),
            url=OFFICIAL_URL if spec.allow_download else None,
            between=between,
        )
        report(notice)
