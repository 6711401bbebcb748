"""SSD MobileNet v2: extra feature maps, box predictors and anchors on a MobileNetV2 backbone (arXiv:1512.02325).

Owns the detector's shape: six square maps (19, 10, 5, 3, 2 and 1 cells a side at 300 pixels) as levels "4" to "9", 1,917
anchors. Backbone, extra maps and predictors have the sizes of the published checkpoint. Model Garden's RetinaNetModel joins
them, and its losses, box coder and detection generator work on the levels unchanged.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from services.trainer.engine.anchors import anchors_of_map, ssd_anchors
from services.trainer.engine.models.layers import conv, norm, regularizer, relu6
from services.trainer.engine.models.mobilenet_v2 import build_backbone

IMAGE_SIZE = 300
MAP_SIZES = (19, 10, 5, 3, 2, 1)
MIN_LEVEL = 4
LEVELS = tuple(str(MIN_LEVEL + i) for i in range(len(MAP_SIZES)))
TAPS = {"4": "block_13_expand_relu", "5": "out_relu"}
EXTRA_MAPS = ((256, 512), (128, 256), (128, 256), (64, 128))
"""Filters of the 1x1 convolution and of the strided 3x3 one that make each further map from the one before."""

SCORE_BIAS = -4.6
"""Start at a score of 0.01, the focal loss paper's prior (arXiv:1708.02002), as the published pipeline does."""


def build_ssd_backbone() -> Any:
    """MobileNetV2 with the two maps that SSD reads from it."""
    return build_backbone(IMAGE_SIZE, TAPS)


def build_extra_maps(input_specs: Mapping[str, Any]) -> Any:
    """The decoder: the backbone's maps as they are, then four more, each half the size of the one before."""
    inputs = {level: tf_keras.Input(shape[1:], name=f"map_{level}") for level, shape in input_specs.items()}
    maps = dict(inputs)
    x = maps[LEVELS[1]]
    for level, (narrow, wide) in zip(LEVELS[2:], EXTRA_MAPS, strict=True):
        for step, filters, size, stride in (("reduce", narrow, 1, 1), ("stride", wide, 3, 2)):
            name = f"extra_{level}_{step}"
            x = relu6(norm(conv(x, filters, size=size, stride=stride, name=name), f"{name}_BN"), f"{name}_relu")
        maps[level] = x
    model = tf_keras.Model(inputs, maps, name="extra_maps")
    model.output_specs = {level: output.shape for level, output in maps.items()}
    return model


class SSDHead(tf_keras.layers.Layer):  # type: ignore[misc]
    """One 1x1 convolution a map for the boxes' codes and one for the classes' logits.

    Returns (scores, boxes, attributes) by level as RetinaNetModel wants them: logits [batch, size, size, anchors *
    `num_classes`] where class 0 is the background, codes [batch, size, size, anchors * 4], no attributes.
    """

    def __init__(self, num_classes: int, name: str = "ssd_head") -> None:
        super().__init__(name=name)
        self._scores: dict[str, Any] = {}
        self._boxes: dict[str, Any] = {}
        for index, level in enumerate(LEVELS):
            anchors = len(anchors_of_map(index, len(LEVELS)))
            self._scores[level] = self._predictor(f"scores_{level}", anchors * num_classes, SCORE_BIAS)
            self._boxes[level] = self._predictor(f"boxes_{level}", anchors * 4, 0.0)

    @staticmethod
    def _predictor(name: str, filters: int, bias: float) -> Any:
        return tf_keras.layers.Conv2D(
            filters,
            1,
            kernel_initializer=tf_keras.initializers.RandomNormal(stddev=0.01),
            bias_initializer=tf_keras.initializers.Constant(bias),
            kernel_regularizer=regularizer(),
            name=name,
        )

    def call(self, maps: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        scores = {level: self._scores[level](maps[level]) for level in LEVELS}
        boxes = {level: self._boxes[level](maps[level]) for level in LEVELS}
        return scores, boxes, {}


def anchor_boxes(image_size: tuple[int, int]) -> OrderedDict[str, Any]:
    """Anchors by level for a picture of `image_size` (height, width; square), as Model Garden's parser asks for them."""
    if image_size[0] != image_size[1]:
        raise ValueError(f"SSD sees square pictures, not {image_size}")
    arrays = ssd_anchors(MAP_SIZES, image_size[0])
    return OrderedDict((level, tf.constant(boxes)) for level, boxes in zip(LEVELS, arrays, strict=True))
