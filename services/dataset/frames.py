"""A labelled picture on its way through an import, and the arithmetic of its boxes.

Pure: no files, no pictures, no XML. Coordinates are pixels with the origin at the top left corner; a box spans
[xmin, xmax) x [ymin, ymax) on a continuous plane, so a box around everything is (0, 0, width, height).
"""

from __future__ import annotations

import msgspec

# Labelling tools that count pixels from 1 and others that count from 0 differ by one: that much beyond the edge is no warning.
EDGE_TOLERANCE = 1.0
MIN_SIDE = 1.0  # pixels of the original picture; a thinner box holds nothing to learn from


class Box(msgspec.Struct, frozen=True):
    """One labelled box, in pixels."""

    label: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float


class Clipped(msgspec.Struct, frozen=True):
    """What became of a box: None where nothing was left of it; `moved` where it lay outside by more than the tolerance."""

    box: Box | None
    moved: bool


def clip(box: Box, width: float, height: float) -> Clipped:
    """The part of `box` inside a picture of `width` x `height` pixels."""
    inside = Box(
        box.label,
        min(max(box.xmin, 0.0), width),
        min(max(box.ymin, 0.0), height),
        min(max(box.xmax, 0.0), width),
        min(max(box.ymax, 0.0), height),
    )
    overhang = max(-box.xmin, -box.ymin, box.xmax - width, box.ymax - height)
    if inside.xmax - inside.xmin < MIN_SIDE or inside.ymax - inside.ymin < MIN_SIDE:
        return Clipped(None, overhang > EDGE_TOLERANCE)
    return Clipped(inside, overhang > EDGE_TOLERANCE)


def scale(box: Box, x: float, y: float) -> Box:
    """The box in a picture that is `x` times as wide and `y` times as high."""
    return Box(box.label, box.xmin * x, box.ymin * y, box.xmax * x, box.ymax * y)


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One picture that goes into the dataset, without its bytes. `boxes` are in pixels of the stored picture.

    `digest` is the SHA-256 of the picture's file as uploaded, `dhash` 64 bits that change little between neighbouring frames.
    """

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    digest: str
    dhash: int

    @property
    def labels(self) -> frozenset[str]:
        """The labels that occur in it; none means that it is a negative."""
        return frozenset(box.label for box in self.boxes)
