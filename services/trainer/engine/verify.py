"""Does an exported file say what the trained model says? Both see the same pictures; their boxes are compared.

Owns the comparison and its limits. Two ways, as each finds what the other can't: every box in the file's answer must be among
the boxes that the model decodes for that picture (same place, same label, same score), and none of the boxes that
the model is fairly sure of after NMS may be lost. Comparing the two lists one by one would make a rounding error that
swaps two overlapping boxes look like a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from services.trainer.engine.control import RunError
from services.trainer.engine.export import MAX_DETECTIONS, normalise
from services.trainer.engine.metadata import INPUT_MEAN, INPUT_STD
from services.trainer.engine.models.registry import Network, assemble

Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


FAIRLY_SURE = 0.3
"""Boxes of the model with at least this score should not be lost, that is have no box of their label near (IoU 0.5)."""

LOST_SHARE = 0.1
"""The share of a label's boxes that may be lost all the same, and always one: rounding can tip a close decision of NMS."""


@dataclass(frozen=True)
class Limits:
    """The lowest IoU and the largest difference of scores that still count as the same box."""

    iou: float
    score: float


LIMITS = {"float32": Limits(iou=0.95, score=0.01), "float16": Limits(iou=0.9, score=0.05)}


class Comparison:
    """Figures over all pictures so far; `sure` and `lost` count the model's boxes by label."""

    def __init__(self, limits: Limits, labels: int) -> None:
        self.limits = limits
        self.boxes = 0
        self.lowest_iou = 1.0
        self.largest_score_difference = 0.0
        self.sure = np.zeros(labels, np.int64)
        self.lost = np.zeros(labels, np.int64)

    def add(self, decoded: tuple[Array, Array], found: tuple[Array, Labels, Array], nms_iou: float) -> None:
        """One picture: the model's (boxes [n, 4], scores [n, labels]) before NMS and the file's answer."""
        boxes, scores = decoded
        for box, label, score in zip(*found, strict=True):
            overlaps = iou(box, boxes)
            nearest = float(overlaps.max())
            same_place = overlaps >= min(self.limits.iou, nearest)
            difference = float(np.abs(scores[same_place, label] - score).min())
            self.lowest_iou = min(self.lowest_iou, nearest)
            self.largest_score_difference = max(self.largest_score_difference, difference)
            self.boxes += 1
        found_boxes, found_labels, _ = found
        for index in suppress(boxes, scores.max(axis=1), nms_iou):
            label = int(scores[index].argmax())
            near = iou(boxes[index], found_boxes[found_labels == label]).max(initial=0.0)
            self.sure[label] += 1
            self.lost[label] += near < 0.5

    @property
    def good(self) -> bool:
        """False beyond the limits, and for figures that are no numbers."""
        same = self.lowest_iou >= self.limits.iou and self.largest_score_difference <= self.limits.score
        return same and bool((self.lost <= np.maximum(1, LOST_SHARE * self.sure)).all())


def verify(
    model: Any,
    network: Network,
    path: Path,
    wanted: str,
    pictures: Sequence[Array],
    labels: int,
    between: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Figures of the comparison for a model of `labels` labels over `pictures` (float32 [side, side, 3] in 0..255).

    `between` is called before each picture and may raise to end it. Raises RunError("export_mismatch") beyond the format's
    limits.
    """
    decoder = assemble(network, model.backbone, model.decoder, model.head, apply_nms=False)
    # Two threads as on a robot: there are operators that go wrong only then.
    interpreter = Interpreter(model_path=str(path), num_threads=2)
    interpreter.allocate_tensors()
    comparison = Comparison(LIMITS[wanted], labels)
    for picture in pictures:
        between()
        image = ((picture - INPUT_MEAN) / INPUT_STD)[None].astype(np.float32)
        decoded = decoder(normalise(image), training=False)
        boxes = decoded["decoded_boxes"].numpy()[0, :, 0] / network.image_size
        scores = decoded["decoded_box_scores"].numpy()[0]
        comparison.add((boxes, scores), run_file(interpreter, image), network.nms_iou)
    figures = {
        "pictures": float(len(pictures)),
        "boxes": float(comparison.boxes),
        "sure": float(comparison.sure.sum()),
        "lost": float(comparison.lost.sum()),
        "lowest_iou": comparison.lowest_iou,
        "largest_score_difference": comparison.largest_score_difference,
    }
    if not comparison.good:
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in figures.items())
        raise RunError(
            "export_mismatch", f"The exported {wanted} file finds other boxes than the trained model ({shown})."
        )
    return figures


def suppress(boxes: Array, scores: Array, nms_iou: float) -> list[int]:
    """Indices of the boxes that the model is fairly sure of and that NMS across labels keeps, best first."""
    kept: list[int] = []
    for index in np.argsort(-scores):
        if scores[index] < FAIRLY_SURE or len(kept) == MAX_DETECTIONS:
            break
        if iou(boxes[index], boxes[kept]).max(initial=0.0) <= nms_iou:
            kept.append(int(index))
    return kept


def run_file(interpreter: Any, image: Array) -> tuple[Array, Labels, Array]:
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
