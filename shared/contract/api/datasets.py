"""What the dataset service is asked and answers: datasets, how an import went, which datasets go together.

Owns the structs alone. A dataset's archive is no struct: it is the body of the POST, its settings are in the query.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from shared.contract.views import DatasetView

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
    that are neither pictures nor XML. `warnings` are sentences, `oddities` the same with codes, counts and files.
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
    """The team's datasets, newest first."""

    datasets: list[DatasetView]


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
    """How one dataset's labels differ from those that most of the others have."""

    dataset_id: str
    name: str
    missing: list[str]
    extra: list[str]
    hints: list[str]


class Compatibility(msgspec.Struct, frozen=True, kw_only=True):
    """Whether datasets can be trained on together: only if their labels are identical. `labels` are what most of them have."""

    compatible: bool
    labels: list[str]
    differences: list[Difference]
