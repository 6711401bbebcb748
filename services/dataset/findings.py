"""What is in a dataset, counted, and what of that may spoil a training.

Pure: from the index of its pictures to statistics and findings. Owns the limits and the sentences, which are for students:
they say what was found, how much of it, and what to do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import takewhile

import msgspec

from services.dataset.index import POOLS, IndexedPicture, LabelledBox, PictureIndex
from services.dataset.spelling import clusters
from shared.contract.api.datasets import (
    BoxSizes,
    DatasetStatistics,
    LabelInPool,
    LabelStatistics,
    PictureSize,
    Pool,
    PoolStatistics,
)
from shared.contract.views import Finding

# The longer side of what the smaller starting models see, in pixels.
MODEL_SIDE = 320
# Under 1 % of the longer side, 3.2 pixels of 320, a box holds fewer than 4 x 4 pixels of what the model sees: nothing that
# could be told from noise, most likely a slip of the mouse.
TINY = 0.01
# The finest map that SSD MobileNet v2 predicts from has cells of 16 pixels (block_13 has a stride of 16): what is smaller
# than a cell is seen by chance. COCO's "small" is about the same share: 32 of 640 pixels.
SMALL = 16 / MODEL_SIDE
SIZES = (TINY, 0.02, SMALL, 0.1, 0.2, 0.4)  # upper bounds of the classes of boxes; one more class has what is larger
WHOLE_PICTURE = 0.95  # share of the picture's area from which on a box frames the picture rather than a thing in it
SAME_BOX = 0.95  # IoU from which on two boxes of one label are one that was drawn twice
FEW_BOXES = 10
FEW_EVAL_PICTURES = 5  # each one moves the metrics by a fifth and more
MAX_PICTURE_SIZES = 10
MAX_LABELS_NAMED = 8  # in a sentence

_POOL_NAMES: Mapping[Pool, str] = {"train": "training", "eval": "evaluation"}


class Contents(msgspec.Struct, frozen=True):
    """What one pass over the index counts."""

    boxes: dict[Pool, Counter[str]]
    pictures: dict[Pool, Counter[str]]
    sizes: dict[str, list[int]]
    whole: Counter[str]
    repeated: Counter[str]


def count(index: PictureIndex) -> Contents:
    """Count boxes by label, pool and size, and those that look wrong."""
    boxes: dict[Pool, Counter[str]] = {pool: Counter() for pool in POOLS}
    pictures: dict[Pool, Counter[str]] = {pool: Counter() for pool in POOLS}
    sizes = {label: [0] * (len(SIZES) + 1) for label in index.labels}
    whole: Counter[str] = Counter()
    repeated: Counter[str] = Counter()
    for picture in index.pictures:
        by_label: dict[str, list[LabelledBox]] = defaultdict(list)
        for box in picture.boxes:
            by_label[box.label].append(box)
            sizes[box.label][_size_class(share_of_side(box, picture))] += 1
            whole[box.label] += _area(box) >= WHOLE_PICTURE
        boxes[picture.pool].update({label: len(found) for label, found in by_label.items()})
        pictures[picture.pool].update(by_label.keys())
        for label, found in by_label.items():
            repeated[label] += _repeated(found)
    return Contents(boxes, pictures, sizes, whole, repeated)


def statistics(index: PictureIndex, contents: Contents, size: int) -> DatasetStatistics:
    """The statistics of a dataset whose files have `size` bytes."""
    by_size = [sum(column) for column in zip(*contents.sizes.values(), strict=True)] or [0] * (len(SIZES) + 1)
    shapes = Counter((picture.width, picture.height) for picture in index.pictures)
    shown = sorted(shapes.items(), key=lambda item: (-item[1], item[0]))[:MAX_PICTURE_SIZES]
    return DatasetStatistics(
        labels=[
            LabelStatistics(
                name=label,
                train=LabelInPool(boxes=contents.boxes["train"][label], pictures=contents.pictures["train"][label]),
                eval=LabelInPool(boxes=contents.boxes["eval"][label], pictures=contents.pictures["eval"][label]),
                sizes=contents.sizes[label],
            )
            for label in index.labels
        ],
        train=_pool(index, "train"),
        eval=_pool(index, "eval"),
        box_sizes=[BoxSizes(below=below, boxes=boxes) for below, boxes in zip((*SIZES, None), by_size, strict=True)],
        tiny_boxes=by_size[0],
        picture_sizes=[PictureSize(width=w, height=h, pictures=number) for (w, h), number in shown],
        other_sizes=len(index.pictures) - sum(number for _, number in shown),
        bytes=size,
    )


def findings(index: PictureIndex, contents: Contents) -> list[Finding]:
    """What may spoil a training, one finding for each kind (and cluster or pool), in a fixed order."""
    found = [_spellings(cluster, contents) for cluster in clusters(index.labels)]
    for pool in POOLS:
        if absent := [label for label in index.labels if not contents.boxes[pool][label]]:
            message = f"The {_POOL_NAMES[pool]} pool has no box of {named(absent)}."
            found.append(Finding(code=f"label_missing_in_{pool}", message=message, labels=absent))
    totals = {label: sum(contents.boxes[pool][label] for pool in POOLS) for label in index.labels}
    found += _few_boxes({label: boxes for label, boxes in totals.items() if boxes < FEW_BOXES})
    evaluation = _pool(index, "eval").pictures
    if evaluation < FEW_EVAL_PICTURES:
        message = (
            f"Only {_plural(evaluation, 'picture')} to evaluate on: the metrics will jump from checkpoint to checkpoint. "
            "Add pictures, or upload with a larger share for evaluation."
        )
        found.append(Finding(code="few_eval_pictures", message=message, numbers={"pictures": evaluation}))
    tiny = {label: sizes[0] for label, sizes in contents.sizes.items()}
    found += _about_boxes(
        "tiny_boxes",
        tiny,
        lambda boxes: (
            f"{boxes} under {TINY:.0%} of the picture, {TINY * MODEL_SIDE:.1f} pixels of the {MODEL_SIDE} that the model "
            "sees: too small to learn from, and often a slip of the mouse."
        ),
    )
    small = {label: sum(sizes[: SIZES.index(SMALL) + 1]) for label, sizes in contents.sizes.items()}
    found += _about_boxes(
        "small_boxes",
        {label: boxes for label, boxes in small.items() if boxes > totals[label] / 2 and boxes > tiny[label]},
        lambda boxes: (
            f"{boxes} smaller than {SMALL * MODEL_SIDE:.0f} of the {MODEL_SIDE} pixels that the model sees, most of all that "
            "there are. Take pictures from nearer, or choose a starting model with 640 pixels."
        ),
    )
    found += _about_boxes(
        "whole_picture_boxes",
        {label: boxes for label, boxes in contents.whole.items() if boxes > totals[label] / 2},
        lambda boxes: (
            f"{boxes} around the whole picture: draw boxes around the things in it, so that the model learns where they are."
        ),
    )
    found += _about_boxes(
        "repeated_boxes",
        contents.repeated,
        lambda boxes: f"{boxes} drawn twice at the same place: remove one of each two.",
    )
    return found


def share_of_side(box: LabelledBox, picture: IndexedPicture) -> float:
    """The longer side of a box as a share of the longer side of its picture."""
    longer = max((box.xmax - box.xmin) * picture.width, (box.ymax - box.ymin) * picture.height)
    return longer / max(picture.width, picture.height)


def named(labels: Sequence[str]) -> str:
    """Labels for a sentence; many are cut."""
    shown = ", ".join(f"“{label}”" for label in labels[:MAX_LABELS_NAMED])
    return shown + (f" and {len(labels) - MAX_LABELS_NAMED} more" if len(labels) > MAX_LABELS_NAMED else "")


def _spellings(cluster: Sequence[str], contents: Contents) -> Finding:
    boxes = {label: float(sum(contents.boxes[pool][label] for pool in POOLS)) for label in cluster}
    message = (
        f"{named(cluster)} look like one label in different spellings; they are trained as {len(cluster)} labels. "
        "If they are one, spell them alike and upload again."
    )
    return Finding(code="label_spellings", message=message, labels=[*cluster], numbers=boxes)


def _few_boxes(few: Mapping[str, int]) -> list[Finding]:
    if not few:
        return []
    listed = [f"“{label}” has {boxes}" for label, boxes in few.items()]
    more = f", {len(listed) - MAX_LABELS_NAMED} more labels have as few" if len(listed) > MAX_LABELS_NAMED else ""
    message = f"Fewer than {FEW_BOXES} boxes of a label are too few to learn it: {', '.join(listed[:MAX_LABELS_NAMED])}{more}."
    return [Finding(code="few_boxes", message=message, labels=[*few], numbers={k: float(v) for k, v in few.items()})]


def _about_boxes(code: str, by_label: Mapping[str, int], sentence: Callable[[str], str]) -> list[Finding]:
    """One finding about boxes of some labels; none where there are none."""
    some = {label: float(boxes) for label, boxes in sorted(by_label.items()) if boxes}
    if not some:
        return []
    boxes = int(sum(some.values()))
    subject = f"{_plural(boxes, 'box', 'boxes')} of {named([*some])} {'is' if boxes == 1 else 'are'}"
    return [Finding(code=code, message=sentence(subject), labels=[*some], numbers=some)]


def _plural(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _pool(index: PictureIndex, pool: Pool) -> PoolStatistics:
    mine = [picture for picture in index.pictures if picture.pool == pool]
    return PoolStatistics(
        pictures=len(mine),
        negatives=sum(not picture.boxes for picture in mine),
        boxes=sum(len(picture.boxes) for picture in mine),
    )


def _size_class(share: float) -> int:
    return next((number for number, below in enumerate(SIZES) if share < below), len(SIZES))


def _area(box: LabelledBox) -> float:
    return max(0.0, box.xmax - box.xmin) * max(0.0, box.ymax - box.ymin)


def _repeated(boxes: Iterable[LabelledBox]) -> int:
    """How many of `boxes` lie where one before them does."""
    first: list[LabelledBox] = []
    repeated = 0
    for box in sorted(boxes, key=lambda box: box.xmin):
        # Of boxes with that IoU the left sides are no further apart than this, so only the last few have to be looked at.
        reach = box.xmin - (box.xmax - box.xmin) * (1 / SAME_BOX - 1)
        near = takewhile(partial(_begins_from, reach), reversed(first))
        if any(_iou(box, other) >= SAME_BOX for other in near):
            repeated += 1
        else:
            first.append(box)
    return repeated


def _begins_from(reach: float, box: LabelledBox) -> bool:
    return box.xmin >= reach


def _iou(a: LabelledBox, b: LabelledBox) -> float:
    common = max(0.0, min(a.xmax, b.xmax) - max(a.xmin, b.xmin)) * max(0.0, min(a.ymax, b.ymax) - max(a.ymin, b.ymin))
    union = _area(a) + _area(b) - common
    return common / union if union > 0 else 0.0
