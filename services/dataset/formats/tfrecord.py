"""Shards of tf.train.Example records as Model Garden's TfExampleDecoder reads them, and the label map beside them.

Owns the layout of a record, writing and reading, and the names of files. Knows neither VOC nor archives, and needs no
TensorFlow. Label ids start at 1: 0 is the background.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
from google.protobuf.message import DecodeError
from tfrecord import TFRecordWriter, example_pb2

from services.dataset.frames import Frame

# Five, as ftc-ml had: enough to read in parallel. Few frames make fewer, much data makes more.
USUAL_SHARDS = 5
MIN_FRAMES_PER_SHARD = 10
MAX_SHARD_BYTES = 128 * 1024**2

LABEL_MAP = "label_map.pbtxt"

# A frame: the record's length (64 bits, little-endian), a checksum of that, the record, a checksum of it.
_LENGTH = struct.Struct("<Q")
_CHECKSUM_BYTES = 4


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a dataset; `frames` is 0 for files that hold no records."""

    name: str
    bytes: int
    sha256: str
    frames: int = 0


def shard_count(frames: int, size: int) -> int:
    """Into how many shards a pool of `frames` pictures and about `size` bytes goes: at least 1."""
    usual = min(USUAL_SHARDS, frames // MIN_FRAMES_PER_SHARD)
    return max(1, usual, math.ceil(size / MAX_SHARD_BYTES))


def write_pool(
    folder: Path,
    pool: str,
    frames: Sequence[Frame],
    jpeg_of: Callable[[Frame], bytes],
    label_ids: Mapping[str, int],
    shards: int,
    salt: str,
) -> list[FileEntry]:
    """Write `<pool>-00000-of-0000N.tfrecord` files into `folder`, frames dealt to them in an order that looks random.

    Names sort neighbouring frames together and a trainer shuffles within a window only: shuffled shards make batches mixed from
    the start. `salt` makes the pictures' ids differ between datasets, as one evaluation may span several of them.
    """
    dealt = sorted(frames, key=lambda frame: _digest(f"{salt}/{frame.name}"))
    entries = []
    for shard in range(shards):
        path = folder / f"{pool}-{shard:05d}-of-{shards:05d}.tfrecord"
        mine = dealt[shard::shards]
        writer = TFRecordWriter(str(path))
        try:
            for frame in mine:
                writer.write(example(frame, jpeg_of(frame), label_ids, source_id(salt, frame.name)))
        finally:
            writer.close()
        entries.append(file_entry(path, frames=len(mine)))
    return entries


def example(
    frame: Frame, jpeg: bytes, label_ids: Mapping[str, int], source: int
) -> dict[str, tuple[list[bytes] | list[float] | list[int], str]]:
    """One record's features with their kinds. Box sides are fractions of the picture (0..1), areas are pixels."""
    boxes, width, height = frame.boxes, frame.width, frame.height
    return {
        "image/encoded": ([jpeg], "byte"),
        "image/format": ([b"jpeg"], "byte"),
        "image/filename": ([frame.name.encode()], "byte"),
        "image/source_id": ([str(source).encode()], "byte"),
        "image/height": ([height], "int"),
        "image/width": ([width], "int"),
        "image/object/bbox/xmin": ([box.xmin / width for box in boxes], "float"),
        "image/object/bbox/xmax": ([box.xmax / width for box in boxes], "float"),
        "image/object/bbox/ymin": ([box.ymin / height for box in boxes], "float"),
        "image/object/bbox/ymax": ([box.ymax / height for box in boxes], "float"),
        "image/object/class/label": ([label_ids[box.label] for box in boxes], "int"),
        "image/object/class/text": ([box.label.encode() for box in boxes], "byte"),
        "image/object/area": ([(box.xmax - box.xmin) * (box.ymax - box.ymin) for box in boxes], "float"),
        "image/object/is_crowd": ([0 for _ in boxes], "int"),
    }


class Broken(Exception):
    """A file that isn't a shard as `write_pool` writes it."""


class Record(NamedTuple):
    """One record as it was read: the picture's bytes start at `offset` of the file; boxes are (label, xmin, ymin, xmax,
    ymax), sides as fractions of the picture."""

    name: str
    width: int
    height: int
    boxes: list[tuple[str, float, float, float, float]]
    jpeg: bytes
    offset: int


def read(file: IO[bytes], name: str) -> Iterator[Record]:
    """The records of the open shard `name`, in order. Raises Broken."""
    start = 0
    while head := file.read(_LENGTH.size + _CHECKSUM_BYTES):
        start += len(head)
        size = _LENGTH.unpack_from(head)[0] if len(head) == _LENGTH.size + _CHECKSUM_BYTES else 0
        if not 0 < size <= 2 * MAX_SHARD_BYTES:  # a broken length must not become an allocation
            raise Broken(f"{name} holds no record at byte {start}")
        data = file.read(size + _CHECKSUM_BYTES)
        if len(data) != size + _CHECKSUM_BYTES:
            raise Broken(f"{name} ends within a record")
        yield _record(data[:size], start, name)
        start += len(data)


def _record(data: bytes, start: int, name: str) -> Record:
    try:
        features: Mapping[str, Any] = example_pb2.Example.FromString(data).features.feature
        jpeg = features["image/encoded"].bytes_list.value[0]
        sides = [features[f"image/object/bbox/{side}"].float_list.value for side in ("xmin", "ymin", "xmax", "ymax")]
        texts = (text.decode() for text in features["image/object/class/text"].bytes_list.value)
        return Record(
            name=features["image/filename"].bytes_list.value[0].decode(),
            width=features["image/width"].int64_list.value[0],
            height=features["image/height"].int64_list.value[0],
            boxes=list(zip(texts, *sides, strict=True)),
            jpeg=jpeg,
            offset=start + data.index(jpeg),
        )
    except (DecodeError, IndexError, ValueError) as error:
        raise Broken(f"{name} holds a record that can't be read: {error}") from error


def source_id(salt: str, name: str) -> int:
    """A picture's id: a positive number below 2**53, so that it survives any path through floats and JSON."""
    return int.from_bytes(_digest(f"{salt}/{name}")[:8], "big") >> 11


def label_map(labels: Sequence[str]) -> str:
    """The labels as a StringIntLabelMap in protobuf's text format, ids from 1 in the order given."""
    items = []
    for number, label in enumerate(labels, start=1):
        quoted = label.replace("\\", "\\\\").replace('"', '\\"')
        items.append(f'item {{\n  id: {number}\n  name: "{quoted}"\n}}\n')
    return "".join(items)


def file_entry(path: Path, frames: int = 0) -> FileEntry:
    """Size and checksum of a file that has been written."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(name=path.name, bytes=path.stat().st_size, sha256=digest, frames=frames)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
