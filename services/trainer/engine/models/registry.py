"""Which network belongs to which starting model: the one table between a name in a run's spec and code that builds it.

Owns the table and the assembly of a detector; sizes and batches that others need too are in the contract's table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from official.vision.modeling.layers.detection_generator import MultilevelDetectionGenerator
from official.vision.modeling.retinanet_model import RetinaNetModel

from services.trainer.engine.control import RunError
from services.trainer.engine.models import ssd

BOX_CODER_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""y, x, h, w: Faster RCNN's, which the published SSD uses as well."""


LEAST_SCORE = 0.01
"""Boxes below this score aren't reported, in evaluation as in the exported file, so that its mAP is the one shown."""


@dataclass(frozen=True)
class Network:
    """How to build one starting model, and the loss figures of its published pipeline."""

    image_size: int
    min_level: int
    max_level: int
    build_backbone: Callable[[], Any]
    build_decoder: Callable[[Mapping[str, Any]], Any]
    build_head: Callable[[int], Any]
    anchor_boxes: Callable[[tuple[int, int]], Mapping[str, Any]]
    focal_alpha: float
    focal_gamma: float
    nms_iou: float


NETWORKS: Mapping[str, Network] = {
    "ssd_mobilenet_v2_320x320": Network(
        image_size=ssd.IMAGE_SIZE,
        min_level=ssd.MIN_LEVEL,
        max_level=ssd.MIN_LEVEL + len(ssd.MAP_SIZES) - 1,
        build_backbone=ssd.build_ssd_backbone,
        build_decoder=ssd.build_extra_maps,
        build_head=ssd.SSDHead,
        anchor_boxes=ssd.anchor_boxes,
        focal_alpha=0.75,
        focal_gamma=2.0,
        nms_iou=0.6,
    )
}


def network_of(starting_model: str) -> Network:
    """Raises RunError("internal_error") for a name that this engine doesn't know."""
    network = NETWORKS.get(starting_model)
    if network is None:
        known = ", ".join(NETWORKS)
        raise RunError("internal_error", f"This trainer can't build {starting_model!r}; it knows {known}.")
    return network


def assemble(network: Network, backbone: Any, decoder: Any, head: Any, **generator: Any) -> Any:
    """A RetinaNetModel out of parts, which several models may share; `generator` goes to the detection generator."""
    return RetinaNetModel(
        backbone=backbone,
        decoder=decoder,
        head=head,
        detection_generator=MultilevelDetectionGenerator(
            nms_iou_threshold=network.nms_iou, box_coder_weights=list(BOX_CODER_WEIGHTS), **generator
        ),
        anchor_boxes=network.anchor_boxes((network.image_size, network.image_size)),
        min_level=network.min_level,
        max_level=network.max_level,
    )


def build_model(network: Network, num_classes: int) -> Any:
    """A fresh detector for `num_classes` classes (labels and the background), its weights made."""
    backbone = network.build_backbone()
    decoder = network.build_decoder(backbone.output_specs)
    model = assemble(
        network,
        backbone,
        decoder,
        network.build_head(num_classes),
        nms_version="v2",
        max_num_detections=100,
        pre_nms_score_threshold=LEAST_SCORE,
    )
    model(tf.zeros([1, network.image_size, network.image_size, 3]), training=True)
    return model
