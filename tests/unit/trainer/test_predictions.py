"""Which pictures are kept, and what of the boxes that were found in them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.engine.predictions import chosen, found_boxes, write_predictions
from shared.contract.pictures import MOST_BOXES, MOST_PICTURES, PREDICTIONS_FILE, FoundBoxes, Predictions, unpack

LABELS = ["ball", "cube"]


def batch(
    positions: list[int], boxes: Any, scores: Any, classes: Any = None, size: tuple[int, int] = (200, 400)
) -> dict[str, list[Any]]:
    """One batch of an evaluation, all its pictures of `size` (height, width) and with the same boxes."""
    count, boxes, scores = len(positions), np.array(boxes, np.float32), np.array(scores, np.float32)
    labels = np.ones(len(scores), np.int32) if classes is None else np.array(classes, np.int32)
    info = [[size, (300, 300), (300 / size[0], 300 / size[1]), (0, 0)]]
    return {
        "source_id": [np.array(positions, np.int64)],
        "image_info": [np.repeat(np.array(info, np.float32), count, axis=0)],
        "detection_boxes": [np.repeat(boxes[None], count, axis=0)],
        "detection_classes": [np.repeat(labels[None], count, axis=0)],
        "detection_scores": [np.repeat(scores[None], count, axis=0)],
    }


def found_in_one(boxes: Any, scores: Any, classes: Any = None) -> FoundBoxes:
    (found,) = found_boxes(batch([0], boxes, scores, classes), 1, LABELS)
    return found


class TestChoice:
    @pytest.mark.parametrize("frames", [0, 1, 73, MOST_PICTURES])
    def test_all_are_kept_where_there_are_few(self, frames: int) -> None:
        assert chosen(frames) == list(range(frames))

    @given(st.integers(min_value=MOST_PICTURES, max_value=10**7))
    def test_of_many_as_many_as_may_be_spread_evenly(self, frames: int) -> None:
        positions = chosen(frames)
        assert len(positions) == MOST_PICTURES
        assert positions[0] == 0
        gaps = {later - earlier for earlier, later in pairwise([*positions, frames])}
        assert gaps <= {frames // MOST_PICTURES, frames // MOST_PICTURES + 1}


class TestBoxes:
    def test_sides_are_fractions_of_the_picture_and_labels_names(self) -> None:
        found = found_in_one([[20, 100, 50, 300], [0, 0, 200, 400]], [0.4, 0.91239], [2, 1])
        assert [(box.label, box.score) for box in found.boxes] == [("ball", 0.9124), ("cube", 0.4)]
        cube = found.boxes[1]
        assert (cube.ymin, cube.xmin, cube.ymax, cube.xmax) == (0.1, 0.25, 0.25, 0.75)

    def test_they_end_where_the_picture_does(self) -> None:
        (box,) = found_in_one([[-50, -1, 250, 500]], [0.5]).boxes
        assert (box.ymin, box.xmin, box.ymax, box.xmax) == (0, 0, 1, 1)

    def test_what_has_no_area_in_the_picture_is_none(self) -> None:
        whole, nan = [0, 0, 100, 100], float("nan")
        boxes = [
            [50, 50, 50, 90],
            [50, 90, 80, 60],
            [0, -90, 80, -5],
            [nan, 0, 10, 10],
            [0, 0, float("inf"), 10],
            whole,
        ]
        assert [box.xmax for box in found_in_one(boxes, [0.9] * 6).boxes] == [0.25]

    def test_the_unsure_are_left_out_and_the_surest_come_first(self) -> None:
        scores = [0.0499, 0.05, 0.3, float("nan"), 0.0, -1.0]
        boxes = [[0, 0, 10 * n, 10 * n] for n in range(1, 7)]
        assert [box.score for box in found_in_one(boxes, scores).boxes] == [0.3, 0.05]

    def test_no_more_than_the_most(self) -> None:
        scores = np.linspace(0.1, 0.9, 2 * MOST_BOXES)
        found = found_in_one([[0, 0, 10, 10]] * len(scores), scores)
        assert len(found.boxes) == MOST_BOXES
        assert found.boxes[0].score == pytest.approx(0.9)
        assert found.boxes[-1].score > 0.5


class TestPictures:
    def test_those_that_were_chosen_by_number_whatever_the_batches(self) -> None:
        frames = 250
        one, other = batch([5, 4, 3, 2], [[0, 0, 10, 10]], [0.5]), batch([1, 0, 249], [[0, 0, 10, 10]], [0.0])
        both = {name: one[name] + other[name] for name in one}
        assert chosen(frames)[:3] == [0, 2, 5]
        found = list(found_boxes(both, frames, LABELS))
        assert [(each.number, len(each.boxes)) for each in found] == [(0, 0), (1, 1), (2, 1)]

    def test_they_are_written_to_a_file(self, tmp_path: Path) -> None:
        found = batch([0, 1], [[0, 0, 10, 10]], [0.5])
        folder = write_predictions(found, 2, LABELS, tmp_path / "predictions" / "00000100")
        assert folder == tmp_path / "predictions" / "00000100"
        read = unpack((folder / PREDICTIONS_FILE).read_bytes(), Predictions)
        assert read.pictures == list(found_boxes(found, 2, LABELS))

    def test_a_failure_is_logged_and_no_more(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        found = batch([0], [[0, 0, 10, 10]], [0.5], [3])
        assert write_predictions(found, 1, LABELS, tmp_path / "of no label") is None
        assert "IndexError" in capsys.readouterr().err
        (tmp_path / "there").write_text("a file in the way")
        assert write_predictions(batch([0], [[0, 0, 10, 10]], [0.5]), 1, LABELS, tmp_path / "there") is None
        assert "FileExistsError" in capsys.readouterr().err
