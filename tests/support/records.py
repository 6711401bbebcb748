"""Training records for engine tests: frames from the BCCD archive or drawn ones, written as TFRecord shards.

Writes the tf.train.Example layout that Model Garden's decoder reads, with the `tfrecord` package: no TensorFlow here.
"""

from __future__ import annotations

import io
import os
import random
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw
from tfrecord import TFRecordWriter

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Frame:
    """One encoded picture and its boxes: (label, xmin, ymin, xmax, ymax) in 0..1."""

    encoded: bytes
    width: int
    height: int
    boxes: Sequence[tuple[str, float, float, float, float]]


def bccd_archive() -> Path | None:
    """The BCCD zip that TRAINYARD_BCCD_ZIP names (else the one beside the repository), None where there is none."""
    path = Path(os.environ.get("TRAINYARD_BCCD_ZIP") or REPOSITORY.parent / "shared/data/bccd-voc.zip")
    return path if path.is_file() else None


def bccd_frames(archive: Path) -> Iterator[Frame]:
    """The frames of a Pascal VOC zip whose pictures are all of the size that their XML files say, in name order."""
    with zipfile.ZipFile(archive) as opened:
        pictures = {Path(name).stem: name for name in opened.namelist() if name.endswith(".jpg")}
        for name in sorted(name for name in opened.namelist() if name.endswith(".xml")):
            root = ElementTree.fromstring(opened.read(name))
            width, height = (int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
            boxes = []
            for item in root.iter("object"):
                xmin, ymin, xmax, ymax = (
                    int(item.findtext(f"bndbox/{edge}", "0")) for edge in ("xmin", "ymin", "xmax", "ymax")
                )
                if xmax > xmin and ymax > ymin:
                    label = item.findtext("name", "")
                    boxes.append((label, xmin / width, ymin / height, min(1, xmax / width), min(1, ymax / height)))
            yield Frame(opened.read(pictures[Path(name).stem]), width, height, boxes)


def drawn_frames(count: int, *, seed: int, side: int = 320) -> Iterator[Frame]:
    """Pictures of noise with up to four "ball" discs and "cube" squares on them; every tenth has none."""
    rng = random.Random(seed)
    for index in range(count):
        noise = Image.effect_noise((side, side), 40).convert("RGB")
        picture = Image.blend(noise, Image.new("RGB", (side, side), tuple(rng.choices(range(60, 200), k=3))), 0.6)
        draw, boxes = ImageDraw.Draw(picture), []
        for _ in range(0 if index % 10 == 9 else rng.randint(1, 4)):
            size = rng.randint(side // 8, side // 3)
            left, top = rng.randint(0, side - size), rng.randint(0, side - size)
            corners = (left, top, left + size, top + size)
            label = rng.choice(("ball", "cube"))
            if label == "ball":
                draw.ellipse(corners, fill=(230, rng.randint(60, 120), 30))
            else:
                draw.rectangle(corners, fill=(150, 40, rng.randint(160, 230)))
            boxes.append((label, left / side, top / side, (left + size) / side, (top + size) / side))
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=90)
        yield Frame(encoded.getvalue(), side, side, boxes)


def write_records(
    frames: Iterable[Frame], folder: Path, name: str, labels: Sequence[str], shards: int = 2
) -> list[str]:
    """Deal `frames` into shards `<name>-00000-of-0000N.tfrecord` in `folder`; returns their absolute paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(folder / f"{name}-{index:05d}-of-{shards:05d}.tfrecord") for index in range(shards)]
    writers = [TFRecordWriter(path) for path in paths]
    for number, frame in enumerate(frames):
        writers[number % shards].write(example(frame, number, labels))
    for writer in writers:
        writer.close()
    return paths


def example(frame: Frame, number: int, labels: Sequence[str]) -> dict[str, tuple[object, str]]:
    """The features of one frame; `number` becomes its source id."""
    names, xmin, ymin, xmax, ymax = ([box[i] for box in frame.boxes] for i in range(5))
    area = [(x1 - x0) * (y1 - y0) * frame.width * frame.height for _, x0, y0, x1, y1 in frame.boxes]
    return {
        "image/encoded": ([frame.encoded], "byte"),
        "image/format": ([b"jpeg"], "byte"),
        "image/filename": ([f"{number:05d}.jpg".encode()], "byte"),
        "image/source_id": ([str(number).encode()], "byte"),
        "image/height": ([frame.height], "int"),
        "image/width": ([frame.width], "int"),
        "image/object/bbox/xmin": (xmin, "float"),
        "image/object/bbox/xmax": (xmax, "float"),
        "image/object/bbox/ymin": (ymin, "float"),
        "image/object/bbox/ymax": (ymax, "float"),
        "image/object/class/label": ([labels.index(str(label)) + 1 for label in names], "int"),
        "image/object/class/text": ([str(label).encode() for label in names], "byte"),
        "image/object/area": (area, "float"),
        "image/object/is_crowd": ([0] * len(names), "int"),
    }
