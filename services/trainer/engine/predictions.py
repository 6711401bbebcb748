"""Which evaluation pictures are kept for people to look at, and what is kept of the boxes that the model finds in them.

Owns the choice and the bounds. Pure but for writing the file; knows no TensorFlow. What goes wrong here is logged and costs the
predictions of one checkpoint, never the training.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.contract.pictures import (
    LEAST_SCORE,
    MOST_BOXES,
    MOST_PICTURES,
    PREDICTIONS_FILE,
    FoundBox,
    FoundBoxes,
    Predictions,
    pack,
)

Batches = Mapping[str, Sequence[Any]]
"""What an evaluation collects: by name, an array a batch. `source_id` [batch] is the picture's position in the evaluation pool,
`image_info` [batch, 4, 2] has its height and width first; `detection_boxes` [batch, most, 4] are ymin, xmin, ymax, xmax in its
pixels, `detection_classes` [batch, most] label ids from 1, `detection_scores` [batch, most]."""

# A ten-thousandth of a picture's side is a fifteenth of a pixel, at most.
_DIGITS = 4


def chosen(frames: int) -> list[int]:
    """Positions in an evaluation pool of `frames` pictures that are kept, ascending: all, or MOST_PICTURES spread evenly.

    It depends on nothing else, so that it is the same at each checkpoint and in each attempt.
    """
    kept = min(frames, MOST_PICTURES)
    return [number * frames // kept for number in range(kept)]


def write_predictions(found: Batches, frames: int, labels: Sequence[str], folder: Path) -> Path | None:
    """Write what was found in the chosen pictures of a pool of `frames` into `folder`, which must not exist yet; returns it,
    None where that failed."""
    try:
        content = pack(Predictions(pictures=list(found_boxes(found, frames, labels))))
        folder.mkdir(parents=True)
        (folder / PREDICTIONS_FILE).write_bytes(content)
    except Exception:  # noqa: BLE001 - they are there to be looked at: no training fails for want of them
        traceback.print_exc()
        return None
    return folder


def found_boxes(found: Batches, frames: int, labels: Sequence[str]) -> Iterator[FoundBoxes]:
    """What was found in each chosen picture that was evaluated, by its number."""
    numbers = {position: number for number, position in enumerate(chosen(frames))}
    kept = {}
    names = ("source_id", "image_info", "detection_boxes", "detection_classes", "detection_scores")
    for ids, info, boxes, classes, scores in zip(*(found[name] for name in names), strict=True):
        for index, position in enumerate(ids):
            if (number := numbers.get(int(position))) is not None:
                kept[number] = _boxes(boxes[index], classes[index], scores[index], info[index][0], labels)
    for number in sorted(kept):
        yield FoundBoxes(number=number, boxes=kept[number])


def _boxes(boxes: Any, classes: Any, scores: Any, size: Any, labels: Sequence[str]) -> list[FoundBox]:
    """One picture's; `size` is its height and width in pixels. Sides are cut off at the picture's edges."""
    height, width = (float(side) for side in size)
    sides = np.clip(boxes / [height, width, height, width], 0.0, 1.0)
    sound = (scores >= LEAST_SCORE) & np.isfinite(boxes).all(axis=1) & (sides[:, 0] < sides[:, 2])
    sound &= sides[:, 1] < sides[:, 3]
    best = np.argsort(-scores, kind="stable")
    return [
        FoundBox(
            label=labels[int(classes[index]) - 1],
            score=round(float(scores[index]), _DIGITS),
            **{name: round(float(side), _DIGITS) for name, side in zip(_SIDES, sides[index], strict=True)},
        )
        for index in best[sound[best]][:MOST_BOXES]
    ]


_SIDES = ("ymin", "xmin", "ymax", "xmax")
