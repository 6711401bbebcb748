"""The anchor boxes of SSD, as arrays: where they lie and in which order.

Owns the geometry alone; knows no TensorFlow. The layout is that of the published SSD MobileNet v2 (six feature maps, scales
spread evenly between 0.2 and 0.95 of the picture, three anchors a cell on the first map and six on the others), so that its
checkpoints' box predictors would fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SCALE_MIN, SCALE_MAX = 0.2, 0.95
ASPECT_RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)
"""Width to height, in the published order; each map but the first gets one more square between its scale and the next."""


def anchors_of_map(index: int, maps: int) -> list[tuple[float, float]]:
    """The (scale, aspect ratio) of each anchor of a cell of feature map `index` (from 0) out of `maps`, in order."""
    scales = [SCALE_MIN + (SCALE_MAX - SCALE_MIN) * i / (maps - 1) for i in range(maps)] + [1.0]
    if index == 0:
        return [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
    between = math.sqrt(scales[index] * scales[index + 1])
    return [(scales[index], ratio) for ratio in ASPECT_RATIOS] + [(between, 1.0)]


def ssd_anchors(map_sizes: Sequence[int], image_size: int) -> list[npt.NDArray[np.float32]]:
    """Anchors in pixels, one array a feature map: [size, size, 4 * anchors a cell], each (ymin, xmin, ymax, xmax), unclipped.

    `map_sizes` are the sides of the square feature maps, finest first; `image_size` is the side of the square picture.
    """
    arrays: list[npt.NDArray[np.float32]] = []
    for index, size in enumerate(map_sizes):
        centres = (np.arange(size, dtype=np.float64) + 0.5) / size
        y, x = np.meshgrid(centres, centres, indexing="ij")
        corners: list[npt.NDArray[np.float64]] = []
        for scale, ratio in anchors_of_map(index, len(map_sizes)):
            height, width = scale / math.sqrt(ratio), scale * math.sqrt(ratio)
            corners += [y - height / 2, x - width / 2, y + height / 2, x + width / 2]
        arrays.append((np.stack(corners, axis=-1) * image_size).astype(np.float32))
    return arrays
