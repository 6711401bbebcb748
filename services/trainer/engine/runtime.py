"""How TensorFlow runs in this process: quiet, seeded, with its threads and GPU memory bounded as asked.

Owns process-wide settings; must be applied before the first tensor is made.
"""

from __future__ import annotations

import logging

import tensorflow as tf
import tf_keras
from absl import logging as absl_logging

from services.trainer.protocol import RunSpec


def configure(spec: RunSpec) -> None:
    """Apply `spec`'s threads and seed. A resumed attempt draws other random numbers than the one that it continues."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    for name in ("tensorflow", "tf_keras", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if spec.threads > 0:
        tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
        tf.config.threading.set_inter_op_parallelism_threads(spec.threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    tf_keras.utils.set_random_seed(spec.seed + spec.resume_step)
