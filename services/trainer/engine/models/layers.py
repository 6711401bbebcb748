"""Convolution blocks with the published models' settings (SAME padding, batch norm .97 / 1e-3, ReLU6, L2 on kernels).

Owns those settings; knows no particular network.
"""

from __future__ import annotations

from typing import Any

import tf_keras

NORM_MOMENTUM = 0.97
NORM_EPSILON = 1e-3
L2_WEIGHT = 4e-5
"""As the published pipelines give it; Keras' l2() has no factor of a half, so it is halved below."""


def regularizer() -> Any:
    """The L2 penalty on every kernel."""
    return tf_keras.regularizers.l2(L2_WEIGHT / 2)


def norm(x: Any, name: str) -> Any:
    """Batch normalisation over channels."""
    return tf_keras.layers.BatchNormalization(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=name)(x)


def relu6(x: Any, name: str) -> Any:
    """The activation of all published MobileNets."""
    return tf_keras.layers.ReLU(6.0, name=name)(x)


def conv(x: Any, filters: int, *, size: int, stride: int = 1, name: str) -> Any:
    """A convolution without bias, for a batch norm to follow."""
    return tf_keras.layers.Conv2D(
        filters, size, strides=stride, padding="same", use_bias=False, kernel_regularizer=regularizer(), name=name
    )(x)


def depthwise(x: Any, *, stride: int, name: str) -> Any:
    """A 3x3 depthwise convolution without bias, for a batch norm to follow."""
    return tf_keras.layers.DepthwiseConv2D(
        3, strides=stride, padding="same", use_bias=False, depthwise_regularizer=regularizer(), name=name
    )(x)
