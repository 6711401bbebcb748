"""What a dataset is and the rules about it: names, who may delete it, which datasets go together.

Pure: no clock, no ids, no I/O. Reading an upload is importer.py's.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from services.dataset.report import Imported
from services.dataset.spelling import closest
from shared.contract.api.datasets import Claim, Compatibility, Difference, ImportReport
from shared.contract.errors import UserError
from shared.contract.views import DatasetView

MAX_NAME = 60
_HINTS = {
    "writing": "“{}” and “{}” differ only in capitals, spaces or punctuation.",
    "plural": "“{}” and “{}” may be singular and plural of one label.",
    "typo": "“{}” may be a misspelling of “{}”.",
}


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that can be trained on, how its import went, and who uses it."""

    view: DatasetView
    report: ImportReport
    claims: list[Claim] = []


class UploadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asks of an import besides the file itself."""

    name: str
    eval_percent: int
    seed: int
    unlabelled: Literal["skip", "negative"]

    def fingerprint(self) -> str:
        """Tells one request from another under the same idempotency key."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def checked_name(text: str) -> str:
    """A dataset's name without outer spaces. Raises UserError `bad_name`."""
    name = " ".join(text.split())
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        shown = repr(name[:20] + "…" if len(name) > MAX_NAME else name)
        message = f"A dataset's name has 1 to {MAX_NAME} printable characters; {shown} has {len(name)}."
        raise UserError("bad_name", message, "name")
    return name


def view(dataset_id: str, team: str, name: str, created_at: datetime, imported: Imported) -> DatasetView:
    """The public dataset that an import gives."""
    manifest = imported.manifest
    return DatasetView(
        id=dataset_id,
        team=team,
        name=name,
        created_at=created_at,
        labels=manifest.labels,
        train_frames=manifest.train.frames,
        eval_frames=manifest.eval.frames,
        train_negatives=manifest.train.negatives,
        eval_negatives=manifest.eval.negatives,
        bytes=manifest.bytes,
        prefix=prefix(dataset_id),
        warnings=imported.report.warnings,
        findings=imported.findings,
    )


def prefix(dataset_id: str) -> str:
    """Where a dataset lies in the artifact store."""
    return f"datasets/{dataset_id}"


def in_use(dataset: Dataset) -> UserError:
    """The refusal to delete a dataset that models use, which names them."""
    claims = dataset.claims
    names = ", ".join(f"“{claim.description}”" for claim in claims)
    what = "a model uses it" if len(claims) == 1 else f"{len(claims)} models use it"
    return UserError(
        "dataset_in_use",
        f"“{dataset.view.name}” can't be deleted while {what}: {names}. Delete what uses it first.",
        "id",
        status=409,
        details={"models": [{"job_id": claim.job_id, "description": claim.description} for claim in claims]},
    )


def too_many(limit: int) -> UserError:
    """The refusal of one dataset more than a team may have."""
    message = f"Your team has {limit} datasets, the most that it may have. Delete one that no model uses."
    return UserError("too_many_datasets", message, status=409, details={"limit": limit})


def compatibility(datasets: Sequence[DatasetView]) -> Compatibility:
    """What keeps `datasets` (at least one) from being trained on together.

    The labels that most of them have are taken as meant, of equally many those of the dataset that was named first.
    """
    sets = [frozenset(label.name for label in dataset.labels) for dataset in datasets]
    votes = Counter(sets)
    meant = max(sets, key=lambda labels: votes[labels])  # max keeps the first of equals
    differences = [
        _difference(dataset, sorted(meant - labels), sorted(labels - meant))
        for dataset, labels in zip(datasets, sets, strict=True)
    ]
    return Compatibility(compatible=len(votes) == 1, labels=sorted(meant), differences=differences)


def _difference(dataset: DatasetView, missing: list[str], extra: list[str]) -> Difference:
    said = [f"{what} {_quoted(labels)}" for what, labels in (("lacks", missing), ("has in addition", extra)) if labels]
    return Difference(
        dataset_id=dataset.id,
        name=dataset.name,
        missing=missing,
        extra=extra,
        hints=_hints(extra, missing),
        message=f"“{dataset.name}” {' and '.join(said)}." if said else "",
    )


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(f"“{label}”" for label in labels)


def _hints(extra: Sequence[str], missing: Sequence[str]) -> list[str]:
    """Which of the labels that a dataset has too many may be a spelling of one that it lacks."""
    pairs = [(label, found) for label in extra if (found := closest(label, missing)) is not None]
    return [_HINTS[kind].format(label, other) for label, (other, kind) in pairs]
