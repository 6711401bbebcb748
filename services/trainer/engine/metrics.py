"""Names of the metrics shown at a checkpoint, and the mapping from Model Garden's to them.

Owns names alone; knows no TensorFlow. The public names are those of the Object Detection API that teams already know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

COCO_NAMES = {
    "AP": "DetectionBoxes_Precision/mAP",
    "APl": "DetectionBoxes_Precision/mAP (large)",
    "APm": "DetectionBoxes_Precision/mAP (medium)",
    "APs": "DetectionBoxes_Precision/mAP (small)",
    "AP50": "DetectionBoxes_Precision/mAP@.50IOU",
    "AP75": "DetectionBoxes_Precision/mAP@.75IOU",
    "ARmax1": "DetectionBoxes_Recall/AR@1",
    "ARmax10": "DetectionBoxes_Recall/AR@10",
    "ARmax100": "DetectionBoxes_Recall/AR@100",
    "ARl": "DetectionBoxes_Recall/AR@100 (large)",
    "ARm": "DetectionBoxes_Recall/AR@100 (medium)",
    "ARs": "DetectionBoxes_Recall/AR@100 (small)",
}
LABEL_AP = "label AP/"
LABEL_AP50 = "label AP50/"
"""Prefixes of a label's id in an evaluation's logs: its average precision, over all IoU thresholds and at an IoU of 0.5."""

LABEL_MAP = "DetectionBoxes_PerformanceByCategory/mAP/"
LABEL_MAP_50 = "DetectionBoxes_Precision mAP@.50IOU ByCategory/"
"""Prefixes of a label's own metrics, as teams may know them."""

MOST_LABELS = 100
"""Labels with metrics of their own, the first ones: these go with each checkpoint to every browser."""

CLASSIFICATION_LOSS = "Loss/classification_loss"
LOCALIZATION_LOSS = "Loss/localization_loss"
REGULARIZATION_LOSS = "Loss/regularization_loss"
TOTAL_LOSS = "Loss/total_loss"
LEARNING_RATE = "learning_rate"
STEPS_PER_SEC = "steps_per_sec"


def losses(logs: Mapping[str, float]) -> dict[str, float]:
    """The four losses from the task's logs: `model_loss` is the total before regularization."""
    return {
        CLASSIFICATION_LOSS: logs["cls_loss"],
        LOCALIZATION_LOSS: logs["box_loss"],
        REGULARIZATION_LOSS: logs["total_loss"] - logs["model_loss"],
        TOTAL_LOSS: logs["total_loss"],
    }


def evaluation(logs: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """COCO metrics, those of each label and the four losses from an evaluation's logs; -1 where no object of that size or label
    exists. `labels` are in the order of their ids, which start at 1."""
    by_label = {}
    for number, label in enumerate(labels[:MOST_LABELS], start=1):
        by_label[f"{LABEL_MAP}{label}"] = logs.get(f"{LABEL_AP}{number}", -1.0)
        by_label[f"{LABEL_MAP_50}{label}"] = logs.get(f"{LABEL_AP50}{number}", -1.0)
    return {shown: logs[name] for name, shown in COCO_NAMES.items()} | by_label | losses(logs)
