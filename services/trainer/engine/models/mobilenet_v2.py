"""MobileNetV2 (arXiv:1801.04381) as a backbone, with the layer names and weight shapes of Keras' applications.

Owns the network and the order of its layers, so that ImageNet weights of that name fit. SAME padding throughout, like the
detectors published on it. Knows no detector.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tf_keras

from services.trainer.engine.models.layers import conv, depthwise, norm, relu6

BLOCKS = (
    # expansion, output channels, blocks, stride of the first one: table 2 of the paper
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _blocks() -> Iterator[tuple[str, int, int, int]]:
    """(name prefix, expansion, channels, stride) of each inverted residual block, in order."""
    index = 0
    for expansion, channels, repeats, stride in BLOCKS:
        for repeat in range(repeats):
            prefix = f"block_{index}_" if index else "expanded_conv_"
            yield prefix, expansion, channels, stride if repeat == 0 else 1
            index += 1


def conv_norm_names() -> list[tuple[str, str]]:
    """The 52 (convolution, batch norm) layer names, in the order in which pictures pass through them."""
    names = [("Conv1", "bn_Conv1")]
    for prefix, expansion, _, _ in _blocks():
        steps = ("expand", "depthwise", "project") if expansion > 1 else ("depthwise", "project")
        names += [(prefix + step, f"{prefix}{step}_BN") for step in steps]
    return [*names, ("Conv_1", "Conv_1_bn")]


def build_backbone(image_size: int, taps: dict[str, str]) -> Any:
    """A functional model from pictures [batch, image_size, image_size, 3] to the outputs of the layers in `taps`.

    `taps` maps a level ("4") to the name of the layer whose output it is; `output_specs` on the model says their shapes.
    """
    image = tf_keras.Input([image_size, image_size, 3], name="image")
    x = relu6(norm(conv(image, 32, size=3, stride=2, name="Conv1"), "bn_Conv1"), "Conv1_relu")
    for prefix, expansion, channels, stride in _blocks():
        x = _inverted_residual(x, prefix, expansion, channels, stride)
    x = relu6(norm(conv(x, 1280, size=1, name="Conv_1"), "Conv_1_bn"), "out_relu")
    whole = tf_keras.Model(image, x)
    outputs = {level: whole.get_layer(layer).output for level, layer in taps.items()}
    model = tf_keras.Model(image, outputs, name="mobilenet_v2")
    model.output_specs = {level: output.shape for level, output in outputs.items()}
    return model


def _inverted_residual(inputs: Any, prefix: str, expansion: int, channels: int, stride: int) -> Any:
    x = inputs
    if expansion > 1:
        x = conv(x, expansion * inputs.shape[-1], size=1, name=prefix + "expand")
        x = relu6(norm(x, prefix + "expand_BN"), prefix + "expand_relu")
    x = depthwise(x, stride=stride, name=prefix + "depthwise")
    x = relu6(norm(x, prefix + "depthwise_BN"), prefix + "depthwise_relu")
    x = norm(conv(x, channels, size=1, name=prefix + "project"), prefix + "project_BN")
    if stride == 1 and inputs.shape[-1] == channels:
        x = tf_keras.layers.Add(name=prefix + "add")([inputs, x])
    return x
