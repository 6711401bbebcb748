"""Saving and restoring a run: weights, optimizer state and step, as TensorFlow checkpoint files in a folder of their own.

Owns the file names inside such a folder. Who keeps the folder, and for how long, is the parent's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from services.trainer.engine.control import RunError
from services.trainer.engine.optimizer import make_slots

PREFIX = "ckpt"

UNREADABLE = (tf.errors.OpError, AssertionError, ValueError, IndexError)
"""What TensorFlow raises for checkpoints that are missing, of another model, or cut off."""


def save(trainer: Any, folder: Path) -> Path:
    """Write all that a resume needs into `folder`, which must not exist yet; return it with its files closed.

    Raises RunError("nan_loss") where a weight or a momentum isn't finite: a finite loss tells of the weights before its step
    alone, and what goes on from this checkpoint would be lost.
    """
    variables = [*trainer.model.variables, *trainer.optimizer.variables()]
    if not all(tf.reduce_all(tf.math.is_finite(each)) for each in variables if each.dtype.is_floating):
        step = int(trainer.global_step.numpy())
        raise RunError(
            "nan_loss",
            f"Training diverged: a weight is not a number after step {step}. Checkpoints before it are good.",
        )
    folder.mkdir(parents=True)
    trainer.checkpoint.write(str(folder / PREFIX))
    return folder


def restore(trainer: Any, folder: Path, step: int) -> None:
    """Load weights, optimizer state and step; all of it must be there.

    Raises RunError("bad_checkpoint") if files are missing, damaged, of another model or of another step than `step`.
    """
    make_slots(trainer.optimizer, trainer.model.trainable_variables)
    try:
        status = trainer.checkpoint.read(str(folder / PREFIX))
        status.assert_existing_objects_matched()
    except UNREADABLE as error:
        raise RunError("bad_checkpoint", f"The checkpoint of step {step} can't be loaded.") from error
    found = int(trainer.global_step.numpy())
    if found != step:
        raise RunError("bad_checkpoint", f"The checkpoint of step {step} holds step {found}.")


def warm_start(trainer: Any, folder: Path) -> None:
    """Load a parent model's weights alone; step and optimizer stay fresh.

    Raises RunError("bad_checkpoint") if the files are missing, damaged or of a model with other labels.
    """
    trainer.task.task_config.init_checkpoint = str(folder / PREFIX)
    try:
        trainer.task.initialize(trainer.model)
    except UNREADABLE as error:
        raise RunError("bad_checkpoint", "The parent model's checkpoint can't be loaded.") from error
