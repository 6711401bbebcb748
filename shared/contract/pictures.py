"""What is kept of a job's evaluations for people to look at: some pictures with their true boxes, and the boxes that the model
found in them at each checkpoint.

Owns the structs, their bounds and the files that they lie in; a trainer writes those, the status service reads them. Pure.

    jobs/<id>/pictures-a<attempt>/          pictures.json.gz (Pictures) and a JPEG of each, 000.jpg, 001.jpg, …
    jobs/<id>/predictions/<checkpoint>/     predictions.json.gz (Predictions); a checkpoint is <step>-a<attempt>

Coordinates are fractions of the picture's height and width, from its top left corner.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TypeVar

import msgspec

MOST_PICTURES = 100
"""Of more evaluation pictures, this many are kept, spread evenly over all."""

MOST_BOXES = 50
"""Found boxes kept a picture, those with the highest scores."""

LEAST_SCORE = 0.05
"""Found boxes below this score aren't kept."""

MOST_TRUE_BOXES = 100
"""True boxes kept a picture, as evaluation looks at no more either."""

PICTURES_FILE = "pictures.json.gz"
PREDICTIONS_FILE = "predictions.json.gz"

_LARGEST = 16 << 20

S = TypeVar("S", bound=msgspec.Struct)


class TrueBox(msgspec.Struct, frozen=True, kw_only=True):
    """A box that somebody drew."""

    label: str
    ymin: float
    xmin: float
    ymax: float
    xmax: float


class FoundBox(msgspec.Struct, frozen=True, kw_only=True):
    """A box that the model found, with its score (0 to 1)."""

    label: str
    score: float
    ymin: float
    xmin: float
    ymax: float
    xmax: float


class EvaluationPicture(msgspec.Struct, frozen=True, kw_only=True):
    """One picture, the `number`-th (from 0) that is kept of its job. `file` is its name in the dataset, empty where a dataset
    doesn't say; `width` and `height` are pixels of the JPEG that is kept."""

    number: int
    dataset_id: str
    dataset: str
    file: str
    width: int
    height: int
    boxes: list[TrueBox]


class FoundBoxes(msgspec.Struct, frozen=True, kw_only=True):
    """What the model found in the picture of that `number`: highest score first."""

    number: int
    boxes: list[FoundBox]


class Pictures(msgspec.Struct, frozen=True, kw_only=True):
    """The content of PICTURES_FILE."""

    pictures: list[EvaluationPicture]


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """The content of PREDICTIONS_FILE. A picture in which nothing was found has an empty list."""

    pictures: list[FoundBoxes]


def jpeg_name(number: int) -> str:
    """The file of a picture, beside PICTURES_FILE."""
    return f"{number:03d}.jpg"


def pack(content: Pictures | Predictions) -> bytes:
    """Gzipped JSON; the same content gives the same bytes."""
    return gzip.compress(msgspec.json.encode(content), mtime=0)


def unpack(data: bytes, kind: type[S]) -> S:
    """What `pack` made. Raises ValueError for anything else, and for more than 16 MiB."""
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        content = stream.decompress(data, _LARGEST)
    except zlib.error as error:
        raise ValueError(f"no gzip file: {error}") from error
    if not stream.eof:
        raise ValueError(f"cut off, or more than {_LARGEST} bytes")
    return msgspec.json.decode(content, type=kind)
