"""Does an exported file say what the trained model says? Both see the same pictures; their boxes are compared.

Owns the comparison and its limits. Two ways: every box in the file's answer must be among the boxes that the model decodes for
that picture before NMS (same label, same place, same score), and the best score of a picture must be the same, so that a
file that finds nothing, or loses its best box, fails. Comparing the lists after NMS alone would make a rounding
error that swaps two overlapping boxes look like a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from services.trainer.engine.control import RunError
from services.trainer.engine.export import normalise
from services.trainer.engine.metadata import INPUT_MEAN, INPUT_STD
from services.trainer.engine.models.registry import LEAST_SCORE, Network, assemble

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """The lowest IoU and the largest difference of scores that still count as the same box."""

    iou: float
    score: float


LIMITS = {"float32": Limits(iou=0.95, score=0.01), "float16": Limits(iou=0.9, score=0.05)}


def verify(model: Any, network: Network, path: Path, wanted: str, pictures: Sequence[Array]) -> dict[str, float]:
    """Figures of the comparison over `pictures` (float32 [side, side, 3] in 0..255).

    Raises RunError("export_mismatch") beyond the format's limits.
    """
    decoder = assemble(network, model.backbone, model.decoder, model.head, apply_nms=False)
    interpreter = Interpreter(model_path=str(path), num_threads=2)
    interpreter.allocate_tensors()
    lowest_iou, largest_difference, compared = 1.0, 0.0, 0
    for picture in pictures:
        image = ((picture - INPUT_MEAN) / INPUT_STD)[None].astype(np.float32)
        decoded = decoder(normalise(image), training=False)
        boxes = decoded["decoded_boxes"].numpy()[0, :, 0] / network.image_size
        scores = decoded["decoded_box_scores"].numpy()[0]
        found_boxes, found_labels, found_scores = run_file(interpreter, image)
        best = float(found_scores.max(initial=0.0))
        if scores.max() > LEAST_SCORE:
            largest_difference = max(largest_difference, abs(float(scores.max()) - best))
        for box, label, score in zip(found_boxes, found_labels, found_scores, strict=True):
            overlaps = iou(box, boxes)
            nearest = int(overlaps.argmax())
            lowest_iou = min(lowest_iou, float(overlaps[nearest]))
            same_place = overlaps >= min(LIMITS[wanted].iou, overlaps[nearest])
            difference = float(np.abs(scores[same_place, label] - score).min())
            largest_difference = max(largest_difference, difference)
            compared += 1
    figures = {
        "pictures": float(len(pictures)),
        "boxes": float(compared),
        "lowest_iou": lowest_iou,
        "largest_score_difference": largest_difference,
    }
    if lowest_iou < LIMITS[wanted].iou or not largest_difference <= LIMITS[wanted].score:
        shown = f"lowest IoU {lowest_iou:.3f}, largest difference of scores {largest_difference:.3f}"
        raise RunError(
            "export_mismatch", f"The exported {wanted} file finds other boxes than the trained model ({shown})."
        )
    return figures


def run_file(interpreter: Any, image: Array) -> tuple[Array, npt.NDArray[np.int64], Array]:
    """The file's valid (boxes, label indices, scores) for `image` [1, side, side, 3] in [-1, 1]."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    boxes, labels, scores, count = (interpreter.get_tensor(o["index"])[0] for o in interpreter.get_output_details())
    valid = int(count)
    return boxes[:valid], labels[:valid].astype(np.int64), scores[:valid]


def iou(box: Array, others: Array) -> Array:
    """Intersection over union of `box` [4] with each of `others` [n, 4], as ymin, xmin, ymax, xmax."""
    top_left = np.maximum(box[:2], others[:, :2])
    bottom_right = np.minimum(box[2:], others[:, 2:])
    intersection = np.prod(np.clip(bottom_right - top_left, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + areas - intersection
    result: Array = (intersection / np.maximum(union, 1e-9)).astype(np.float32)
    return result
