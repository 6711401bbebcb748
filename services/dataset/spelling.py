"""Which labels are likely one word in different spellings: capitals, separators, a plural, a slip of the finger.

Pure. Distances are RapidFuzz's (optimal string alignment: one inserted, left out, changed or swapped letter is 1).

What differs by a number or a single letter ("tag16" and "tag17", "cube_a" and "cube_b") is taken as meant, and so is what
differs in its first letter ("pole" and "hole"): people seldom mistype the beginning of a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal

from rapidfuzz.distance import OSA

Kinship = Literal["writing", "plural", "typo"]

_SEPARATORS = re.compile(r"[\s_\-.]+")
_PARTS = re.compile(r"\d+|\D+")
_SHORTEST = 3  # letters of the shorter word: below that every word is near every other
# Words this long are seldom one letter apart by chance; shorter ones that differ in a changed letter are ("ball", "bell").
_LONG = 5
_VERY_LONG = 8  # here two slips are still one word


def spelling_key(name: str) -> str:
    """What stays of a label when case and separators are taken away."""
    return _SEPARATORS.sub("", name.casefold())


def kinship(one: str, other: str) -> Kinship | None:
    """Why two different labels look like one: written otherwise, singular and plural, or a likely misspelling; None if they
    don't."""
    if spelling_key(one) == spelling_key(other):
        return "writing"
    mine, theirs = _words(one), _words(other)
    if len(mine) != len(theirs):  # "redcub" and "red cube", but not "cube" and "cube_a"
        if any(len(word) == 1 for word in mine + theirs):
            return None
        mine, theirs = _parts(spelling_key(one)), _parts(spelling_key(other))
    if len(mine) != len(theirs):
        return None
    differing = [pair for pair in zip(mine, theirs, strict=True) if pair[0] != pair[1]]
    if all(_singular(a) == _singular(b) for a, b in differing):
        return "plural"
    return "typo" if all(_singular(a) == _singular(b) or _slip(a, b) for a, b in differing) else None


def clusters(names: Iterable[str]) -> list[list[str]]:
    """Names that look like one label, grouped and sorted; names without a twin are left out."""
    ordered = sorted(set(names))
    group = {name: [name] for name in ordered}
    for one, other in combinations(ordered, 2):
        if group[one] is not group[other] and kinship(one, other) is not None:
            joined = group[one] + group[other]
            group |= dict.fromkeys(joined, joined)
    found = {id(members): sorted(members) for members in group.values() if len(members) > 1}
    return sorted(found.values())


def _words(name: str) -> list[str]:
    """`Red_Cube2` as red, cube, 2."""
    return [part for word in _SEPARATORS.split(name.casefold()) for part in _parts(word)]


def _parts(text: str) -> list[str]:
    return _PARTS.findall(text)


def _singular(word: str) -> str:
    """English, as far as an ending tells; both words of a pair go through it, so that a wrong guess does no harm."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(s|x|z|ch|sh)es$", word):
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss") and len(word) > _SHORTEST:
        return word[:-1]
    return word


def _slip(one: str, other: str) -> bool:
    shorter, longer = sorted((len(one), len(other)))
    if shorter < _SHORTEST or one[0] != other[0] or not (one + other).isalpha():
        return False
    distance = OSA.distance(one, other, score_cutoff=2)
    if distance == 1:
        changed = shorter == longer and _is_changed(one, other)
        return longer >= (_LONG if changed else _SHORTEST + 1)
    return distance == 2 and shorter >= _VERY_LONG


def _is_changed(one: str, other: str) -> bool:
    """Whether one letter became another, rather than two neighbours changing places."""
    return sum(a != b for a, b in zip(one, other, strict=True)) == 1


def closest(name: str, others: Sequence[str]) -> tuple[str, Kinship] | None:
    """The first of `others` that `name` may be a spelling of, those that differ in writing alone before the others."""
    kin = [(other, kind) for other in others if (kind := kinship(name, other)) is not None]
    return min(kin, key=lambda pair: ("writing", "plural", "typo").index(pair[1]), default=None)
