"""SGD with momentum, its learning rate looked up in the table that `schedule` computes.

Owns the bridge between the pure schedule and Keras. A table instead of the same formula again in tensors: one source.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from services.trainer.engine.schedule import MOMENTUM, learning_rate


class TableSchedule(tf_keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """The rate of each step of a run of `steps` at `batch_size` pictures, times `scale`; the last one's afterwards."""

    def __init__(self, steps: int, batch_size: int, scale: float = 1.0) -> None:
        super().__init__()
        self._steps = steps
        self._batch_size = batch_size
        self._scale = scale
        self._rates = [learning_rate(step, steps=steps, batch_size=batch_size, scale=scale) for step in range(steps)]

    def __call__(self, step: Any) -> Any:
        index = tf.minimum(tf.cast(step, tf.int64), len(self._rates) - 1)
        return tf.gather(tf.constant(self._rates, tf.float32), index)

    def get_config(self) -> dict[str, float]:
        return {"steps": self._steps, "batch_size": self._batch_size, "scale": self._scale}


def build_optimizer(steps: int, batch_size: int, scale: float = 1.0) -> Any:
    """SGD with momentum 0.9. The legacy class, like Model Garden's own "sgd": one fused kernel a variable."""
    return tf_keras.optimizers.legacy.SGD(TableSchedule(steps, batch_size, scale), momentum=MOMENTUM)


def make_slots(optimizer: Any, variables: list[Any]) -> None:
    """Make the momentum variables now: Keras makes them at the first step, too late for a restore to be checked."""
    optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in variables])
