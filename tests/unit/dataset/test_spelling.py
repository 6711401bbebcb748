"""Which labels look like one: typos are found, and what is meant is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dataset.spelling import closest, clusters, kinship


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("Ball", "ball", "writing"),
        ("red_cube", "Red Cube", "writing"),
        ("redcube", "red-cube", "writing"),
        ("ball", "balls", "plural"),
        ("box", "boxes", "plural"),
        ("battery", "Batteries", "plural"),
        ("red cubes", "red cube", "plural"),
        ("glass", "glasses", "plural"),
        ("ball", "bal", "typo"),
        ("robot", "robto", "typo"),
        ("redcub", "red cube", "typo"),
        ("pixel", "pixek", "typo"),
        ("backdrop", "bcakdorp", "typo"),
        ("red pixel", "red pixle", "typo"),
    ],
)
def test_kin(one: str, other: str, kind: str) -> None:
    assert kinship(one, other) == kinship(other, one) == kind


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ball", "bell"),
        ("pole", "hole"),
        ("tag16", "tag17"),
        ("team 1", "team 2"),
        ("cube_a", "cube_b"),
        ("cube", "cube_a"),
        ("cube", "cube 2"),
        ("red sample", "blue sample"),
        ("duck", "cube"),
        ("c", "d"),
        ("C++", "C#"),
        ("red", "rad"),
        ("x1y", "x2z"),
    ],
)
def test_what_is_meant(one: str, other: str) -> None:
    assert kinship(one, other) is None
    assert clusters([one, other]) == []


def test_spellings_of_one_label() -> None:
    names = ["Ball", "cube", "ball", "BALL ", "balls", "bal", "red_cube", "Red Cube", "red-cube", "duck"]
    assert clusters(names) == [["BALL ", "Ball", "bal", "ball", "balls"], ["Red Cube", "red-cube", "red_cube"]]


def test_the_surest_kin_comes_first() -> None:
    assert closest("Balls", ["bals", "ball", "balls"]) == ("balls", "writing")
    assert closest("balls", ["bals", "ball"]) == ("ball", "plural")
    assert closest("balls", ["duck"]) is None


@given(st.lists(st.text("aAbB sS-1", min_size=1, max_size=6), max_size=8))
def test_clusters_part_the_names(names: list[str]) -> None:
    """Whatever people type: no name is in two clusters, each has a twin in its own, and none outside."""
    found = clusters(names)
    members = [name for cluster in found for name in cluster]
    assert len(members) == len(set(members))
    for cluster in found:
        for name in cluster:
            assert any(kinship(name, other) for other in cluster if other != name)
            assert not any(kinship(name, other) for other in set(names) - set(cluster))
