"""Which pictures a dataset holds and where their bytes lie, so that one can be shown without reading a shard.

Owns the index (order, boxes, places) and the packed thumbnails beside it, how both are made from shards, and how pictures are
chosen by range, label and pool. Knows neither HTTP nor the store of datasets.

Both are derived: what is lost can be made again from the shards, and a dataset that was imported before there was an index gets
the same one as a new one does. They lie in a folder of their own under the dataset's, so that trainers don't fetch them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import msgspec

from services.dataset import domain, pictures
from services.dataset.formats import tfrecord
from services.dataset.split import natural_key
from shared.contract.api.datasets import Pool

POOLS: tuple[Pool, ...] = ("train", "eval")

VERSION = 1
FOLDER = f"pictures-{VERSION}"
INDEX, THUMBS = "index.msgpack", "thumbs.bin"
THUMB_SIDE = 240  # pixels of a thumbnail's longest side


class Place(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where the bytes of a JPEG lie in the file `name`."""

    name: str
    offset: int
    length: int


class LabelledBox(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One box; the sides are fractions (0..1) of the picture's, the origin is at the top left."""

    label: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float


class IndexedPicture(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One picture of `width` x `height` pixels. `digest` (hexadecimal) changes with its bytes; `thumb` is None where the
    picture is no larger than a thumbnail."""

    name: str
    pool: Pool
    width: int
    height: int
    boxes: list[LabelledBox]
    digest: str
    picture: Place
    thumb: Place | None


class PictureIndex(msgspec.Struct, frozen=True):
    """All pictures of a dataset, by file name with numbers in their order: neighbours in a video stay neighbours."""

    labels: list[str]
    pictures: list[IndexedPicture]

    @property
    def weight(self) -> int:
        """About how many things it keeps in memory."""
        return len(self.pictures) + sum(len(picture.boxes) for picture in self.pictures)


def prefix(dataset_id: str) -> str:
    """Where a dataset's index lies in the artifact store: below the dataset itself, so that it goes with it."""
    return f"{domain.prefix(dataset_id)}/{FOLDER}"


class Shard(NamedTuple):
    """A file of records, and how to open it."""

    name: str
    open: Callable[[], IO[bytes]]


def pool_of(name: str) -> Pool | None:
    """The pool that a file of a dataset belongs to; None for one that holds no records."""
    return next((pool for pool in POOLS if name.startswith(f"{pool}-") and name.endswith(".tfrecord")), None)


def build(shards: Iterable[Shard], labels: Sequence[str], folder: Path, check_stop: Callable[[], None]) -> PictureIndex:
    """Read `shards` once and write the index and the thumbnails into `folder`, which must exist. `check_stop` may raise.

    Raises tfrecord.Broken for a file that isn't what an import writes, OSError.
    """
    found = []
    with (folder / THUMBS).open("wb") as thumbs:
        for shard in sorted(shards, key=lambda shard: shard.name):
            pool = pool_of(shard.name)
            if pool is None:
                continue
            with shard.open() as file:
                for record in tfrecord.read(file, shard.name):
                    check_stop()
                    found.append(_indexed(record, pool, shard.name, thumbs))
    index = PictureIndex(
        [*labels], sorted(found, key=lambda item: (natural_key(item.name), item.pool, item.picture.offset))
    )
    (folder / INDEX).write_bytes(msgspec.msgpack.encode(index))
    return index


def decode(data: bytes) -> PictureIndex:
    """The index that `build` wrote. Raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=PictureIndex)


class Chosen(NamedTuple):
    """Pictures by their number in the index, and how many there are in all."""

    pictures: list[tuple[int, IndexedPicture]]
    total: int


def choose(
    index: PictureIndex, *, offset: int, limit: int, label: str | None, pool: Pool | None, negative: bool
) -> Chosen:
    """`limit` pictures from the `offset`th (from 0) on, of those that have `label`, lie in `pool`, have no box (`negative`)."""
    wanted = [
        (number, picture)
        for number, picture in enumerate(index.pictures)
        if (pool is None or picture.pool == pool)
        and (not negative or not picture.boxes)
        and (label is None or any(box.label == label for box in picture.boxes))
    ]
    return Chosen(wanted[offset : offset + limit], len(wanted))


def _indexed(record: tfrecord.Record, pool: Pool, shard: str, thumbs: BinaryIO) -> IndexedPicture:
    thumb = None
    small = pictures.thumbnail(record.jpeg, THUMB_SIDE)
    if small is not None:
        thumb = Place(THUMBS, thumbs.tell(), len(small))
        thumbs.write(small)
    return IndexedPicture(
        name=record.name,
        pool=pool,
        width=record.width,
        height=record.height,
        boxes=[LabelledBox(*box) for box in record.boxes],
        digest=hashlib.sha256(record.jpeg).hexdigest()[:32],
        picture=Place(shard, record.offset, len(record.jpeg)),
        thumb=thumb,
    )
