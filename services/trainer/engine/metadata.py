"""TFLite Metadata: what a reader of the exported file needs (labels, normalisation, meaning of the outputs), inside it.

Owns the ModelMetadata flatbuffer (schema "M001") and the order of the outputs. The schema has no Python package that is still
kept, so its few tables are written here by slot number, in the order of the published metadata_schema.fbs. Knows no
TensorFlow.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

LABEL_FILE = "labels.txt"
INPUT_MEAN = INPUT_STD = 127.5
"""Float inputs are (pixel - mean) / std, so in [-1, 1]: what readers without metadata support assume as well."""

_IMAGE_PROPERTIES, _BOX_PROPERTIES, _FEATURE_PROPERTIES = 2, 3, 1
_NORMALIZATION_OPTIONS = 1
_RGB, _BOUNDARIES, _RATIO, _VALUE_LABELS = 1, 1, 0, 3


def describe(model: bytes, labels: Sequence[str], *, max_detections: int, name: str, description: str) -> bytes:
    """`model` (a TFLite detector) with its outputs in the order boxes, classes, scores, count, and metadata and labels inside.

    Class 0 is the first label; `max_detections` is what the detection operator was given. Raises ValueError if the model has
    no detection operator.
    """
    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = parsed.subgraphs[0]
    detection = [
        operator for operator in graph.operators if _custom_code(parsed, operator) == b"TFLite_Detection_PostProcess"
    ]
    if len(detection) != 1:
        raise ValueError(f"the model has {len(detection)} detection operators instead of one")
    graph.outputs = detection[0].outputs
    # The converter leaves them out. The interpreter finds them itself; LiteRT's compiled models, a browser's among them, make
    # room for the outputs by what the file says, and would write beyond it.
    for output, shape in zip(graph.outputs, _shapes(max_detections), strict=True):
        graph.tensors[output].shape = shape
    buffer = schema.BufferT()
    buffer.data = list(_model_metadata(name, description, graph.tensors[graph.inputs[0]].shape))
    parsed.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", len(parsed.buffers) - 1
    parsed.metadata = [*(parsed.metadata or []), entry]
    builder = flatbuffers.Builder(len(model) + 4096)
    builder.Finish(parsed.Pack(builder), file_identifier=b"TFL3")
    return _append_labels(bytes(builder.Output()), labels)


def _shapes(max_detections: int) -> list[list[int]]:
    return [[1, max_detections, 4], [1, max_detections], [1, max_detections], [1]]


def _custom_code(parsed: Any, operator: Any) -> bytes | None:
    code: bytes | None = parsed.operatorCodes[operator.opcodeIndex].customCode
    return code


def _append_labels(model: bytes, labels: Sequence[str]) -> bytes:
    """The label file as a stored zip at the end of the model: where readers of the metadata look for it."""
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABEL_FILE), "".join(f"{label}\n" for label in labels))
    return file.getvalue()


class _Tables:
    """flatbuffers.Builder with one call a table: fields as (slot, writer, value)."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def table(self, size: int, **fields: int) -> int:
        """A table of `size` slots; a field's name is its kind and slot: `offset0=…`, `byte2=…`, `uint1=…`, `int0=…`."""
        builder = self.builder
        builder.StartObject(size)
        for field, value in fields.items():
            kind, slot = field.rstrip("0123456789"), int(field.lstrip("abcdefghijklmnopqrstuvwxyz"))
            match kind:
                case "offset":
                    builder.PrependUOffsetTRelativeSlot(slot, value, 0)
                case "byte":
                    builder.PrependUint8Slot(slot, value, 0)
                case "uint":
                    builder.PrependUint32Slot(slot, value, 0)
                case _:
                    builder.PrependInt32Slot(slot, value, 0)
        end: int = builder.EndObject()
        return end

    def string(self, text: str) -> int:
        offset: int = self.builder.CreateString(text)
        return offset

    def offsets(self, *items: int) -> int:
        self.builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            self.builder.PrependUOffsetTRelative(item)
        end: int = self.builder.EndVector()
        return end

    def floats(self, value: float) -> int:
        self.builder.StartVector(4, 1, 4)
        self.builder.PrependFloat32(value)
        end: int = self.builder.EndVector()
        return end

    def uints(self, *values: int) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependUint32(value)
        end: int = self.builder.EndVector()
        return end


def _model_metadata(name: str, description: str, input_shape: Sequence[int]) -> bytes:
    make = _Tables()
    outputs = make.offsets(
        _output(make, "location", "Boxes as ymin, xmin, ymax, xmax in 0..1; they may reach outside.", boxes=True),
        _output(make, "category", f"Index of each box's label, from 0, into {LABEL_FILE}.", labels=True),
        _output(make, "score", "Score of each box in 0..1, highest first."),
        _output(make, "number of detections", "How many of the boxes are valid.", ranged=False),
    )
    graph = make.table(10, offset2=make.offsets(_input(make, input_shape)), offset3=outputs)
    subgraphs = make.offsets(graph)
    title, text, version = make.string(name), make.string(description), make.string("v1")
    parser = make.string("1.0.0")
    root = make.table(8, offset0=title, offset1=text, offset2=version, offset3=subgraphs, offset7=parser)
    make.builder.Finish(root, file_identifier=b"M001")
    return bytes(make.builder.Output())


def _input(make: _Tables, shape: Sequence[int]) -> int:
    size = make.table(2, uint0=int(shape[2]), uint1=int(shape[1]))
    image = make.table(2, byte0=_RGB, offset1=size)
    content = make.table(3, byte0=_IMAGE_PROPERTIES, offset1=image)
    mean, std = make.floats(INPUT_MEAN), make.floats(INPUT_STD)
    normalization = make.table(2, offset0=mean, offset1=std)
    units = make.offsets(make.table(2, byte0=_NORMALIZATION_OPTIONS, offset1=normalization))
    least, most = make.floats((0 - INPUT_MEAN) / INPUT_STD), make.floats((255 - INPUT_MEAN) / INPUT_STD)
    stats = make.table(2, offset0=most, offset1=least)
    title, text = make.string("image"), make.string("The picture, RGB.")
    return make.table(7, offset0=title, offset1=text, offset3=content, offset4=units, offset5=stats)


def _output(
    make: _Tables, name: str, description: str, *, boxes: bool = False, labels: bool = False, ranged: bool = True
) -> int:
    title, text = make.string(name), make.string(description)
    fields: dict[str, int] = {"offset0": title, "offset1": text}
    if boxes:
        # The default order is left, top, right, bottom; ours is top, left, bottom, right.
        order = make.uints(1, 0, 3, 2)
        properties = make.table(3, offset0=order, byte1=_BOUNDARIES, byte2=_RATIO)
    else:
        properties = make.table(0)
    content = {"byte0": _BOX_PROPERTIES if boxes else _FEATURE_PROPERTIES, "offset1": properties}
    if ranged:
        content["offset2"] = make.table(2, int0=2, int1=2)
    fields["offset3"] = make.table(3, **content)
    if labels:
        file_name, file_text = make.string(LABEL_FILE), make.string("The labels, one a line.")
        fields["offset6"] = make.offsets(make.table(5, offset0=file_name, offset1=file_text, byte2=_VALUE_LABELS))
    return make.table(7, **fields)
