"""One COCO evaluation over the evaluation pool, by the names that the metrics page shows.

Owns the translation of logs and keeps pycocotools quiet. When to evaluate is the run's.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

from services.trainer.engine import metrics


def evaluate(trainer: Any) -> dict[str, float]:
    """COCO metrics and losses of the current weights over all evaluation pictures."""
    with contextlib.redirect_stdout(io.StringIO()):
        logs = trainer.evaluate(-1)
    return metrics.evaluation({name: float(value) for name, value in logs.items()})
