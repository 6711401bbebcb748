"""Which pictures train and which evaluate.

Pure and deterministic: the same frames, percentage and seed give the same pools, whatever the order they come in.

Neighbouring frames of a video are nearly the same picture. In both pools they would make the metrics flatter the model,
so frames are dealt in groups: equal files always stay together, runs of look-alike neighbours do up to a length that
still leaves several stretches to evaluate on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import msgspec

from services.dataset.frames import Frame

# Of 64 bits. Neighbouring video frames differ by a few, unrelated pictures by about 32.
LOOK_ALIKE_BITS = 8
# A run of look-alikes is cut so that the evaluation pool still consists of at least this many stretches.
MIN_EVAL_STRETCHES = 3
# That many deals are compared, to find one where no label is missing in a pool.
DEALS = 16


class Split(msgspec.Struct, frozen=True):
    """The two pools, each in name order, and how many of the groups held more than one frame."""

    train: list[Frame]
    eval: list[Frame]
    groups_of_look_alikes: int


def split(frames: Sequence[Frame], eval_percent: int, seed: int) -> Split | None:
    """Deal `frames` into pools, about `eval_percent` per cent (1..99) of them for evaluation.

    Each pool gets at least one labelled frame; None where that can't be, as fewer than two different frames are labelled.
    """
    ordered = sorted(frames, key=lambda frame: natural_key(frame.name))
    target = max(1, round(len(ordered) * eval_percent / 100))
    for longest in (max(1, target // MIN_EVAL_STRETCHES), 1):
        groups = _groups(ordered, longest)
        if sum(any(frame.boxes for frame in group) for group in groups) >= 2:
            deals = (_deal(groups, target, f"{seed}/{deal}") for deal in range(DEALS))
            chosen = min(deals, key=lambda deal: _faults(ordered, deal, target))
            return Split(
                train=[frame for frame in ordered if frame.name not in chosen],
                eval=[frame for frame in ordered if frame.name in chosen],
                groups_of_look_alikes=sum(len(group) > 1 for group in groups),
            )
    return None


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts `frame2` before `frame10`."""
    parts = re.split(r"([0-9]+)", name)  # text and digits by turns; digits compare by length first, as numbers do
    return [(len(part.lstrip("0")), part.lstrip("0")) if i % 2 else (0, part) for i, part in enumerate(parts)], name


def _groups(ordered: Sequence[Frame], longest: int) -> list[list[Frame]]:
    """Equal files form one group, whatever its size; then look-alike neighbours are joined up to `longest` frames."""
    same: dict[str, list[Frame]] = {}
    for frame in ordered:
        same.setdefault(frame.digest, []).append(frame)
    groups: list[list[Frame]] = []
    previous: Frame | None = None
    for copies in same.values():
        frame = copies[0]
        if previous and len(groups[-1]) + len(copies) <= longest and _look_alike(previous, frame):
            groups[-1].extend(copies)
        else:
            groups.append(list(copies))
        previous = frame
    return groups


def _look_alike(a: Frame, b: Frame) -> bool:
    return _folder(a) == _folder(b) and (a.dhash ^ b.dhash).bit_count() <= LOOK_ALIKE_BITS


def _folder(frame: Frame) -> str:
    return frame.name.rpartition("/")[0]


def _deal(groups: Sequence[list[Frame]], target: int, salt: str) -> frozenset[str]:
    """Names of the evaluation frames: groups in an order that `salt` decides, each taken where it still fits."""

    def rank(group: list[Frame]) -> bytes:
        return hashlib.sha256(f"{salt}/{group[0].name}".encode()).digest()

    shuffled = sorted(groups, key=rank)
    taken: list[list[Frame]] = []
    left: list[list[Frame]] = []
    room = target
    for group in shuffled:
        if len(group) <= room:
            taken.append(group)
            room -= len(group)
        else:
            left.append(group)
    for lacking, giving in ((taken, left), (left, taken)):
        if not any(map(_labelled, lacking)):
            # The smallest does: the pools stay close to what was asked for.
            gift = min(filter(_labelled, giving), key=lambda group: (len(group), rank(group)))
            giving.remove(gift)
            lacking.append(gift)
    return frozenset(frame.name for group in taken for frame in group)


def _labelled(group: list[Frame]) -> bool:
    return any(frame.boxes for frame in group)


def _faults(ordered: Sequence[Frame], chosen: frozenset[str], target: int) -> tuple[int, int]:
    """How bad a deal is: labels that a pool lacks, then how far its size is off."""
    train = {label for frame in ordered if frame.name not in chosen for label in frame.labels}
    evaluation = {label for frame in ordered if frame.name in chosen for label in frame.labels}
    return len(train ^ evaluation), abs(len(chosen) - target)
