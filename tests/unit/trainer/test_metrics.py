"""Metric names are those that teams know."""

from __future__ import annotations

import pytest

from services.trainer.engine.metrics import COCO_NAMES, LABEL_AP, LABEL_AP50, MOST_LABELS, evaluation, losses

COCO = {name: index / 100 for index, name in enumerate(COCO_NAMES)}
LOGS = {"total_loss": 3.0, "cls_loss": 1.5, "box_loss": 1.0, "model_loss": 2.5, "training_loss": 3.0}


def test_regularization_is_the_total_without_the_model() -> None:
    assert losses(LOGS) == {
        "Loss/classification_loss": 1.5,
        "Loss/localization_loss": 1.0,
        "Loss/regularization_loss": 0.5,
        "Loss/total_loss": 3.0,
    }


def test_an_evaluation_has_twelve_coco_metrics_and_four_losses() -> None:
    found = evaluation(LOGS | COCO, [])
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
        evaluation(LOGS, [])


def test_each_label_has_two_metrics_and_one_that_never_occurs_a_minus_one() -> None:
    logs = LOGS | COCO | {f"{LABEL_AP}2": 0.25, f"{LABEL_AP50}2": 0.5}
    found = evaluation(logs, ["Ball", "cube / v2.$"])
    assert {name: value for name, value in found.items() if "ByCategory" in name} == {
        "DetectionBoxes_PerformanceByCategory/mAP/Ball": -1,
        "DetectionBoxes_Precision mAP@.50IOU ByCategory/Ball": -1,
        "DetectionBoxes_PerformanceByCategory/mAP/cube / v2.$": 0.25,
        "DetectionBoxes_Precision mAP@.50IOU ByCategory/cube / v2.$": 0.5,
    }


def test_of_very_many_labels_the_first_have_metrics() -> None:
    few = len(evaluation(LOGS | COCO, []))
    assert len(evaluation(LOGS | COCO, [str(n) for n in range(10 * MOST_LABELS)])) == few + 2 * MOST_LABELS
