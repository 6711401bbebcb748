"""One COCO evaluation over the evaluation pool, by the names that the metrics page shows.

Owns the translation of logs and keeps pycocotools quiet. When to evaluate is the run's.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from services.trainer.engine import metrics
from services.trainer.engine.predictions import Batches


def evaluate(trainer: Any, labels: Sequence[str]) -> tuple[dict[str, float], Batches]:
    """COCO metrics and losses of the current weights over all evaluation pictures, and what the model found in them."""
    with contextlib.redirect_stdout(io.StringIO()):
        logs = trainer.evaluate(-1)
    return metrics.evaluation({name: float(value) for name, value in logs.items()}, labels), trainer.task.take_found()
