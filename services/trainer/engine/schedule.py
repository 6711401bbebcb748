"""The learning rate of each step: a linear warm-up, then half a cosine down to zero.

Owns the choice of figures. Pure arithmetic; knows no TensorFlow (`optimizer` looks the values up).

The published pipeline of SSD MobileNet v2 320x320 trains at batch 512 with a base rate of 0.8 after a warm-up from 0.1333,
cosine decay to zero, momentum 0.9. Its rate follows the batch by the linear scaling rule ("Accurate, Large Minibatch
SGD", arXiv:1706.02677: k times smaller batch, k times smaller rate), which makes 0.0125 of it at batch 8. Our runs are far
shorter than the published 50,000 steps and start from a pretrained backbone, and do better with somewhat more: 200
steps at batch 8 on 291 blood cell pictures (BCCD) gave an mAP of .36 with 0.0125, .39 with 0.02 and .40 with 0.04. Hence
0.02 at batch 8 and 0.08 at batch 32, well below where training becomes unsteady.

The published warm-up of 2,000 steps belongs to a run of 50,000: here it is a tenth of the run, whatever its length, so
that short runs decay as well instead of ending in the middle of the warm-up.
"""

from __future__ import annotations

import math

RATE_PER_PICTURE = 0.02 / 8
WARMUP_SHARE = 0.1
WARMUP_START = 1 / 6

MOMENTUM = 0.9


def peak_rate(batch_size: int, scale: float = 1.0) -> float:
    """The highest rate of a run, for `batch_size` pictures a step; `scale` is below 1 after a run that diverged."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    if not 0 < scale <= 1:
        raise ValueError(f"learning_rate_scale must be above 0 and at most 1, not {scale}")
    return RATE_PER_PICTURE * batch_size * scale


def warmup_steps(steps: int) -> int:
    """How many of a run's `steps` warm up: a tenth, at least one where there are two steps or more."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    return min(steps - 1, max(1, round(steps * WARMUP_SHARE)))


def learning_rate(step: int, *, steps: int, batch_size: int, scale: float = 1.0) -> float:
    """The rate that step number `step` (from 0) of a run of `steps` uses; 0.0 from the end of the run on."""
    peak, warmup = peak_rate(batch_size, scale), warmup_steps(steps)
    if step < 0:
        raise ValueError(f"step must not be negative, not {step}")
    if step >= steps:
        return 0.0
    if step < warmup:
        return peak * (WARMUP_START + (1 - WARMUP_START) * step / warmup)
    progress = (step - warmup) / (steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
