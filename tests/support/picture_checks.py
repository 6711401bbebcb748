"""What tests of kept pictures and predictions ask of TensorFlow: called in a process of its own, answers are plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from services.trainer.protocol import RunSpec


def evaluated_boxes(spec: RunSpec) -> list[tuple[int, list[list[float]]]]:
    """The true boxes as evaluation sees them: by position, ymin, xmin, ymax, xmax as fractions."""
    from services.trainer.engine.prepare import build_trainer

    found = []
    for _, labels in build_trainer(spec, lambda: None).eval_dataset:
        truth = {name: value.numpy() for name, value in labels["groundtruths"].items()}
        for index, position in enumerate(truth["source_id"]):
            count = int(truth["num_detections"][index].max())
            height, width = truth["height"][index], truth["width"][index]
            sides = truth["boxes"][index][:count] / [height, width, height, width]
            found.append((int(position), sides.tolist()))
    return found


def kept_pictures(spec: RunSpec, folder: Path) -> Path | None:
    """Where the pictures of a run are."""
    from services.trainer.engine.pictures import write_pictures

    return write_pictures(spec, folder)


def evaluated_by_hand() -> tuple[dict[str, float], dict[str, float], dict[str, list[Any]]]:
    """An evaluator's metrics of two pictures, these by pycocotools' own figures a label, and what it kept.

    Label 1 is found in both, exactly; of label 2's two objects one is found; label 3's one is found with IoU 0.64; label 4 has
    none.
    """
    import tensorflow as tf

    from services.trainer.engine.coco import Evaluator

    def tensors(**values: Any) -> dict[str, Any]:
        return {name: tf.constant(value) for name, value in values.items()}

    boxes = np.array(
        [[[0, 0, 50, 50], [60, 60, 90, 90], [100, 100, 200, 200]], [[0, 0, 50, 50], [60, 60, 90, 90], [0] * 4]]
    )
    found = boxes.astype(np.float32)
    found[0, 2] = [100, 100, 180, 180]
    info = np.array([[[200, 400], [300, 300], [1.5, 0.75], [0, 0]]] * 2, np.float32)
    evaluator = Evaluator()
    evaluator.update_state(
        tensors(
            source_id=np.array([0, 1]), height=np.array([200, 200]), width=np.array([400, 400]),
            num_detections=np.array([3, 2]), boxes=boxes.astype(np.float32), classes=np.array([[1, 2, 3], [1, 2, 0]]),
        ),
        tensors(
            source_id=np.array([0, 1]), image_info=info, num_detections=np.array([3, 1]),
            detection_boxes=found * np.array([1.5, 0.75] * 2, np.float32), detection_classes=np.array([[1, 2, 3], [1, 4, 0]]),
            detection_scores=np.array([[0.9, 0.8, 0.7], [0.6, 0.0, 0.0]], np.float32),
        ),
    )  # fmt: skip
    metrics = {name: float(value) for name, value in evaluator.result().items()}
    kept = {name: [batch.tolist() for batch in batches] for name, batches in evaluator.take().items()}
    assert evaluator.take() == {}
    by_label = {name: value for name, value in metrics.items() if name.startswith("label ")}
    return {name: value for name, value in metrics.items() if name not in by_label}, by_label, kept
