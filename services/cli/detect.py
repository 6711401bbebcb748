"""Runs an exported detector on a picture with LiteRT, and draws what it found.

Owns inference with a .tflite file: labels and normalisation come from the metadata inside it. Needs ai_edge_litert, numpy
and Pillow; knows no service and no TensorFlow.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table
from PIL import Image, ImageDraw, ImageFont

PALETTE = ("#e4572e", "#2e86ab", "#3bb273", "#f2a541", "#8f5db7", "#d64f87", "#3f7cac", "#7a9e3c")
"""Box colours by label index; white text reads on all of them."""


class Detection(NamedTuple):
    """One found object; `box` is (xmin, ymin, xmax, ymax) in 0..1 of the picture."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class BadModel(ValueError):
    """The file is no detector that this program can run; the message says why."""


class Detector:
    """An exported detector, ready to run. Raises BadModel for a file that is none."""

    def __init__(self, path: Path, *, threads: int = 2) -> None:
        # Imported here so that commands that draw nothing start without it.
        from ai_edge_litert.interpreter import Interpreter

        data = path.read_bytes()
        if data[4:8] != b"TFL3":
            raise BadModel(f"{path.name} is no TFLite file")
        self._interpreter: Any = Interpreter(model_content=data, num_threads=threads)
        self._interpreter.allocate_tensors()
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or inputs[0]["dtype"] is not np.float32 or len(outputs) != 4:
            raise BadModel(
                f"{path.name} is no float detector with one picture in and boxes, classes, scores, count out"
            )
        self._input = inputs[0]["index"]
        self._outputs = [output["index"] for output in outputs]
        self.height, self.width = (int(side) for side in inputs[0]["shape"][1:3])
        self.labels = read_labels(path)
        self.mean, self.std = read_normalisation(data)

    def detect(self, image: Image.Image, *, least_score: float = 0.5) -> list[Detection]:
        """Objects in `image` with a score of at least `least_score`, best first, boxes cut off at the picture's edges."""
        resized = image.convert("RGB").resize((self.width, self.height), Image.Resampling.BILINEAR)
        pixels = (np.asarray(resized, np.float32) - self.mean) / self.std
        self._interpreter.set_tensor(self._input, pixels[None].astype(np.float32))
        self._interpreter.invoke()
        boxes, classes, scores, count = (self._interpreter.get_tensor(index)[0] for index in self._outputs)
        found = [
            Detection(self._label(int(number)), float(score), (xmin, ymin, xmax, ymax))
            for (ymin, xmin, ymax, xmax), number, score in zip(
                np.clip(boxes, 0, 1).tolist(), classes, scores, strict=True
            )
        ]
        return sorted((d for d in found[: int(count)] if d.score >= least_score), key=lambda d: -d.score)

    def _label(self, number: int) -> str:
        return self.labels[number] if number < len(self.labels) else f"class {number}"


def read_labels(path: Path) -> list[str]:
    """The labels inside a .tflite file, by class index. Raises BadModel if it carries none."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".txt"))
            return archive.read(name).decode().splitlines()
    except (zipfile.BadZipFile, StopIteration) as error:
        raise BadModel(f"{path.name} carries no labels") from error


def read_normalisation(data: bytes) -> tuple[float, float]:
    """(mean, std) by which a pixel in 0..255 becomes input, from the metadata; 127.5 each, the custom, without any."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == b"TFLITE_METADATA":
            content = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
            return _normalisation(content)
    return 127.5, 127.5


def _normalisation(metadata: bytes) -> tuple[float, float]:
    """Walks ModelMetadata (metadata_schema.fbs): first graph, first input, its process unit of type 1."""
    root = Table(metadata, int.from_bytes(metadata[:4], "little"))
    graph = _items(root, 3)[0]
    image = _items(graph, 2)[0]
    for unit in _items(image, 4):
        kind = unit.Offset(4)
        if kind and unit.Get(number_types.Uint8Flags, unit.Pos + kind) == 1:
            options = Table(metadata, unit.Indirect(unit.Pos + unit.Offset(6)))
            mean, std = (
                options.Get(number_types.Float32Flags, options.Vector(options.Offset(slot))) for slot in (4, 6)
            )
            return float(mean), float(std)
    return 127.5, 127.5


def _items(table: Table, slot: int) -> list[Table]:
    """The tables of the vector in `slot`; none if it isn't there."""
    offset = table.Offset(4 + 2 * slot)
    if not offset:
        return []
    start = table.Vector(offset)
    return [Table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(table.VectorLen(offset))]


def annotate(image: Image.Image, detections: Sequence[Detection], labels: Sequence[str] = ()) -> Image.Image:
    """A copy of `image` with a box and a "label 87 %" tag for each detection; colours by place in `labels`."""
    order = list(labels) or sorted({detection.label for detection in detections})
    drawn = image.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    line = max(2, round(min(drawn.size) / 160))
    font = ImageFont.load_default(size=max(11, min(drawn.size) / 24))
    for detection in reversed(detections):
        colour = PALETTE[order.index(detection.label) % len(PALETTE) if detection.label in order else 0]
        xmin, ymin, xmax, ymax = (edge * drawn.size[i % 2] for i, edge in enumerate(detection.box))
        if xmax - xmin < 1 or ymax - ymin < 1:
            continue
        draw.rounded_rectangle((xmin, ymin, xmax, ymax), radius=2 * line, outline=colour, width=line)
        text = f"{detection.label} {detection.score:.0%}"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        width, height = right - left + 4 * line, bottom - top + 3 * line
        # Above the box where there is room, else inside its top edge; never past the picture's right edge.
        x = max(0.0, min(xmin, drawn.width - width))
        y = ymin - height if ymin >= height else ymin
        draw.rounded_rectangle((x, y, x + width, y + height), radius=line, fill=colour)
        draw.text((x + 2 * line - left, y + 1.5 * line - top), text, fill="white", font=font)
    return drawn
