"""Metric names are those that teams know."""

from __future__ import annotations

import pytest

from services.trainer.engine.metrics import COCO_NAMES, evaluation, losses

LOGS = {"total_loss": 3.0, "cls_loss": 1.5, "box_loss": 1.0, "model_loss": 2.5, "training_loss": 3.0}


def test_regularization_is_the_total_without_the_model() -> None:
    assert losses(LOGS) == {
        "Loss/classification_loss": 1.5,
        "Loss/localization_loss": 1.0,
        "Loss/regularization_loss": 0.5,
        "Loss/total_loss": 3.0,
    }


def test_an_evaluation_has_twelve_coco_metrics_and_four_losses() -> None:
    found = evaluation(LOGS | {name: index / 100 for index, name in enumerate(COCO_NAMES)})
    assert set(found) == {
        "DetectionBoxes_Precision/mAP",
        "DetectionBoxes_Precision/mAP (large)",
        "DetectionBoxes_Precision/mAP (medium)",
        "DetectionBoxes_Precision/mAP (small)",
        "DetectionBoxes_Precision/mAP@.50IOU",
        "DetectionBoxes_Precision/mAP@.75IOU",
        "DetectionBoxes_Recall/AR@1",
        "DetectionBoxes_Recall/AR@10",
        "DetectionBoxes_Recall/AR@100",
        "DetectionBoxes_Recall/AR@100 (large)",
        "DetectionBoxes_Recall/AR@100 (medium)",
        "DetectionBoxes_Recall/AR@100 (small)",
        "Loss/classification_loss",
        "Loss/localization_loss",
        "Loss/regularization_loss",
        "Loss/total_loss",
    }


def test_a_missing_metric_is_an_error() -> None:
    with pytest.raises(KeyError, match="AP"):
        evaluation(LOGS)
