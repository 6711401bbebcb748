"""`python -m services.trainer.engine.gpus`: prints how many GPUs the installed TensorFlow can use.

A process of its own, so that the trainer's parent needs no TensorFlow to know.
"""

from __future__ import annotations

import tensorflow as tf


def main() -> None:
    """One line: the number of GPUs among those that CUDA_VISIBLE_DEVICES shows."""
    print(len(tf.config.list_physical_devices("GPU")))


if __name__ == "__main__":
    main()
