"""What the importer writes is what Model Garden's own decoder reads."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from services.dataset.importer import ImportOptions, import_archive
from tests.support.voc import annotation, frames, picture, write_zip

# TensorFlow takes seconds to load and keeps its memory: in a process of its own.
DECODE = """
import json, sys
import tensorflow as tf
from official.vision.dataloaders.tf_example_decoder import TfExampleDecoder
decoder = TfExampleDecoder()
found = []
for record in tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(sys.argv[1]))):
    one = decoder.decode(record)
    found.append({"id": int(tf.strings.to_number(one["source_id"], tf.int64)),
        "height": int(one["height"]), "width": int(one["width"]), "shape": one["image"].shape.as_list(),
        "classes": one["groundtruth_classes"].numpy().tolist(), "boxes": one["groundtruth_boxes"].numpy().tolist(),
        "areas": one["groundtruth_area"].numpy().tolist(), "crowds": one["groundtruth_is_crowd"].numpy().tolist(),
        "mean": float(tf.reduce_mean(tf.cast(one["image"], tf.float32)))})
print("FOUND" + json.dumps(found))
"""


class Decoded(msgspec.Struct):
    id: int
    height: int
    width: int
    shape: list[int]
    classes: list[int]
    boxes: list[list[float]]  # ymin, xmin, ymax, xmax in 0..1
    areas: list[float]
    crowds: list[bool]
    mean: float


@pytest.mark.timeout(240)
def test_model_garden_reads_the_records(tmp_path: Path) -> None:
    files = frames(20) | {
        "two.png": picture(50, (320, 240), "PNG", "L"),
        "two.xml": annotation("two.png", [("cube", 32, 24, 160, 120), ("ball", 0, 0, 320, 240)], size=(320, 240)),
        "none.jpg": picture(51),
        "none.xml": annotation("none.jpg"),
    }
    path = write_zip(tmp_path / "a.zip", files)
    manifest = import_archive(path, tmp_path / "out", ImportOptions(source_name="a", salt="x")).manifest
    run = subprocess.run(
        [sys.executable, "-c", DECODE, str(tmp_path / "out" / "*.tfrecord")],
        capture_output=True, text=True, check=True, timeout=200,
    )  # fmt: skip
    found = msgspec.json.decode(run.stdout.partition("FOUND")[2], type=list[Decoded])
    assert len(found) == manifest.train.frames + manifest.eval.frames == 22
    assert len({one.id for one in found}) == 22
    assert all(one.shape == [one.height, one.width, 3] for one in found)
    two = next(one for one in found if one.width == 320)
    order = np.argsort(two.classes)[::-1]
    assert [two.classes[i] for i in order] == [2, 1]
    np.testing.assert_allclose(np.array(two.boxes)[order], [[0.1, 0.1, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]], atol=1e-6)
    np.testing.assert_allclose(np.array(two.areas)[order], [128.0 * 96, 320.0 * 240], rtol=1e-6)
    assert two.crowds == [False, False]
    with Image.open(io.BytesIO(picture(50, (320, 240), "PNG", "L"))) as image:
        assert two.mean == pytest.approx(float(np.asarray(image).mean()), abs=1)
    assert sorted(one.classes for one in found if one.width == 64) == [[], *[[1]] * 10, *[[2]] * 10]
    plain = next(one for one in found if one.classes == [1] and one.width == 64)
    np.testing.assert_allclose(plain.boxes, [[8 / 48, 10 / 64, 30 / 48, 40 / 64]], atol=1e-6)
