"""From a zip to a folder: all of it or nothing, the same each time, with a report that leaves no file unmentioned."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from tfrecord import example_pb2, reader

from services.dataset import index
from services.dataset.archive import ArchiveLimits
from services.dataset.formats.tfrecord import shard_count, source_id
from services.dataset.importer import ImportCancelled, ImportOptions, import_archive
from services.dataset.pictures import PictureLimits
from services.dataset.report import Imported, Manifest
from shared.contract.api.datasets import ImportReport
from shared.contract.errors import UserError
from tests.support.voc import annotation, frames, picture, write_zip

OPTIONS = ImportOptions(source_name="test.zip", salt="d1")
BCCD = Path(
    os.environ.get("TRAINYARD_BCCD_ZIP", Path(__file__).resolve().parents[4] / "shared" / "data" / "bccd-voc.zip")
)


def imported(tmp_path: Path, files: Mapping[str, bytes | str], options: ImportOptions = OPTIONS) -> Imported:
    return import_archive(write_zip(tmp_path / "in.zip", files), tmp_path / "out", options)


def refusal(tmp_path: Path, files: Mapping[str, bytes | str], options: ImportOptions = OPTIONS) -> UserError:
    """The refusal of `files`, after which nothing but the upload may be there."""
    with pytest.raises(UserError) as caught:
        imported(tmp_path, files, options)
    assert [path.name for path in tmp_path.iterdir()] == ["in.zip"]
    return caught.value


def records(folder: Path) -> dict[str, dict[str, list[object]]]:
    """All records by file name: features as lists."""
    found = {}
    for shard in sorted(folder.glob("*.tfrecord")):
        for raw in reader.tfrecord_iterator(str(shard)):
            example = example_pb2.Example()
            example.ParseFromString(bytes(raw))
            values = {key: list(getattr(f, f.WhichOneof("kind")).value) for key, f in example.features.feature.items()}
            values["pool"] = [shard.name.partition("-")[0]]
            found[values["image/filename"][0].decode()] = values
    return found


def test_the_whole_way(tmp_path: Path) -> None:
    files = frames(30) | {"images/empty.png": picture(99, kind="PNG"), "annotations/empty.xml": annotation("empty.png")}
    result = imported(tmp_path, files)
    out = tmp_path / "out"
    manifest, report = result.manifest, result.report
    assert (manifest.train.frames, manifest.eval.frames) == (25, 6)
    assert manifest.train.negatives + manifest.eval.negatives == 1
    assert [label.name for label in manifest.labels] == ["ball", "cube"]
    assert sum(label.train + label.eval for label in manifest.labels) == report.boxes == 30
    assert (report.read, report.annotations, report.skipped_total, report.ignored) == ({"pictures": 31}, 31, 0, 0)
    assert (out / "label_map.pbtxt").read_text() == (
        'item {\n  id: 1\n  name: "ball"\n}\nitem {\n  id: 2\n  name: "cube"\n}\n'
    )
    assert msgspec.json.decode((out / "manifest.json").read_bytes(), type=Manifest) == manifest
    assert msgspec.json.decode((out / "report.json").read_bytes(), type=ImportReport) == report
    listed = {file.name for file in manifest.files}
    assert listed | {"manifest.json", "report.json", index.FOLDER} == {path.name for path in out.iterdir()}
    for file in manifest.files:
        data = (out / file.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256)
    found = records(out)
    assert len(found) == 31
    assert len({values["image/source_id"][0] for values in found.values()}) == 31
    one = found["images/frame3.jpg"]
    assert one["image/object/class/text"] == [b"cube"]
    assert one["image/object/class/label"] == [2]
    assert one["image/object/bbox/xmin"] == pytest.approx([10 / 64])
    assert one["image/object/bbox/ymax"] == pytest.approx([30 / 48])
    assert one["image/object/area"] == pytest.approx([30 * 22])
    assert found["images/empty.png"]["image/object/class/label"] == []


def test_the_order_of_the_zip_changes_nothing(tmp_path: Path) -> None:
    files = frames(24)
    first = tmp_path / "a"
    second = tmp_path / "b"
    first.mkdir()
    second.mkdir()
    imported(first, files)
    imported(second, dict(reversed(files.items())))
    made = [path for path in (first / "out").rglob("*") if path.is_file()]
    assert len(made) > 5
    for path in made:
        assert path.read_bytes() == (second / "out" / path.relative_to(first / "out")).read_bytes()


def test_another_salt_changes_the_picture_ids_alone(tmp_path: Path) -> None:
    assert source_id("a", "x.jpg") != source_id("b", "x.jpg")
    assert 0 <= source_id("a", "x.jpg") < 2**53


def test_seed_and_percent(tmp_path: Path) -> None:
    pools = []
    for number, options in enumerate(({"seed": 1}, {"seed": 2}, {"eval_percent": 50})):
        folder = tmp_path / str(number)
        folder.mkdir()
        imported(folder, frames(40), msgspec.structs.replace(OPTIONS, **options))
        pools.append({name for name, values in records(folder / "out").items() if values["pool"] == ["eval"]})
    assert [len(pool) for pool in pools] == [8, 8, 20]
    assert pools[0] != pools[1]


def test_large_pictures_are_scaled_with_their_boxes(tmp_path: Path) -> None:
    files = frames(4) | {
        "big.jpg": picture(50, (1600, 1200)),
        "big.xml": annotation("big.jpg", [("ball", 160, 120, 800, 600)], size=(1600, 1200)),
    }
    imported(tmp_path, files)
    one = records(tmp_path / "out")["big.jpg"]
    assert (one["image/width"], one["image/height"]) == ([640], [480])
    assert one["image/object/bbox/xmax"] == pytest.approx([0.5])
    assert one["image/object/area"] == pytest.approx([256 * 192])


def test_a_size_that_disagrees(tmp_path: Path) -> None:
    files = frames(4) | {
        "half.jpg": picture(50, (320, 240)),
        "half.xml": annotation("half.jpg", [("ball", 64, 48, 320, 240)], size=(640, 480)),
        "odd.jpg": picture(51, (320, 240)),
        "odd.xml": annotation("odd.jpg", [("ball", 32, 24, 160, 120)], size=(500, 480)),
    }
    result = imported(tmp_path, files)
    found = records(tmp_path / "out")
    assert found["half.jpg"]["image/object/bbox/xmin"] == pytest.approx([0.1])
    assert found["odd.jpg"]["image/object/bbox/xmin"] == pytest.approx([0.1])
    warned = {warning.code: warning.files for warning in result.report.oddities}
    assert warned["size_scaled"] == ["half.jpg"]
    assert warned["size_mismatch"] == ["odd.jpg"]


def test_a_photo_taken_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = frames(4) | {
        "seen.jpg": picture(50, (64, 48), exif=exif),
        "seen.xml": annotation("seen.jpg", [("ball", 0, 0, 24, 64)], size=(48, 64)),
        "raw.jpg": picture(51, (64, 48), exif=exif),
        "raw.xml": annotation("raw.jpg", [("ball", 0, 0, 64, 24)], size=(64, 48)),
    }
    result = imported(tmp_path, files)
    found = records(tmp_path / "out")
    assert found["seen.jpg"]["image/width"] == [48]
    assert found["seen.jpg"]["image/object/bbox/xmax"] == pytest.approx([0.5])
    assert found["raw.jpg"]["image/width"] == [64]
    assert found["raw.jpg"]["image/object/bbox/ymax"] == pytest.approx([0.5])
    assert [warning.files for warning in result.report.oddities if warning.code == "rotated"] == [["seen.jpg"]]


def test_boxes_outside(tmp_path: Path) -> None:
    files = frames(4) | {
        "a.jpg": picture(50),
        "a.xml": annotation("a.jpg", [("ball", -10, 5, 30, 99), ("ball", 70, 5, 90, 9), ("ball", 30, 5, 20, 9)]),
        "b.jpg": picture(51),
        "b.xml": annotation("b.jpg", [("ball", 70, 5, 90, 9)]),
    }
    result = imported(tmp_path, files)
    one = records(tmp_path / "out")["a.jpg"]
    assert [one[f"image/object/bbox/{side}"] for side in ("xmin", "ymin", "xmax", "ymax")] == [
        pytest.approx([value]) for value in (0, 5 / 48, 30 / 64, 1)
    ]
    warned = {warning.code: warning.count for warning in result.report.oddities}
    assert warned["box_clipped"] == 1
    assert warned["box_dropped"] == 3
    assert "b.jpg" not in records(tmp_path / "out")  # objects without a usable box don't make a negative
    assert result.report.skipped_by_code == {"no_usable_box": 1}


def test_everything_that_is_left_out_is_reported(tmp_path: Path) -> None:
    files = frames(4) | {
        "lonely.jpg": b"never looked at",
        "film.gif": b"GIF89a",
        "notes.txt": "hello",
        "broken.xml": "<annotation>",
        "other.xml": "<svg/>",
        "huge.xml": "<annotation>" + " " * (1 << 20) + "</annotation>",
        "gone.xml": annotation("gone.jpg", [("ball", 1, 1, 9, 9)]),
        "again.xml": annotation("frame0.jpg", [("ball", 1, 1, 9, 9)]),
    }
    report = imported(tmp_path, files).report
    assert report.skipped_by_code == {
        "already_annotated": 1, "image_missing": 1, "no_annotation": 1, "not_an_annotation": 1,
        "unsupported_format": 1, "xml_malformed": 1, "xml_too_large": 1,
    }  # fmt: skip
    assert report.skipped_total == len(report.skipped) == 7
    assert {item.code for item in report.skipped} == set(report.skipped_by_code)
    assert "notes.txt" not in {item.file for item in report.skipped}
    assert report.ignored == 1


def test_pictures_without_annotation_can_be_negatives(tmp_path: Path) -> None:
    files = frames(8) | {f"floor{n}.jpg": picture(60 + n) for n in range(4)}
    result = imported(tmp_path, files, msgspec.structs.replace(OPTIONS, unlabelled="negative"))
    assert result.manifest.train.negatives + result.manifest.eval.negatives == 4


def test_labels_that_look_like_one(tmp_path: Path) -> None:
    result = imported(tmp_path, frames(24, ("Ball", "ball", "red cube")))
    assert [finding.code for finding in result.findings] == ["label_spellings", "few_boxes"]
    assert result.findings[0].labels == ["Ball", "ball"]
    assert result.report.oddities == []
    assert result.report.warnings == [finding.message for finding in result.findings]


def test_a_label_that_a_pool_lacks(tmp_path: Path) -> None:
    files = frames(24) | {"a.jpg": picture(50), "a.xml": annotation("a.jpg", [("once", 1, 1, 9, 9)])}
    [finding] = [f for f in imported(tmp_path, files).findings if f.code.startswith("label_missing_in_")]
    assert finding.labels == ["once"]
    assert "“once”" in finding.message


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"images/x.jpg": b"no picture", "x.xml": annotation("x.jpg")}, "image_undecodable"),
        ({"x.png": picture(1, (400, 300), "PNG"), "x.xml": annotation("x.png")}, "image_too_large"),
        ({"x.xml": annotation("frame0.jpg", prolog="<!DOCTYPE x>")}, "xml_dtd_forbidden"),
        ({"../x.xml": ""}, "path_escape"),
    ],
)
def test_refusals_leave_nothing_behind(tmp_path: Path, extra: dict[str, bytes | str], code: str) -> None:
    options = msgspec.structs.replace(OPTIONS, pictures=PictureLimits(pixels=100_000))
    assert refusal(tmp_path, frames(4) | extra, options).code == code


def test_no_picture_and_no_annotation(tmp_path: Path) -> None:
    assert refusal(tmp_path, {"a.txt": "x"}).code == "no_images"
    assert refusal(tmp_path, {"a.jpg": picture(1)}).code == "no_annotations"


def test_nothing_labelled(tmp_path: Path) -> None:
    error = refusal(tmp_path, {"a.jpg": picture(1), "a.xml": annotation("a.jpg"), "b.xml": annotation("gone.jpg")})
    assert error.code == "no_labelled_frame"
    assert "names a picture that is not in the archive" in error.message
    assert json.dumps(error.details)


def test_copies_of_one_labelled_picture(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {}
    for name in "abc":
        files[f"{name}.jpg"] = picture(1)
        files[f"{name}.xml"] = annotation(f"{name}.jpg", [("ball", 1, 1, 9, 9)])
    assert refusal(tmp_path, files).code == "too_few_labelled_frames"


def test_too_many_labels(tmp_path: Path) -> None:
    error = refusal(tmp_path, frames(6, tuple("abcdef")), msgspec.structs.replace(OPTIONS, max_labels=5))
    assert error.code == "too_many_labels"
    assert "6" in error.message
    assert "5" in error.message


@pytest.mark.parametrize("percent", [4, 51])
def test_a_percentage_out_of_range(tmp_path: Path, percent: int) -> None:
    error = refusal(tmp_path, frames(4), msgspec.structs.replace(OPTIONS, eval_percent=percent))
    assert (error.code, error.field) == ("eval_percent_out_of_range", "eval_percent")


def test_the_budget_holds_for_the_whole_import(tmp_path: Path) -> None:
    options = msgspec.structs.replace(OPTIONS, archive=ArchiveLimits(expanded_bytes=6000))
    assert refusal(tmp_path, frames(12), options).code == "expanded_too_large"


@pytest.mark.parametrize("after", [0, 3, 9, 16])
def test_cancelled(tmp_path: Path, after: int) -> None:
    calls = iter(range(100))
    path = write_zip(tmp_path / "in.zip", frames(8))
    with pytest.raises(ImportCancelled):
        import_archive(path, tmp_path / "out", OPTIONS, should_stop=lambda: next(calls) >= after)
    assert [path.name for path in tmp_path.iterdir()] == ["in.zip"]


def test_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = write_zip(tmp_path / "in.zip", frames(8))
    import_archive(path, tmp_path / "out", OPTIONS, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 8) for n in range(1, 9)]


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(OSError, match="out"):
        imported(tmp_path, frames(4))
    assert (tmp_path / "out" / "precious").exists()
    assert not (tmp_path / "out.partial").exists()


def test_how_many_shards() -> None:
    assert [shard_count(n, 0) for n in (0, 1, 9, 10, 29, 50, 10_000)] == [1, 1, 1, 1, 2, 5, 5]
    assert shard_count(10_000, 8 * 128 * 1024**2) == 8


@pytest.mark.skipif(not BCCD.exists(), reason="the BCCD archive is not here (TRAINYARD_BCCD_ZIP)")
def test_a_real_dataset(tmp_path: Path) -> None:
    with zipfile.ZipFile(BCCD) as archive:
        assert len(archive.namelist()) == 738
    result = import_archive(BCCD, tmp_path / "out", OPTIONS)
    manifest = result.manifest
    assert (manifest.train.frames, manifest.eval.frames) == (291, 73)
    assert {label.name: label.train + label.eval for label in manifest.labels} == {
        "Platelets": 361, "RBC": 4153, "WBC": 372,
    }  # fmt: skip
    assert [(warning.code, warning.count) for warning in result.report.oddities] == [("box_dropped", 2)]
    assert len(records(tmp_path / "out")) == 364
