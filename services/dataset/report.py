"""What an import tells the person who uploaded: what was read, what was skipped and why, what looks odd.

Owns the report, the manifest and their words. Pure. Lists of files are capped, totals are not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from services.dataset.formats.tfrecord import FileEntry
from services.dataset.formats.voc import Skipped
from services.dataset.frames import Frame
from shared.contract.api.datasets import ImportReport, SkippedFile, Warned
from shared.contract.views import Finding, LabelCount

MAX_SKIPPED_LISTED = 200
MAX_FILES_PER_WARNING = 10
MAX_FILES_NAMED = 3  # in the sentence itself

SKIP_REASONS = {
    "xml_malformed": "the XML can't be parsed",
    "xml_too_large": "the XML is too large to describe one picture",
    "not_an_annotation": "the XML is not a Pascal VOC annotation",
    "image_missing": "the XML names a picture that is not in the archive",
    "image_ambiguous": "the XML names a picture that is in several folders equally close",
    "already_annotated": "another XML describes the same picture",
    "no_annotation": "no XML describes the picture",
    "unsupported_format": "the picture is not a JPEG, PNG or BMP",
    "no_usable_box": "it has objects but none of their boxes is usable",
}
# By code: what was done and to what; singular and plural.
_BOXES, _OBJECTS, _PICTURES = ("box", "boxes"), ("object", "objects"), ("picture", "pictures")
_WARNINGS = {
    "box_clipped": ("Clipped at the picture's edge", _BOXES),
    "box_dropped": ("Dropped as empty, thinner than a pixel or outside the picture", _BOXES),
    "box_missing": ("Left out for want of a <bndbox>", _OBJECTS),
    "box_unreadable": ("Left out, as the box holds something else than numbers", _OBJECTS),
    "label_missing": ("Left out for want of a printable name", _OBJECTS),
    "size_scaled": ("Larger or smaller than the XML says, so boxes were scaled to fit", _PICTURES),
    "size_mismatch": ("Of another shape than the XML says; boxes were taken as the picture's pixels", _PICTURES),
    "rotated": ("Turned upright as the EXIF data says", _PICTURES),
}


class PoolCount(msgspec.Struct, frozen=True, kw_only=True):
    """One pool; negatives are frames without a box."""

    frames: int
    negatives: int
    boxes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset is made of; the same upload, settings and salt give the same manifest. `labels` are in id order from 1."""

    version: int = 1
    importer: str
    source_name: str
    seed: int
    eval_percent: int
    labels: list[LabelCount]
    train: PoolCount
    eval: PoolCount
    bytes: int
    files: list[FileEntry]


class Imported(msgspec.Struct, frozen=True):
    """What an import made, how it went, and what of it may spoil a training."""

    manifest: Manifest
    report: ImportReport
    findings: list[Finding]


class Notes:
    """Collects oddities while frames are read."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._files: dict[str, list[str]] = defaultdict(list)

    def add(self, code: str, name: str, count: int = 1) -> None:
        """`count` oddities of kind `code` in the file `name`."""
        if not count:
            return
        self._counts[code] += count
        if len(self._files[code]) < MAX_FILES_PER_WARNING and name not in self._files[code]:
            self._files[code].append(name)

    def warnings(self) -> list[Warned]:
        """All kinds seen, in a fixed order."""
        return [
            Warned(code=code, message=self._sentence(code), count=self._counts[code], files=self._files[code])
            for code in _WARNINGS
            if self._counts[code]
        ]

    def _sentence(self, code: str) -> str:
        what, (one, many) = _WARNINGS[code]
        count, files = self._counts[code], self._files[code]
        more = ", …" if len(files) > MAX_FILES_NAMED else ""
        return f"{what}: {count:,} {one if count == 1 else many} ({', '.join(files[:MAX_FILES_NAMED])}{more})."


def listed(skipped: Sequence[Skipped]) -> list[SkippedFile]:
    """The first skipped files by name, with the reason in words."""
    first = sorted(skipped, key=lambda item: item.name)[:MAX_SKIPPED_LISTED]
    return [SkippedFile(file=item.name, reason=SKIP_REASONS[item.reason], code=item.reason) for item in first]


def by_code(skipped: Sequence[Skipped]) -> dict[str, int]:
    """How many files were skipped for each reason."""
    return dict(sorted(Counter(item.reason for item in skipped).items()))


def count_pool(frames: Sequence[Frame]) -> PoolCount:
    """Frames, negatives and boxes of one pool."""
    negatives = sum(not frame.boxes for frame in frames)
    return PoolCount(frames=len(frames), negatives=negatives, boxes=sum(len(frame.boxes) for frame in frames))


def count_labels(labels: Sequence[str], train: Sequence[Frame], evaluation: Sequence[Frame]) -> list[LabelCount]:
    """Boxes by label and pool, in the order of `labels`."""
    in_train = Counter(box.label for frame in train for box in frame.boxes)
    in_eval = Counter(box.label for frame in evaluation for box in frame.boxes)
    return [LabelCount(name=label, train=in_train[label], eval=in_eval[label]) for label in labels]
