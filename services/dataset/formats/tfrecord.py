"""Shards of tf.train.Example records as Model Garden's TfExampleDecoder reads them, and the label map beside them.

Owns the layout of a record and the names of files. Knows neither VOC nor archives, and needs no TensorFlow. Label ids
start at 1: 0 is the background.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from tfrecord import TFRecordWriter

from services.dataset.frames import Frame

# Five, as ftc-ml had: enough to read in parallel. Few frames make fewer, much data makes more.
USUAL_SHARDS = 5
MIN_FRAMES_PER_SHARD = 10
MAX_SHARD_BYTES = 128 * 1024**2

LABEL_MAP = "label_map.pbtxt"


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
