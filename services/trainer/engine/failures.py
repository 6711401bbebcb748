"""What an exception out of the engine means to the user: a stable code and a plain sentence.

Owns the translation; the traceback itself goes to the log.
"""

from __future__ import annotations

import tensorflow as tf

from services.trainer.engine.control import RunError
from services.trainer.engine.inputs import find_bad_record
from services.trainer.protocol import RunSpec


def explain(error: BaseException, spec: RunSpec) -> tuple[str, str]:
    """(code, message) for `error`. Looks for a bad record only if TensorFlow failed in a way that bad data can cause."""
    if isinstance(error, RunError):
        return error.code, error.message
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError) or _says_out_of_memory(error):
        return "out_of_memory", f"The trainer ran out of memory at a batch of {spec.batch_size} pictures."
    if isinstance(error, tf.errors.OpError):
        found = find_bad_record([*spec.train_files, *spec.eval_files], len(spec.labels) + 1)
        if found is not None:
            return "bad_data", f"The dataset can't be used: {found}."
    return "internal_error", f"The training program failed ({type(error).__name__}); its log says more."


def _says_out_of_memory(error: BaseException) -> bool:
    """CUDA's libraries say it in the text of an error that TensorFlow takes for an internal one."""
    return isinstance(error, tf.errors.OpError) and "out of memory" in str(error.message).lower()
