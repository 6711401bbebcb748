"""ImageNet weights for the MobileNetV2 backbone: where they come from and how they are made to fit.

Owns the search (a local folder, then the official download, else none) and the two file kinds. Our pictures are normalised
by ImageNet's mean and deviation, both files' by [-1, 1]: the difference is folded into the first layer.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from official.vision.ops.preprocess_ops import MEAN_NORM, STDDEV_NORM
from tf_keras.src.applications.mobilenet_v2 import BASE_WEIGHT_PATH

from services.trainer.engine import tflite_weights
from services.trainer.engine.models.layers import NORM_EPSILON
from services.trainer.engine.models.mobilenet_v2 import conv_norm_names
from services.trainer.protocol import Notice

KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
TFLITE_FILE = "mobilenet_v2_1.0_224_quant.tflite"
OFFICIAL_URL = BASE_WEIGHT_PATH + KERAS_FILE
CALIBRATION_PICTURES = 96
DOWNLOAD_SECONDS = 60.0
"""The most that a download may take in all; a connection that is silent for 5 s ends it earlier."""

Array = npt.NDArray[np.float32]


def load_pretrained(
    backbone: Any,
    batches: Iterable[Any],
    *,
    folder: str | None,
    scratch: Path,
    url: str | None,
    between: Callable[[], None] = lambda: None,
) -> Notice:
    """Fill `backbone` with ImageNet weights if any can be had, and say for the user what it starts from.

    `batches` yields normalised pictures [n, side, side, 3] to calibrate on. `url` is the download's address, None for no
    download; it goes to `folder`, where the next run finds it, or to `scratch` where there is none that can be written.
    `between` is called between pieces of a download and batches of a calibration, and may raise to end it.
    """
    candidates = [Path(folder) / KERAS_FILE, Path(folder) / TFLITE_FILE] if folder else []
    unreadable = []
    for path in filter(Path.is_file, candidates):
        try:
            load_file(backbone, path, batches, between)
        except (OSError, ValueError) as error:
            print(f"pretrained weights {path} can't be used: {error}", file=sys.stderr)
            unreadable.append(path.name)
        else:
            return _pretrained(path.name)
    if url is not None and not unreadable:
        target = download_folder(folder, scratch) / KERAS_FILE
        try:
            download(url, target, DOWNLOAD_SECONDS, between)
            load_file(backbone, target, batches, between)
        except (OSError, ValueError) as error:
            print(f"pretrained weights can't be downloaded: {error}", file=sys.stderr)
        else:
            return _pretrained(target.name)
    why = f"{unreadable[0]} can't be read" if unreadable else "no ImageNet weights could be found"
    return Notice(
        code="random_backbone",
        message=f"Training starts from random weights, as {why}: expect a lower mAP and plan for more steps.",
    )


def _pretrained(name: str) -> Notice:
    return Notice(code="pretrained_backbone", message=f"Training starts from weights pretrained on ImageNet ({name}).")


def load_file(backbone: Any, path: Path, batches: Iterable[Any], between: Callable[[], None] = lambda: None) -> None:
    """Load one file of either kind. Raises OSError or ValueError if it can't be read or doesn't fit; weights may then
    be partly replaced, which is as random as before."""
    if path.suffix == ".h5":
        _load_keras(backbone, path)
    else:
        _load_tflite(backbone, path)
        calibrate(backbone, batches, between)


def _fold_normalisation(kernel: Array) -> tuple[Array, Array]:
    """The first `kernel` [h, w, 3, out], made for pictures in [-1, 1], for ours: the new one, and what it adds per output.

    With p in [-1, 1] and x = ((p + 1) / 2 - mean) / std our picture: p = 2 * std * x + (2 * mean - 1).
    """
    mean, std = np.array(MEAN_NORM, np.float32), np.array(STDDEV_NORM, np.float32)
    folded: Array = kernel * (2 * std)[None, None, :, None]
    added: Array = np.einsum("hwio,i->o", kernel, 2 * mean - 1).astype(np.float32)
    return folded, added


def _load_keras(backbone: Any, path: Path) -> None:
    backbone.load_weights(str(path))
    first, norm = (backbone.get_layer(name) for name in conv_norm_names()[0])
    folded, added = _fold_normalisation(first.get_weights()[0])
    first.set_weights([folded])
    gamma, beta, mean, variance = norm.get_weights()
    norm.set_weights([gamma, beta, mean - added, variance])


def _load_tflite(backbone: Any, path: Path) -> None:
    """Kernels as they are and each bias as a batch norm that changes nothing else; `calibrate` makes it a true one."""
    names = conv_norm_names()
    pairs = tflite_weights.read_convolutions(path)[: len(names)]
    if len(pairs) < len(names):
        raise ValueError(f"{len(pairs)} convolutions found, {len(names)} needed")
    for index, ((conv_name, norm_name), (kernel, bias)) in enumerate(zip(names, pairs, strict=True)):
        if index == 0:
            kernel, added = _fold_normalisation(kernel)
            bias = bias + added
        backbone.get_layer(conv_name).set_weights([kernel])
        ones, zeros = np.ones_like(bias), np.zeros_like(bias)
        backbone.get_layer(norm_name).set_weights([ones, bias, zeros, ones - NORM_EPSILON])


def calibrate(backbone: Any, batches: Iterable[Any], between: Callable[[], None] = lambda: None) -> None:
    """Give batch norms that have only a bias the statistics of real pictures, without a change to what they compute.

    In training a batch norm subtracts and divides by its batch's statistics: left at mean 0 and variance 1 that would
    wreck the pretrained features at the first step.
    """
    names = conv_norm_names()
    probe = tf_keras.Model(backbone.input, [backbone.get_layer(conv).output for conv, _ in names])

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def moments(pictures: Any) -> Any:
        outputs = probe(pictures, training=False)
        return [(tf.reduce_mean(x, [0, 1, 2]), tf.reduce_mean(tf.square(x), [0, 1, 2])) for x in outputs]

    pictures, sums = 0, None
    for batch in batches:
        between()
        found = [(float(len(batch)) * a.numpy(), float(len(batch)) * b.numpy()) for a, b in moments(batch)]
        sums = found if sums is None else [(a + c, b + d) for (a, b), (c, d) in zip(sums, found, strict=True)]
        pictures += len(batch)
        if pictures >= CALIBRATION_PICTURES:
            break
    if sums is None:
        raise ValueError("there are no pictures to calibrate on")
    for (_, norm_name), (total, total_of_squares) in zip(names, sums, strict=True):
        norm = backbone.get_layer(norm_name)
        bias = norm.get_weights()[1]
        mean = total / pictures
        variance = np.maximum(total_of_squares / pictures - mean**2, 0.0)
        norm.set_weights([np.sqrt(variance + NORM_EPSILON), bias + mean, mean, variance])


def download_folder(folder: str | None, scratch: Path) -> Path:
    """`folder`, which is made if need be; `scratch` where there is none or, as a read-only mount, it can't be written."""
    if folder is None or (Path(folder).exists() and not os.access(folder, os.W_OK)):
        return scratch
    return Path(folder)


def download(url: str, target: Path, seconds: float, between: Callable[[], None] = lambda: None) -> None:
    """Fetch `url` into `target`, which appears only once it is whole. Raises OSError when offline, slow or refused."""
    target.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    part = target.with_name(target.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=5) as answer, part.open("wb") as file:
            expected = int(answer.headers.get("Content-Length") or -1)
            while chunk := answer.read(1 << 18):
                file.write(chunk)
                between()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not done within {seconds:g} s")
        if expected >= 0 and part.stat().st_size != expected:
            raise OSError(f"{part.stat().st_size} of {expected} bytes came")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
