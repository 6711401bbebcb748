"""COCO evaluation, Model Garden's, that also tells the average precision of each label and keeps what the model found.

Owns these two additions. Names, and what becomes of the boxes, are others'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from official.vision.evaluation.coco_evaluator import COCOEvaluator

from services.trainer.engine.metrics import LABEL_AP, LABEL_AP50
from services.trainer.engine.predictions import Batches


class Evaluator(COCOEvaluator):  # type: ignore[misc]
    """Model Garden's evaluator, with metrics by label."""

    def __init__(self) -> None:
        super().__init__(annotation_file=None, include_mask=False, per_category_metrics=True)
        self._found: Batches = {}

    def evaluate(self) -> Any:
        # The library turns the boxes in its lists into another form on its way.
        self._found = {name: list(batches) for name, batches in self._predictions.items()}
        return super().evaluate()

    def take(self) -> Batches:
        """What the model found at the last evaluation; given away once, as it may be large."""
        found, self._found = self._found, {}
        return found

    def _retrieve_per_category_metrics(self, coco_eval: Any, prefix: str = "") -> dict[str, float]:
        """The library's own wants an attribute that pycocotools doesn't have."""
        return label_precisions(coco_eval.eval["precision"], coco_eval.params.catIds, coco_eval.params.iouThrs)


def label_precisions(precision: Any, ids: Sequence[int], thresholds: Sequence[float]) -> dict[str, float]:
    """Average precisions by label id from pycocotools' `precision` [IoU threshold, recall, label, area, most boxes], over all
    areas and with the most boxes; -1 where no object of that label exists."""
    half = int(np.argmin(np.abs(np.asarray(thresholds) - 0.5)))
    found = {}
    for index, label in enumerate(ids):
        at = precision[:, :, index, 0, -1]
        found[f"{LABEL_AP}{label}"] = _mean(at)
        found[f"{LABEL_AP50}{label}"] = _mean(at[half])
    return found


def _mean(values: Any) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0
