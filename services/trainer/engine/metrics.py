"""Names of the metrics shown at a checkpoint, and the mapping from Model Garden's to them.

Owns names alone; knows no TensorFlow. The public names are those of the Object Detection API that teams already know.
"""

from __future__ import annotations

from collections.abc import Mapping

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


def evaluation(logs: Mapping[str, float]) -> dict[str, float]:
    """COCO metrics and the four losses from an evaluation's logs; -1 where no object of that size exists."""
    return {shown: logs[name] for name, shown in COCO_NAMES.items()} | losses(logs)
