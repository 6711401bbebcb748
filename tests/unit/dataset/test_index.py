"""The index leads to each picture's bytes, is the same whenever it is made, and gives any range of pictures."""

from __future__ import annotations

import hashlib
import io
from functools import partial
from io import FileIO
from pathlib import Path

import pytest
from PIL import Image

from services.dataset import index
from services.dataset.formats import tfrecord
from services.dataset.importer import ImportCancelled, ImportOptions, import_archive
from services.dataset.index import IndexedPicture, LabelledBox, PictureIndex, Place, Shard, build, choose, decode
from shared.contract.api.datasets import Pool
from tests.support.voc import annotation, picture, write_zip

LARGE, SMALL = (640, 480), (64, 48)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as an import makes it: 24 pictures with a ball each, 6 with nothing, one that is smaller than a thumbnail."""
    folder = tmp_path_factory.mktemp("index")
    files: dict[str, bytes | str] = {}
    for number in range(30):
        boxes = [("ball", 64, 48, 320, 240)] if number < 24 else []
        files[f"f{number}.jpg"] = picture(number, LARGE)
        files[f"f{number}.xml"] = annotation(f"f{number}.jpg", boxes, LARGE)
    files |= {"small.jpg": picture(99), "small.xml": annotation("small.jpg", [("cube", 16, 12, 32, 24)], SMALL)}
    import_archive(write_zip(folder / "in.zip", files), folder / "out", ImportOptions(source_name="a", salt="x"))
    return folder / "out"


def read(dataset: Path) -> PictureIndex:
    return decode((dataset / index.FOLDER / index.INDEX).read_bytes())


def shards(dataset: Path) -> list[Shard]:
    return [Shard(path.name, partial(FileIO, path)) for path in sorted(dataset.iterdir()) if path.is_file()]


def bytes_at(folder: Path, place: Place) -> bytes:
    with (folder / place.name).open("rb") as file:
        file.seek(place.offset)
        return file.read(place.length)


def test_pictures_are_found_at_their_places(dataset: Path) -> None:
    found = read(dataset)
    assert [item.name for item in found.pictures] == [*(f"f{number}.jpg" for number in range(30)), "small.jpg"]
    assert found.labels == ["ball", "cube"]
    for item in found.pictures:
        jpeg = bytes_at(dataset, item.picture)
        assert Image.open(io.BytesIO(jpeg)).size == (item.width, item.height)
        assert hashlib.sha256(jpeg).hexdigest().startswith(item.digest)
        if item.name == "small.jpg":
            assert item.thumb is None
            continue
        assert item.thumb is not None
        with Image.open(io.BytesIO(bytes_at(dataset / index.FOLDER, item.thumb))) as thumb:
            assert (thumb.format, thumb.size) == ("JPEG", (240, 180))
    pools = {item.name: item.pool for item in found.pictures}
    assert set(pools.values()) == {"train", "eval"}
    for shard in shards(dataset):
        if shard.name.endswith(".tfrecord"):
            with shard.open() as file:
                assert {pools[record.name] for record in tfrecord.read(file, shard.name)} == {index.pool_of(shard.name)}


def test_boxes_are_shares_of_the_picture(dataset: Path) -> None:
    found = read(dataset)
    [box] = found.pictures[0].boxes
    assert (box.label, [round(side, 4) for side in (box.xmin, box.ymin, box.xmax, box.ymax)]) == (
        "ball",
        [0.1, 0.1, 0.5, 0.5],
    )
    assert found.pictures[29].boxes == []


def test_it_is_the_same_made_again(dataset: Path, tmp_path: Path) -> None:
    """Of a dataset that has none, from its shards alone."""
    again = build(shards(dataset), ["ball", "cube"], tmp_path, lambda: None)
    assert again == read(dataset)
    for name in (index.INDEX, index.THUMBS):
        assert (tmp_path / name).read_bytes() == (dataset / index.FOLDER / name).read_bytes()


def test_making_it_can_be_stopped(dataset: Path, tmp_path: Path) -> None:
    def stop() -> None:
        raise ImportCancelled

    with pytest.raises(ImportCancelled):
        build(shards(dataset), [], tmp_path, stop)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: data[:-1], "ends within a record"),
        (lambda data: data[:5], "holds no record at byte"),
        (lambda data: bytes([255] * 8) + data[8:], "holds no record at byte"),
        (lambda data: data[:12] + bytes([255] * 200) + data[212:], "can't be read"),
        (lambda data: data.replace(b"image/encoded", b"image/encodes"), "can't be read"),
        (lambda data: data.replace(b"bbox/xmin", b"bbox/xman"), "can't be read"),
    ],
)
def test_a_broken_shard_says_so(dataset: Path, damage: object, problem: str) -> None:
    path = next(dataset.glob("train-*"))
    data = damage(path.read_bytes())  # type: ignore[operator]
    with pytest.raises(tfrecord.Broken, match=problem):
        list(tfrecord.read(io.BytesIO(data), path.name))


def test_a_picture_that_cant_be_decoded_is_listed_without_a_thumbnail(tmp_path: Path) -> None:
    from tfrecord import TFRecordWriter

    from services.dataset.frames import Box, Frame

    frame = Frame(name="a.jpg", width=640, height=480, boxes=(Box("ball", 1, 1, 9, 9),), digest="", dhash=0)
    writer = TFRecordWriter(str(tmp_path / "train-00000-of-00001.tfrecord"))
    writer.write(tfrecord.example(frame, b"no picture", {"ball": 1}, 1))
    writer.close()
    folder = tmp_path / "made"
    folder.mkdir()
    [item] = build(shards(tmp_path), ["ball"], folder, lambda: None).pictures
    assert (item.name, item.thumb) == ("a.jpg", None)


def entry(number: int, pool: Pool, *labels: str) -> IndexedPicture:
    boxes = [LabelledBox(label, 0, 0, 1, 1) for label in labels]
    return IndexedPicture(str(number), pool, 1, 1, boxes, "", Place("a", 0, 0), None)


CHOSEN = PictureIndex(
    ["ball", "cube"],
    [
        entry(0, "train", "ball"),
        entry(1, "eval"),
        entry(2, "eval", "ball", "ball", "cube"),
        entry(3, "train", "cube"),
        entry(4, "train"),
        entry(5, "train", "ball"),
    ],
)


@pytest.mark.parametrize(
    ("wanted", "numbers", "total"),
    [
        ({}, [0, 1, 2, 3, 4, 5], 6),
        ({"offset": 2, "limit": 2}, [2, 3], 6),
        ({"offset": 6}, [], 6),
        ({"label": "ball"}, [0, 2, 5], 3),
        ({"label": "ball", "offset": 1, "limit": 1}, [2], 3),
        ({"label": "ball", "pool": "train"}, [0, 5], 2),
        ({"pool": "eval"}, [1, 2], 2),
        ({"negative": True}, [1, 4], 2),
        ({"negative": True, "pool": "eval"}, [1], 1),
    ],
)
def test_choosing(wanted: dict[str, object], numbers: list[int], total: int) -> None:
    asked: dict[str, object] = {"offset": 0, "limit": 100, "label": None, "pool": None, "negative": False} | wanted
    chosen = choose(CHOSEN, **asked)  # type: ignore[arg-type]
    assert ([number for number, _ in chosen.pictures], chosen.total) == (numbers, total)
    assert CHOSEN.weight == 6 + 6
