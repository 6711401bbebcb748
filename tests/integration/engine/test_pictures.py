"""Pictures and predictions that the engine keeps for people to look at, and the precision of each label."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tfrecord.reader import tfrecord_loader

from services.trainer.protocol import CheckpointEvaluated, CheckpointSaved, DatasetName, PicturesKept, RunSpec
from shared.contract.pictures import (
    LEAST_SCORE,
    MOST_BOXES,
    MOST_PICTURES,
    PICTURES_FILE,
    PREDICTIONS_FILE,
    Pictures,
    Predictions,
    unpack,
)
from tests.integration.engine.conftest import LABELS, TensorFlowProcess
from tests.support import picture_checks
from tests.support.child import Child
from tests.support.records import Frame, drawn_frames, write_records

pytestmark = pytest.mark.timeout(300)


def pictures_in(folder: str | Path) -> Pictures:
    return unpack((Path(folder) / PICTURES_FILE).read_bytes(), Pictures)


def predictions_of(message: CheckpointEvaluated) -> Predictions:
    assert message.predictions is not None
    return unpack((Path(message.predictions) / PREDICTIONS_FILE).read_bytes(), Predictions)


class TestRun:
    def test_pictures_are_kept_once_and_as_they_are(self, first_run: Child) -> None:
        (kept,) = first_run.all(PicturesKept)
        frames = list(drawn_frames(8, seed=2))
        # Shard after shard: the even ones, then the odd ones.
        frames = frames[::2] + frames[1::2]
        stored = [
            record["image/encoded"] for shard in first_run.spec.eval_files for record in tfrecord_loader(shard, None)
        ]
        pictures = pictures_in(kept.path).pictures
        assert [picture.number for picture in pictures] == list(range(8))
        names = sorted(path.name for path in Path(kept.path).iterdir())
        assert names == [*(f"{number:03d}.jpg" for number in range(8)), PICTURES_FILE]
        for picture, frame, encoded in zip(pictures, frames, stored, strict=True):
            assert (picture.width, picture.height) == (320, 320)
            assert (Path(kept.path) / f"{picture.number:03d}.jpg").read_bytes() == bytes(encoded)
            drawn = [(label, *(pytest.approx(side, abs=1e-4) for side in sides)) for label, *sides in frame.boxes]
            assert [(box.label, box.xmin, box.ymin, box.xmax, box.ymax) for box in picture.boxes] == drawn
        assert [picture.file for picture in pictures][:2] == ["00000.jpg", "00002.jpg"]

    def test_each_evaluation_has_its_predictions(self, first_run: Child) -> None:
        for message in first_run.all(CheckpointEvaluated):
            found = predictions_of(message).pictures
            assert [picture.number for picture in found] == list(range(8))
            for picture in found:
                assert len(picture.boxes) <= MOST_BOXES
                assert all(LEAST_SCORE <= box.score <= 1 and box.label in LABELS for box in picture.boxes)

    def test_each_label_has_its_precision(self, first_run: Child) -> None:
        for message in first_run.all(CheckpointEvaluated):
            for label in LABELS:
                assert 0 <= message.evaluation[f"DetectionBoxes_PerformanceByCategory/mAP/{label}"] <= 1
                assert 0 <= message.evaluation[f"DetectionBoxes_Precision mAP@.50IOU ByCategory/{label}"] <= 1

    def test_another_attempt_says_the_same_of_the_same_pictures(
        self, first_run: Child, make_spec: Callable[..., RunSpec]
    ) -> None:
        """It goes on from the first checkpoint, as if nobody had heard of its evaluation."""
        first = first_run.all(CheckpointSaved)[0]
        spec = make_spec(
            attempt=2,
            resume_dir=first.path,
            resume_step=6,
            resume_evaluated=False,
            steps=7,
            export_formats=[],
            keep_pictures=False,
        )
        child = Child(spec)
        assert child.wait(200) == 0, child.tail()
        assert child.kinds() == ["evaluated", "started", "saved", "evaluated", "ended"]
        before = first_run.all(CheckpointEvaluated)[0]
        again, after = child.all(CheckpointEvaluated)
        for one, other in zip(predictions_of(before).pictures, predictions_of(again).pictures, strict=True):
            assert one.number == other.number
            surest = [box for box in one.boxes if box.score > LEAST_SCORE + 0.01]
            scores = [box.score for box in other.boxes]
            assert scores[: len(surest)] == pytest.approx([box.score for box in surest], abs=1e-3)
        assert [picture.number for picture in predictions_of(after).pictures] == list(range(8))


def test_what_is_kept_is_what_is_evaluated(
    tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    """The true boxes tell which picture it is: over more pictures than are kept, in three shards of two datasets."""
    files = write_records(drawn_frames(90, seed=3, side=32), tmp_path / "one", "eval", LABELS, shards=2)
    files += write_records(drawn_frames(45, seed=4, side=32), tmp_path / "two", "eval", LABELS, shards=1)
    one, two = DatasetName("d1", "Field"), DatasetName("d2", "Pit ☂")
    spec = make_spec(eval_files=files, eval_frames=135, eval_datasets=[one, one, two])
    kept = tensorflow(picture_checks.kept_pictures, spec, tmp_path / "pictures")
    assert kept is not None
    pictures = pictures_in(kept).pictures
    evaluated = dict(tensorflow(picture_checks.evaluated_boxes, spec))
    assert sorted(evaluated) == list(range(135))
    assert len(pictures) == MOST_PICTURES
    for picture in pictures:
        position = picture.number * 135 // MOST_PICTURES
        of, name = (one, None) if position < 90 else (two, f"{position - 90:05d}.jpg")
        assert (picture.dataset_id, picture.dataset) == (of.id, of.name)
        assert name is None or picture.file == name
        for box, sides in zip(picture.boxes, evaluated[position], strict=True):
            assert [box.ymin, box.xmin, box.ymax, box.xmax] == pytest.approx(sides, abs=1e-3)


def test_a_picture_that_is_large_or_no_jpeg_is_made_one(
    tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    def frame(kind: str, width: int, height: int) -> Frame:
        encoded = io.BytesIO()
        Image.new("RGB", (width, height), (200, 30, 60)).save(encoded, kind)
        return Frame(encoded.getvalue(), width, height, [("ball", 0.25, 0.5, 0.75, 1.0)])

    frames = [frame("JPEG", 1280, 720), frame("PNG", 60, 40), frame("PNG", 10, 2000)]
    spec = make_spec(eval_files=write_records(frames, tmp_path, "eval", LABELS, shards=1), eval_frames=3)
    kept = tensorflow(picture_checks.kept_pictures, spec, tmp_path / "pictures")
    assert kept is not None
    pictures = pictures_in(kept).pictures
    assert [(picture.width, picture.height) for picture in pictures] == [(640, 360), (60, 40), (3, 640)]
    for picture in pictures:
        with Image.open(kept / f"{picture.number:03d}.jpg") as image:
            assert (image.format, image.size) == ("JPEG", (picture.width, picture.height))
            assert image.getpixel((1, 1)) == pytest.approx((200, 30, 60), abs=6)
        (box,) = picture.boxes
        assert (box.label, box.ymin, box.xmin, box.ymax, box.xmax) == ("ball", 0.5, 0.25, 1.0, 0.75)
        assert (picture.dataset_id, picture.dataset) == ("", "")


def test_records_that_cannot_be_read_cost_the_pictures_alone(
    tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    path = tmp_path / "eval.tfrecord"
    path.write_bytes(b"no records" * 9)
    assert tensorflow(picture_checks.kept_pictures, make_spec(eval_files=[str(path)]), tmp_path / "pictures") is None


def test_the_precision_of_each_label_is_pycocotools_own(tensorflow: TensorFlowProcess) -> None:
    overall, by_label, kept = tensorflow(picture_checks.evaluated_by_hand)
    assert by_label == {
        "label AP/1": pytest.approx(1.0),
        "label AP50/1": pytest.approx(1.0),
        # One of two is found: precision 1 up to a recall of 0.5, which are 51 of 101 points.
        "label AP/2": pytest.approx(51 / 101),
        "label AP50/2": pytest.approx(51 / 101),
        # Found at the IoU thresholds 0.5, 0.55 and 0.6, not at the other seven.
        "label AP/3": pytest.approx(0.3),
        "label AP50/3": pytest.approx(1.0),
    }
    assert overall["AP"] == pytest.approx((1 + 51 / 101 + 0.3) / 3)
    assert overall["AP50"] == pytest.approx((1 + 51 / 101 + 1) / 3)
    # In pixels of the picture, and still as corners.
    assert kept["detection_boxes"][0][0][2] == pytest.approx([100, 100, 180, 180], abs=1e-3)
