"""What the dataset service is asked and answers: datasets, how an import went, which datasets go together.

Owns the structs alone. A dataset's archive is no struct: it is the body of the POST, its settings are in the query. Nor is
a picture: it is a JPEG, at /api/datasets/{id}/pictures/{index}.jpg, with `?size=thumb` at most 240 pixels long.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from shared.contract.pictures import TrueBox
from shared.contract.views import DatasetView

Pool = Literal["train", "eval"]
Ids = Annotated[list[str], msgspec.Meta(min_length=1, max_length=100)]


class SkippedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that gave nothing, and why: in words, and as a stable code."""

    file: str
    reason: str
    code: str


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of oddity: how often, in a sentence, with the first few files."""

    code: str
    message: str
    count: int
    files: list[str] = []


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an import.

    `read` counts pictures. `skipped` may be cut, `skipped_total` and `skipped_by_code` count all. `ignored` counts files
    that are neither pictures nor XML. `oddities` are what was odd about files, with codes and counts; `warnings` are the
    sentences of these and of the dataset's findings.
    """

    read: dict[str, int]
    annotations: int
    boxes: int
    ignored: int
    skipped: list[SkippedFile]
    skipped_total: int
    skipped_by_code: dict[str, int]
    warnings: list[str]
    oddities: list[Warned]
    look_alike_groups: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A model that uses a dataset; `description` is the model's name in the team's list."""

    job_id: str
    description: str
    claimed_at: datetime


class DatasetsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The team's datasets, newest first. `used_by` has the models that use one, by its id; none for those that nobody uses."""

    datasets: list[DatasetView]
    used_by: dict[str, list[Claim]] = {}


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A new dataset and how its import went."""

    dataset: DatasetView
    report: ImportReport


class DatasetAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One dataset, how its import went, who uses it."""

    dataset: DatasetView
    report: ImportReport
    used_by: list[Claim]


class CompatibilityRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Datasets to be trained on together."""

    dataset_ids: Ids


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How one dataset's labels differ from those that most of the others have; `message` says it in a sentence, and nothing
    where they don't."""

    dataset_id: str
    name: str
    missing: list[str]
    extra: list[str]
    hints: list[str]
    message: str = ""


class Compatibility(msgspec.Struct, frozen=True, kw_only=True):
    """Whether datasets can be trained on together: only if their labels are identical. `labels` are what most of them have."""

    compatible: bool
    labels: list[str]
    differences: list[Difference]


class DatasetPicture(msgspec.Struct, frozen=True, kw_only=True):
    """One picture as it is stored, `width` x `height` pixels; its boxes' sides are fractions of these. `index` is its number in
    the whole dataset and never changes."""

    index: int
    name: str
    pool: Pool
    width: int
    height: int
    boxes: list[TrueBox]


class PicturesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A range of a dataset's pictures, by file name; `total` counts all that were asked for, from which these are from
    `offset` on."""

    pictures: list[DatasetPicture]
    offset: int
    total: int


class LabelInPool(msgspec.Struct, frozen=True, kw_only=True):
    """How often a label occurs in one pool: boxes, and pictures that hold at least one."""

    boxes: int
    pictures: int


class LabelStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One label. `sizes` counts its boxes by size, in the order of the dataset's `box_sizes`."""

    name: str
    train: LabelInPool
    eval: LabelInPool
    sizes: list[int]


class PoolStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One pool; negatives are pictures without a box."""

    pictures: int
    negatives: int
    boxes: int


class BoxSizes(msgspec.Struct, frozen=True, kw_only=True):
    """How many boxes have a longer side of at least the previous entry's `below` and less than this one's, as a share
    (0..1) of the picture's longer side. The last one's `below` is null: it has all that are left."""

    below: float | None
    boxes: int


class PictureSize(msgspec.Struct, frozen=True, kw_only=True):
    """How many pictures are `width` x `height` pixels, as they are stored."""

    width: int
    height: int
    pictures: int


class DatasetStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a dataset. `tiny_boxes` counts those of the first entry of `box_sizes`. `picture_sizes` are the most
    frequent ones, `other_sizes` counts the pictures of all others. `bytes` is what trainers fetch."""

    labels: list[LabelStatistics]
    train: PoolStatistics
    eval: PoolStatistics
    box_sizes: list[BoxSizes]
    tiny_boxes: int
    picture_sizes: list[PictureSize]
    other_sizes: int
    bytes: int
