"""The pools: sized as asked, the same each time, without a frame or its twin in both."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from services.dataset.frames import Box, Frame
from services.dataset.split import natural_key, split

UNLIKE = [(n * 0x9E3779B97F4A7C15) % 2**64 for n in range(400)]  # pairwise far apart


def frame(name: str, labels: Sequence[str] = ("ball",), digest: str | None = None, dhash: int = 0) -> Frame:
    boxes = tuple(Box(label, 0, 0, 9, 9) for label in labels)
    return Frame(name=name, width=10, height=10, boxes=boxes, digest=digest or name, dhash=dhash)


@st.composite
def frame_lists(draw: st.DrawFn) -> list[Frame]:
    count = draw(st.integers(1, 60))
    frames = []
    for number in range(count):
        labels = draw(st.sampled_from([(), ("ball",), ("cube",), ("ball", "cube")]))
        digest = draw(st.sampled_from([None, None, None, "same", "other"]))
        dhash = UNLIKE[draw(st.integers(0, 5))] if draw(st.booleans()) else UNLIKE[number]
        frames.append(frame(f"{draw(st.sampled_from('ab'))}/f{number}.jpg", labels, digest, dhash))
    return frames


@settings(max_examples=200)
@given(frame_lists(), st.integers(5, 50), st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_laws(frames: list[Frame], percent: int, seed: int, random: object) -> None:
    pools = split(frames, percent, seed)
    labelled = {f.digest for f in frames if f.boxes}
    if pools is None:
        assert len(labelled) < 2
        return
    names = [f.name for f in (*pools.train, *pools.eval)]
    assert sorted(names) == sorted(f.name for f in frames)
    assert not {f.digest for f in pools.train} & {f.digest for f in pools.eval}
    assert any(f.boxes for f in pools.train)
    assert any(f.boxes for f in pools.eval)
    shuffled = list(frames)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split(shuffled, percent, seed) == pools


def test_only_copies_of_one_labelled_picture_cant_be_split() -> None:
    assert split([frame("a", digest="x"), frame("b", digest="x"), frame("c", ())], 20, 0) is None


def test_the_pool_has_the_size_asked_for() -> None:
    frames = [frame(f"f{n}", dhash=UNLIKE[n]) for n in range(200)]
    for percent in (5, 20, 50):
        pools = split(frames, percent, 3)
        assert pools is not None
        assert len(pools.eval) == 2 * percent


def test_another_seed_deals_other_pools() -> None:
    frames = [frame(f"f{n}", dhash=UNLIKE[n]) for n in range(40)]
    first, second = split(frames, 20, 1), split(frames, 20, 2)
    assert first is not None
    assert second is not None
    assert first.eval != second.eval


def test_a_rare_label_reaches_both_pools() -> None:
    frames = [frame(f"f{n}", ("ball", "cube") if n in (3, 60) else ("ball",), dhash=UNLIKE[n]) for n in range(100)]
    found = 0
    for seed in range(20):
        pools = split(frames, 20, seed)
        assert pools is not None
        found += sum("cube" in f.labels for f in pools.eval) == 1
    assert found >= 18  # a third of plain deals would do


def test_neighbouring_frames_of_a_video_stay_together() -> None:
    """One video of 300 frames: each differs from the one before by one bit of its look."""
    frames, look = [], UNLIKE[1]
    for number in range(300):
        look ^= 1 << (number * 7 % 64)
        frames.append(frame(f"video/{number}.jpg", dhash=look))
    pools = split(frames, 20, 5)
    assert pools is not None
    assert len(pools.eval) == 60
    evaluation = {f.name for f in pools.eval}
    borders = sum((f"video/{n}.jpg" in evaluation) != (f"video/{n + 1}.jpg" in evaluation) for n in range(299))
    assert borders <= 6  # three stretches at the most have two ends each; single frames would make about 96
    assert pools.groups_of_look_alikes == 15


def test_frames_of_different_folders_are_no_neighbours() -> None:
    pools = split([frame("a/1.jpg"), frame("b/1.jpg"), *(frame(f"c/{n}", dhash=UNLIKE[n]) for n in range(38))], 20, 0)
    assert pools is not None
    assert pools.groups_of_look_alikes == 0


def test_numbers_in_names_sort_as_numbers() -> None:
    names = ["f10", "f9", "f2b", "f2a", "f010", "a", "9" * 5000, "f"]
    assert sorted(names, key=natural_key) == ["9" * 5000, "a", "f", "f2a", "f2b", "f9", "f010", "f10"]
