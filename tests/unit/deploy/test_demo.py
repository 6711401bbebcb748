"""What the demo tells and which pictures it picks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tfrecord import TFRecordWriter

from deploy.local.demo import ShownModel, save_pictures, summary
from shared.contract.jobs import JobState
from shared.contract.stream import MetricPoint
from shared.contract.views import ExportedFile, ExportView, JobView, Reason
from shared.runtime.artifacts import Artifacts

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB = JobView(
    id="j",
    team="demo",
    version=9,
    state=JobState.SUCCEEDED,
    description="Demo",
    created_by="me",
    created_at=NOW,
    starting_model="ssd_mobilenet_v2_320x320",
    dataset_ids=["d"],
    dataset_names=["d"],
    labels=["ball"],
    train_frames=96,
    eval_frames=24,
    batch_size=8,
    steps_requested=200,
    steps_completed=200,
    max_seconds=600,
    attempt=1,
    used_seconds=123,
    export=ExportView(
        step=200, prefix="jobs/j/model", files=[ExportedFile(format="float32", name="f", bytes=18_400_000, sha256="0")]
    ),
    notices=[Reason(code="random_backbone", message="No pretrained backbone was found.")],
)


def test_the_summary_has_state_steps_map_seconds_and_sizes() -> None:
    evaluation = {"DetectionBoxes_Precision/mAP": 0.3125, "DetectionBoxes_Precision/mAP@.50IOU": 0.75}
    point = MetricPoint(
        model_id="j", step=200, attempt=1, saved_at=NOW, stepping_seconds=123.4, training={}, evaluation=evaluation
    )
    text = summary(ShownModel(model=JOB, metrics=[point]), [Path("detections/a b.png")], 301.6)
    for words in ("SUCCEEDED", "200 of 200", "0.312", "0.750", "123 s", "302 s", "18.4 MB", "No pretrained backbone"):
        assert words in text
    assert "(detections/a b.png)" in text


def test_a_job_without_figures_says_so() -> None:
    bare = msgspec.structs.replace(JOB, export=None, used_seconds=None)
    text = summary(ShownModel(model=bare), [], 1.0)
    assert text.count("not measured") == 2
    assert "unknown" in text


@pytest.mark.parametrize(("objects", "expected"), [([1, 0, 1, 1, 1], [b"0", b"2", b"3"]), ([0, 1], [b"1"])])
def test_evaluation_pictures_that_show_something_are_picked(
    tmp_path: Path, objects: list[int], expected: list[bytes]
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    writer = TFRecordWriter(str(made / "eval-00000-of-00001.tfrecord"))
    for number, count in enumerate(objects):
        text = ([b"ball"] * count, "byte")
        writer.write({"image/encoded": ([str(number).encode()], "byte"), "image/object/class/text": text})
    writer.close()
    artifacts = Artifacts((tmp_path / "store").as_uri())
    artifacts.publish("datasets/d", made)
    output = tmp_path / "output"
    output.mkdir()
    saved = save_pictures(artifacts, "datasets/d", output)
    assert [path.read_bytes() for path in saved] == expected
    assert sorted(output.iterdir()) == saved
