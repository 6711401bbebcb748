"""The evaluation pictures that are kept for people to look at: once a job, with their true boxes.

Owns how they are read from the shards and written as JPEG. Which they are is `predictions`'. What goes wrong here is logged and
costs the job its pictures, never the training.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from services.trainer.engine.predictions import chosen
from services.trainer.protocol import DatasetName, RunSpec
from shared.contract.pictures import (
    MOST_TRUE_BOXES,
    PICTURES_FILE,
    EvaluationPicture,
    Pictures,
    TrueBox,
    jpeg_name,
    pack,
)

LONGEST_SIDE = 640
"""Pixels. A JPEG that isn't larger is kept as it is: datasets are stored so."""

_QUALITY = 90
_DIGITS = 4
_SIDES = ("ymin", "xmin", "ymax", "xmax")
_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature((), tf.string),
    "image/filename": tf.io.FixedLenFeature((), tf.string, ""),
    "image/object/class/label": tf.io.RaggedFeature(tf.int64),
    **{f"image/object/bbox/{side}": tf.io.RaggedFeature(tf.float32) for side in _SIDES},
}


def write_pictures(spec: RunSpec, folder: Path) -> Path | None:
    """Write the chosen pictures of the evaluation pool into `folder`, which must not exist yet; returns it, None where that
    failed."""
    try:
        folder.mkdir(parents=True)
        content = Pictures(pictures=list(_write(spec, folder)))
        (folder / PICTURES_FILE).write_bytes(pack(content))
    except Exception:  # noqa: BLE001 - they are there to be looked at: no training fails for want of them
        traceback.print_exc()
        return None
    return folder


def _write(spec: RunSpec, folder: Path) -> Iterator[EvaluationPicture]:
    numbers = {position: number for number, position in enumerate(chosen(spec.eval_frames))}
    position = -1
    # Shard after shard, as evaluation numbers them.
    for index, shard in enumerate(spec.eval_files):
        dataset = spec.eval_datasets[index] if spec.eval_datasets else DatasetName(id="", name="")
        for record in tf.data.TFRecordDataset(shard):
            position += 1
            if (number := numbers.get(position)) is not None:
                parsed = tf.io.parse_single_example(record, _FEATURES)
                jpeg, height, width = _jpeg(parsed["image/encoded"])
                (folder / jpeg_name(number)).write_bytes(jpeg)
                yield EvaluationPicture(
                    number=number,
                    dataset_id=dataset.id,
                    dataset=dataset.name,
                    file=parsed["image/filename"].numpy().decode(errors="replace"),
                    width=width,
                    height=height,
                    boxes=_true_boxes(parsed, spec.labels),
                )


def _jpeg(encoded: Any) -> tuple[bytes, int, int]:
    """The picture as JPEG, its height and width in pixels."""
    picture = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    height, width = (int(side) for side in picture.shape[:2])
    scale = LONGEST_SIDE / max(height, width)
    content = encoded.numpy()
    if scale >= 1 and content.startswith(b"\xff\xd8\xff"):
        return content, height, width
    if scale < 1:
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
        resized = tf.image.resize(picture, [height, width], method="area")
        picture = tf.cast(tf.round(resized), tf.uint8)
    return tf.io.encode_jpeg(picture, quality=_QUALITY).numpy(), height, width


def _true_boxes(parsed: Any, labels: list[str]) -> list[TrueBox]:
    ids = parsed["image/object/class/label"].numpy()[:MOST_TRUE_BOXES]
    sides = [parsed[f"image/object/bbox/{side}"].numpy() for side in _SIDES]
    return [
        TrueBox(
            label=labels[int(label) - 1],
            **{name: round(float(values[index]), _DIGITS) for name, values in zip(_SIDES, sides, strict=True)},
        )
        for index, label in enumerate(ids)
    ]
