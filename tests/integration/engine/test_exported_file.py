"""Inference with a file that was really exported, and the drawing of what it finds."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.cli.detect import PALETTE, BadModel, Detection, Detector, annotate, read_labels, read_normalisation
from tests.support.child import Child
from tests.support.records import drawn_frames

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def exported(first_run: Child) -> Path:
    return Path(first_run.spec.work_dir) / "model" / "float16.tflite"


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.open(io.BytesIO(next(drawn_frames(1, seed=5)).encoded))


def test_the_file_describes_itself(exported: Path) -> None:
    detector = Detector(exported)
    assert detector.labels == ["ball", "cube"]
    assert (detector.mean, detector.std) == (127.5, 127.5)
    assert (detector.width, detector.height) == (300, 300)


def test_detections_are_sorted_clipped_and_named(exported: Path, picture: Image.Image) -> None:
    found = Detector(exported).detect(picture, least_score=0.0)
    assert 0 < len(found) <= 50
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    for detection in found:
        assert detection.label in ("ball", "cube")
        xmin, ymin, xmax, ymax = detection.box
        assert 0 <= xmin <= xmax <= 1
        assert 0 <= ymin <= ymax <= 1
    assert Detector(exported).detect(picture, least_score=1.01) == []


def test_any_kind_of_picture_goes(exported: Path, picture: Image.Image) -> None:
    detector = Detector(exported)
    assert detector.detect(picture.convert("L"), least_score=0.0)
    assert detector.detect(picture.convert("RGBA").resize((640, 200)), least_score=0.0)


def test_readers_of_the_metadata_standard_find_the_labels(exported: Path) -> None:
    """A zip at the end of a flatbuffer whose metadata buffer has the schema's identifier."""
    data = exported.read_bytes()
    assert b"TFLITE_METADATA" in data
    assert b"M001" in data
    with zipfile.ZipFile(exported) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED


def test_the_outputs_shapes_are_in_the_file(exported: Path) -> None:
    """LiteRT's compiled models, a browser's among them, make room for the outputs by them."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(exported.read_bytes(), 0).subgraphs[0]
    assert [list(graph.tensors[output].shape) for output in graph.outputs] == [[1, 50, 4], [1, 50], [1, 50], [1]]


def test_files_that_are_no_detectors_are_refused(exported: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.tflite"
    text.write_text("hello")
    with pytest.raises(BadModel, match=r"text\.tflite is no TFLite file"):
        Detector(text)
    with pytest.raises(BadModel, match=r"text\.tflite carries no labels"):
        read_labels(text)
    empty = tmp_path / "empty.tflite"
    with zipfile.ZipFile(empty, "w"):
        pass
    with pytest.raises(BadModel, match="carries no labels"):
        read_labels(empty)


def test_without_metadata_the_custom_normalisation_is_used() -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    builder = flatbuffers.Builder(64)
    builder.Finish(schema.ModelT().Pack(builder), file_identifier=b"TFL3")
    assert read_normalisation(bytes(builder.Output())) == (127.5, 127.5)


def test_annotations_are_drawn_on_a_copy() -> None:
    blank = Image.new("RGB", (320, 240), "white")
    found = [
        Detection("ball", 0.91, (0.25, 0.25, 0.5, 0.75)),
        Detection("cube", 0.5, (0.9, 0.0, 1.0, 0.2)),
        Detection("ball", 0.4, (0.1, 0.1, 0.1, 0.1)),
    ]
    drawn = annotate(blank, found, ["ball", "cube"])
    assert np.asarray(blank).min() == 255
    colours = {drawn.getpixel((x, y)) for x in range(320) for y in range(240)}
    for colour in PALETTE[:2]:
        assert tuple(bytes.fromhex(colour[1:])) in colours
    assert drawn.getpixel((120, 120)) == (255, 255, 255)
    assert annotate(blank, found).size == blank.size
