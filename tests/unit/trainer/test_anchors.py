"""The anchors are the published SSD's."""

from __future__ import annotations

import math

import numpy as np

from services.trainer.engine.anchors import anchors_of_map, ssd_anchors

MAPS = (19, 10, 5, 3, 2, 1)


def test_1917_anchors_in_the_published_layout() -> None:
    arrays = ssd_anchors(MAPS, 300)
    assert [array.shape for array in arrays] == [
        (19, 19, 12), (10, 10, 24), (5, 5, 24), (3, 3, 24), (2, 2, 24), (1, 1, 24),
    ]  # fmt: skip
    assert sum(array.size // 4 for array in arrays) == 1917


def test_the_first_map_has_three_anchors_a_cell_and_a_small_square() -> None:
    assert anchors_of_map(0, 6) == [(0.1, 1.0), (0.2, 2.0), (0.2, 0.5)]


def test_other_maps_have_five_ratios_and_a_square_between_two_scales() -> None:
    scales = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0]
    for index in range(1, 6):
        found = anchors_of_map(index, 6)
        assert [ratio for _, ratio in found] == [1.0, 2.0, 0.5, 3.0, 0.3333, 1.0]
        np.testing.assert_allclose([scale for scale, _ in found[:5]], [scales[index]] * 5)
        assert math.isclose(found[5][0], math.sqrt(scales[index] * scales[index + 1]))


def test_boxes_are_centred_on_their_cells() -> None:
    first = ssd_anchors(MAPS, 300)[0][2, 5]
    boxes = first.reshape(3, 4)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    np.testing.assert_allclose(centres, [[2.5 / 19 * 300, 5.5 / 19 * 300]] * 3, rtol=1e-5)
    heights, widths = (boxes[:, 2:] - boxes[:, :2]).T
    np.testing.assert_allclose(widths / heights, [1.0, 2.0, 0.5], rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(widths * heights), [30, 60, 60], rtol=1e-4)


def test_large_anchors_reach_outside() -> None:
    last = ssd_anchors(MAPS, 300)[-1].reshape(6, 4)
    assert last.min() < 0
    assert last.max() > 300
