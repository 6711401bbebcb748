"""The arithmetic of steps, epochs and batches, as the manual of ftc-ml gives it.

Pure integer functions. `frames` counts training pictures, `batch_size` counts pictures a step.
"""

from __future__ import annotations

STEP_QUANTUM = 100  # ftc-ml's checkpoint interval: recommended steps are multiples of it
RULE_OF_THUMB_EPOCHS = 100


def fitting_batch_size(preferred: int, frames: int) -> int:
    """`preferred` halved until it is no larger than the training set, but never below 1."""
    _positive(batch_size=preferred, frames=frames)
    batch_size = preferred
    while batch_size > frames and batch_size >= 2:
        batch_size //= 2
    return batch_size


def steps_per_epoch(frames: int, batch_size: int) -> int:
    """Steps that it takes to see each training picture at least once: ceil(frames / batch_size)."""
    _positive(batch_size=batch_size, frames=frames)
    return -(-frames // batch_size)


def epochs_of(steps: int, frames: int, batch_size: int) -> int:
    """Whole epochs that `steps` steps perform: floor(steps * batch_size / frames)."""
    _positive(batch_size=batch_size, frames=frames)
    if steps < 0:
        raise ValueError(f"steps must be at least 0, not {steps}")
    return steps * batch_size // frames


def steps_for(epochs: int, frames: int, batch_size: int) -> int:
    """Fewest steps that perform `epochs` epochs: ceil(epochs * frames / batch_size)."""
    _positive(epochs=epochs, batch_size=batch_size, frames=frames)
    return -(-epochs * frames // batch_size)


def recommended_steps(frames: int, batch_size: int, lowest: int, highest: int) -> int:
    """Steps for 100 epochs, rounded up to a multiple of 100 and kept within the installation's bounds."""
    exact = steps_for(RULE_OF_THUMB_EPOCHS, frames, batch_size)
    rounded = -(-exact // STEP_QUANTUM) * STEP_QUANTUM
    return max(lowest, min(highest, rounded))


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
