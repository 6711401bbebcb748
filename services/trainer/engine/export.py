"""From the trained model to TFLite files with the detection operator, metadata and labels inside.

Owns the conversion. The way leads over a SavedModel: converting concrete functions directly silently loses the detection
operator. Whether the files say the same as the model is `verify`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras
from official.vision.ops.preprocess_ops import MEAN_NORM, STDDEV_NORM

from services.trainer.engine import metadata
from services.trainer.engine.models.registry import LEAST_SCORE, Network, assemble
from services.trainer.protocol import ExportFormat

MAX_DETECTIONS = 50
"""What the file reports at most; a program on a robot chooses by score among them."""

OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


def normalise(pictures: Any) -> Any:
    """Pictures in [-1, 1], as the file takes them, to what the network was trained on."""
    mean, std = tf.constant(MEAN_NORM, tf.float32), tf.constant(STDDEV_NORM, tf.float32)
    return ((pictures + 1.0) / 2.0 - mean) / std


class _ForegroundHead(tf_keras.layers.Layer):  # type: ignore[misc]
    """The trained head without the background class, so that class 0 of the file is the first label."""

    def __init__(self, head: Any, num_classes: int) -> None:
        super().__init__(name="foreground")
        self._head = head
        self._num_classes = num_classes

    def call(self, maps: Any) -> Any:
        scores, boxes, attributes = self._head(maps)
        return {level: self._without_background(logits) for level, logits in scores.items()}, boxes, attributes

    def _without_background(self, logits: Any) -> Any:
        _, height, width, channels = logits.shape
        anchors = channels // self._num_classes
        split = tf.reshape(logits, [-1, height, width, anchors, self._num_classes])
        return tf.reshape(split[..., 1:], [-1, height, width, anchors * (self._num_classes - 1)])


class _Detector(tf.Module):  # type: ignore[misc]
    """One picture in, the detection operator's four outputs out.

    Holds the variables but not the Keras model: a SavedModel of Keras layers traces each of them again, which takes
    five times as long, in saving and in converting.
    """

    def __init__(self, model: Any, network: Network, num_classes: int) -> None:
        super().__init__()
        side = network.image_size
        detector = assemble(
            network,
            model.backbone,
            model.decoder,
            _ForegroundHead(model.head, num_classes),
            nms_version="tflite",
            tflite_post_processing_config={
                "max_detections": MAX_DETECTIONS,
                "max_classes_per_detection": 1,
                # NMS across labels, on each box's best one. The operator's other way, NMS label by label, loses all boxes
                # of the last label as soon as it runs on two threads (seen with LiteRT 2.3).
                "use_regular_nms": False,
                "nms_score_threshold": LEAST_SCORE,
                "nms_iou_threshold": network.nms_iou,
                "normalize_anchor_coordinates": True,
                "input_image_size": (side, side),
            },
        )
        self.weights = list(model.variables)

        def detect(image: Any) -> dict[str, Any]:
            found = detector(normalise(image), training=False)
            return {name: found[name] for name in OUTPUTS}

        self.detect = tf.function(detect, input_signature=[tf.TensorSpec([1, side, side, 3], tf.float32, "image")])


def export(
    model: Any,
    network: Network,
    labels: Sequence[str],
    folder: Path,
    formats: Sequence[ExportFormat],
    *,
    name: str,
    between: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Write `<format>.tflite` for each of `formats` and labels.txt into `folder`; returns format -> file name.

    `between` is called before each long piece of work and may raise to end it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / metadata.LABEL_FILE).write_text("".join(f"{label}\n" for label in labels))
    detector = _Detector(model, network, len(labels) + 1)
    files: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=folder.parent) as saved:
        between()
        tf.saved_model.save(detector, saved, signatures=detector.detect)
        for wanted in formats:
            between()
            converted = _convert(saved, wanted)
            described = metadata.describe(
                converted,
                labels,
                max_detections=MAX_DETECTIONS,
                name=name,
                description=f"Object detector ({wanted}) trained with Trainyard.",
            )
            files[wanted] = f"{wanted}.tflite"
            (folder / files[wanted]).write_bytes(described)
    return files


def _convert(saved_model: str, wanted: ExportFormat) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
    converter.allow_custom_ops = True
    if wanted == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    converted: bytes = converter.convert()
    return converted
