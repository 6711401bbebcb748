"""Pascal VOC: XML files that each describe one picture, in whatever folders they come.

Owns reading one annotation (`parse`) and finding the picture that it means (`match`). Pure: gets bytes and names, gives values;
knows neither archives nor picture formats.

Coordinates are taken as they stand, as the Object Detection API does. The original VOC counts pixels from 1 with both
ends included, most tools since then write continuous coordinates from 0; nothing in the file says which. The difference
is one pixel.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element, ParseError

import msgspec
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from services.dataset.frames import Box
from shared.contract.errors import UserError

MAX_LABEL_LENGTH = 64


class Skipped(msgspec.Struct, frozen=True):
    """A file that gave nothing, with a stable reason: xml_malformed, not_an_annotation, image_missing, image_ambiguous,
    already_annotated (this module), xml_too_large, no_annotation, unsupported_format, no_usable_box (the importer)."""

    name: str
    reason: str


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """What one XML file says. `size` is (width, height) in pixels where it is stated and positive.

    `unusable` counts objects without a box that could be read, by reason: box_missing, box_unreadable, label_missing.
    An annotation with neither boxes nor unusable objects declares a negative: a picture with nothing to find.
    """

    name: str
    filename: str
    folder: str = ""
    size: tuple[int, int] | None = None
    boxes: tuple[Box, ...] = ()
    unusable: dict[str, int] = {}

    @property
    def is_negative(self) -> bool:
        """Whether it says that nothing is in the picture."""
        return not self.boxes and not self.unusable


def parse(data: bytes, name: str) -> Annotation | Skipped:
    """Read one XML file.

    Raises UserError: xml_dtd_forbidden for a document type or an entity (harmless labels need neither, attacks do) and
    label_too_long.
    """
    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        message = f"{name} declares a document type (DTD), which is not allowed: remove the <!DOCTYPE …> line."
        raise UserError("xml_dtd_forbidden", message, "file", details={"entry": name}) from error
    except (ParseError, ValueError, LookupError):  # broken XML; an encoding that expat can't use or nobody knows
        return Skipped(name, "xml_malformed")
    if root.tag != "annotation":
        return Skipped(name, "not_an_annotation")
    boxes: list[Box] = []
    unusable: Counter[str] = Counter()
    for item in root.iterfind("object"):
        box = _box(item, name)
        if isinstance(box, Box):
            boxes.append(box)
        else:
            unusable[box] += 1
    return Annotation(
        name=name,
        filename=_base(_text(root, "filename") or _text(root, "path")),
        folder=_base(_text(root, "folder")),
        size=_size(root),
        boxes=tuple(boxes),
        unusable=dict(unusable),
    )


def _text(parent: Element, path: str) -> str:
    return (parent.findtext(path) or "").strip()


def _base(path: str) -> str:
    """The last part of a path as any system writes it."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _size(root: Element) -> tuple[int, int] | None:
    width, height = _number(_text(root, "size/width")), _number(_text(root, "size/height"))
    if width is None or height is None or width < 1 or height < 1:
        return None  # some tools write 0 x 0
    return round(width), round(height)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _box(item: Element, name: str) -> Box | str:
    # NFC: the same accented letter typed on two systems must be one label.
    label = unicodedata.normalize("NFC", " ".join(_text(item, "name").split()))
    if not label or not label.isprintable():
        return "label_missing"
    if len(label) > MAX_LABEL_LENGTH:
        message = (
            f"The label {label[:20]!r}… in {name} has {len(label)} characters; at most {MAX_LABEL_LENGTH} are allowed."
        )
        details = {"entry": name, "limit": MAX_LABEL_LENGTH}
        raise UserError("label_too_long", message, "file", details=details)
    if item.find("bndbox") is None:
        return "box_missing"
    sides = [_number(_text(item, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
    numbers = [side for side in sides if side is not None]
    return Box(label, *numbers) if len(numbers) == len(sides) else "box_unreadable"


class Matching(msgspec.Struct, frozen=True):
    """Which annotation describes which picture, and the XML files that describe none."""

    pairs: dict[str, Annotation]
    skipped: list[Skipped]


def match(annotations: Sequence[Annotation], images: Iterable[str]) -> Matching:
    """Find each annotation's picture among the paths `images`.

    The `filename` element decides, its stem where the extension differs, else the XML's own name. Of several pictures
    of that name the closest folder wins; a tie is skipped. Where several annotations mean one picture (a tool left the old
    name inside), the one that shares its stem keeps it and the others are tried by their own names.
    """
    index = _Index(images)
    skipped: list[Skipped] = []
    claims: dict[str, list[Annotation]] = defaultdict(list)
    for annotation in sorted(annotations, key=lambda a: a.name):
        found = index.find(annotation, (annotation.filename, annotation.name))
        if isinstance(found, Skipped):
            skipped.append(found)
        else:
            claims[found].append(annotation)
    pairs: dict[str, Annotation] = {}
    losers: list[Annotation] = []
    for image, claimants in claims.items():
        # False sorts first: the one named like the picture, else the first by name.
        ranked = sorted(claimants, key=lambda a: (_stem(a.name) != _stem(image), a.name))
        pairs[image] = ranked[0]
        losers += ranked[1:]
    for annotation in losers:
        found = index.find(annotation, (annotation.name,))
        if isinstance(found, Skipped) or found in pairs:
            skipped.append(Skipped(annotation.name, "already_annotated"))
        else:
            pairs[found] = annotation
    return Matching(dict(sorted(pairs.items())), sorted(skipped, key=lambda s: s.name))


def _stem(path: str) -> str:
    return PurePosixPath(_base(path)).stem.casefold()


class _Index:
    """Pictures by base name and by stem, without regard to case."""

    def __init__(self, images: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for image in sorted(images):
            self._by_name[_base(image).casefold()].append(image)
            self._by_stem[_stem(image)].append(image)

    def find(self, annotation: Annotation, names: Iterable[str]) -> str | Skipped:
        """The picture that the first fruitful one of `names` leads to."""
        for name in names:
            candidates = self._by_name.get(_base(name).casefold()) or self._by_stem.get(_stem(name))
            if name and candidates:
                return _closest(annotation, candidates)
        return Skipped(annotation.name, "image_missing")


def _closest(annotation: Annotation, candidates: list[str]) -> str | Skipped:
    scores = {image: _closeness(annotation, image) for image in candidates}
    best = max(scores.values())
    winners = [image for image, score in scores.items() if score == best]
    return winners[0] if len(winners) == 1 else Skipped(annotation.name, "image_ambiguous")


def _closeness(annotation: Annotation, image: str) -> tuple[int, int, bool]:
    """Folder names in common (`annotations/red/a.xml` belongs to `images/red/a.jpg`), then the way through the tree, then
    what the XML says of the folder."""
    mine, theirs = PurePosixPath(annotation.name).parts[:-1], PurePosixPath(image).parts[:-1]
    common = sum((Counter(mine) & Counter(theirs)).values())
    prefix = next(
        (i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs))
    )
    distance = len(mine) + len(theirs) - 2 * prefix
    return common, -distance, bool(theirs) and theirs[-1] == annotation.folder
