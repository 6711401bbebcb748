"""Boxes stay inside their picture."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.dataset.frames import Box, clip, scale

coordinate = st.floats(-1e9, 1e9)
boxes = st.builds(Box, st.just("ball"), coordinate, coordinate, coordinate, coordinate)
sides = st.floats(1, 20_000)


@given(boxes, sides, sides)
def test_what_is_left_is_a_box_inside_the_picture_and_the_old_box(box: Box, width: float, height: float) -> None:
    left = clip(box, width, height).box
    if left is None:
        return
    assert 0 <= left.xmin < left.xmax <= width
    assert 0 <= left.ymin < left.ymax <= height
    assert box.xmin <= left.xmin
    assert left.xmax <= box.xmax
    assert box.ymin <= left.ymin
    assert left.ymax <= box.ymax
    assert clip(left, width, height).box == left
    assert not clip(left, width, height).moved


@given(boxes, sides, sides)
def test_an_inverted_box_is_dropped(box: Box, width: float, height: float) -> None:
    if box.xmax <= box.xmin or box.ymax <= box.ymin:
        assert clip(box, width, height).box is None


def test_one_pixel_beyond_the_edge_is_no_news() -> None:
    assert clip(Box("a", -1, 0, 65, 48), 64, 48).moved is False
    assert clip(Box("a", -1.5, 0, 65, 48), 64, 48).moved is True
    assert clip(Box("a", 70, 0, 90, 48), 64, 48).box is None


def test_scaling() -> None:
    assert scale(Box("a", 1, 2, 3, 4), 2, 10) == Box("a", 2, 20, 6, 40)
