"""Small Pascal VOC archives, sound and hostile, for tests of the dataset service."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

Boxes = Iterable[tuple[str, float, float, float, float]]


def picture(
    seed: int = 0, size: tuple[int, int] = (64, 48), kind: str = "JPEG", mode: str = "RGB", **options: object
) -> bytes:
    """An encoded picture of smooth noise that differs from those of other seeds everywhere."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC).convert(mode)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def annotation(
    filename: str, boxes: Boxes = (), size: tuple[int, int] | None = (64, 48), folder: str = "", prolog: str = ""
) -> str:
    """A VOC annotation; `prolog` goes before the root element."""
    objects = "".join(
        f"<object><name>{escape(label)}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for label, x0, y0, x1, y1 in boxes
    )
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    named = f"<filename>{escape(filename)}</filename>" if filename else ""
    return f"{prolog}<annotation><folder>{folder}</folder>{named}{stated}{objects}</annotation>"


def frames(count: int, labels: tuple[str, ...] = ("ball", "cube")) -> dict[str, bytes | str]:
    """Files of a plain archive: `count` pictures with one box each, labels by turns."""
    files: dict[str, bytes | str] = {}
    for number in range(count):
        name = f"frame{number}"
        files[f"images/{name}.jpg"] = picture(number)
        box = (labels[number % len(labels)], 10, 8, 40, 30)
        files[f"annotations/{name}.xml"] = annotation(f"{name}.jpg", [box])
    return files


def write_zip(path: Path, files: Mapping[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip of `files`, in their order."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
