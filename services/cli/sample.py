"""Sample data: a zip of labelled pictures in Pascal VOC, made on the spot, free of any licence.

Owns the archive's layout and its annotations; how a picture is made is rendering's. The same seed gives the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

import msgspec
import numpy as np

from services.cli.rendering.scene import Shot, shoot

# One picture in ten shows the field without any object.
EMPTY_EVERY = 10
JPEG_QUALITY = 90
_OLDEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class SampleSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: pictures, those of them without any object, boxes by label, size in bytes."""

    pictures: int
    negatives: int
    boxes: dict[str, int]
    bytes: int


def write_sample(path: Path, pictures: int = 150, seed: int = 7) -> SampleSummary:
    """Write the archive to `path`, replacing what is there. `pictures` at least 1."""
    boxes: Counter[str] = Counter()
    negatives = 0
    aside = path.with_name(path.name + ".partial")
    with zipfile.ZipFile(aside, "w") as archive:
        for number in range(pictures):
            # A generator of its own for each picture: the first ones stay the same when more are asked for.
            random = np.random.default_rng([seed, number])
            shot = shoot(random, empty=number % EMPTY_EVERY == EMPTY_EVERY - 1)
            name = f"field_{number:04d}"
            jpeg = io.BytesIO()
            shot.image.save(jpeg, "JPEG", quality=JPEG_QUALITY)
            _add(archive, f"images/{name}.jpg", jpeg.getvalue(), zipfile.ZIP_STORED)
            _add(archive, f"annotations/{name}.xml", _annotation(name, shot).encode(), zipfile.ZIP_DEFLATED)
            boxes.update(label for label, *_ in shot.boxes)
            negatives += not shot.boxes
    aside.replace(path)
    return SampleSummary(
        pictures=pictures, negatives=negatives, boxes=dict(sorted(boxes.items())), bytes=path.stat().st_size
    )


def _add(archive: zipfile.ZipFile, name: str, data: bytes, compression: int) -> None:
    info = zipfile.ZipInfo(name, _OLDEST_ZIP_TIME)
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    info.create_system = 3
    archive.writestr(info, data)


def _annotation(name: str, shot: Shot) -> str:
    objects = "".join(
        f"  <object>\n    <name>{escape(label)}</name>\n    <bndbox>\n"
        f"      <xmin>{xmin}</xmin>\n      <ymin>{ymin}</ymin>\n      <xmax>{xmax}</xmax>\n      <ymax>{ymax}</ymax>\n"
        "    </bndbox>\n  </object>\n"
        for label, xmin, ymin, xmax, ymax in shot.boxes
    )
    return (
        f"<annotation>\n  <folder>images</folder>\n  <filename>{name}.jpg</filename>\n"
        f"  <size>\n    <width>{shot.image.width}</width>\n    <height>{shot.image.height}</height>\n"
        f"    <depth>3</depth>\n  </size>\n{objects}</annotation>\n"
    )
