"""What a dataset's contents are said to be, and what of them is warned of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dataset import findings
from services.dataset.findings import count, named, share_of_side, statistics
from services.dataset.index import IndexedPicture, LabelledBox, PictureIndex, Place
from shared.contract.api.datasets import BoxSizes, LabelInPool, PictureSize, Pool, PoolStatistics
from shared.contract.views import Finding

Sides = tuple[float, float, float, float]
USUAL: Sides = (0.1, 0.1, 0.5, 0.5)


def shown(pool: Pool, *boxes: tuple[str, Sides], size: tuple[int, int] = (640, 480)) -> IndexedPicture:
    return IndexedPicture(
        "a", pool, *size, [LabelledBox(label, *sides) for label, sides in boxes], "", Place("a", 0, 0), None
    )


def indexed(*pictures: IndexedPicture) -> PictureIndex:
    return PictureIndex(sorted({box.label for picture in pictures for box in picture.boxes}), [*pictures])


def sound(label: str = "ball", *more: IndexedPicture) -> PictureIndex:
    """A dataset that nothing is to be said of."""
    return indexed(*[shown("train", (label, USUAL))] * 20, *[shown("eval", (label, USUAL))] * 10, *more)


def found(index: PictureIndex) -> list[Finding]:
    return findings.findings(index, count(index))


def only(index: PictureIndex) -> Finding:
    [finding] = found(index)
    return finding


def test_nothing_to_say() -> None:
    assert found(sound()) == []


def test_statistics() -> None:
    index = indexed(
        shown("train", ("ball", USUAL), ("ball", (0.5, 0.5, 0.505, 0.505)), ("cube", (0.0, 0.0, 0.15, 0.1))),
        shown("train", ("ball", (0.0, 0.0, 1.0, 1.0))),
        shown("train"),
        shown("eval", ("ball", USUAL), size=(480, 640)),
        shown("eval", size=(100, 90)),
    )
    made = statistics(index, count(index), 1234)
    assert [(label.name, label.train, label.eval) for label in made.labels] == [
        ("ball", LabelInPool(boxes=3, pictures=2), LabelInPool(boxes=1, pictures=1)),
        ("cube", LabelInPool(boxes=1, pictures=1), LabelInPool(boxes=0, pictures=0)),
    ]
    assert made.train == PoolStatistics(pictures=3, negatives=1, boxes=4)
    assert made.eval == PoolStatistics(pictures=2, negatives=1, boxes=1)
    assert made.box_sizes == [
        BoxSizes(below=below, boxes=boxes)
        for below, boxes in ((0.01, 1), (0.02, 0), (0.05, 0), (0.1, 0), (0.2, 1), (0.4, 0), (None, 3))
    ]
    assert [label.sizes for label in made.labels] == [[1, 0, 0, 0, 0, 0, 3], [0, 0, 0, 0, 1, 0, 0]]
    assert (made.tiny_boxes, made.bytes, made.other_sizes) == (1, 1234, 0)
    assert made.picture_sizes[0] == PictureSize(width=640, height=480, pictures=3)
    assert len(made.picture_sizes) == 3


def test_many_picture_sizes_are_cut() -> None:
    index = indexed(*(shown("train", size=(100 + n, 100)) for n in range(30)))
    made = statistics(index, count(index), 0)
    assert len(made.picture_sizes) == findings.MAX_PICTURE_SIZES
    assert made.other_sizes == 30 - findings.MAX_PICTURE_SIZES
    assert [size.boxes for size in made.box_sizes] == [0] * 7


def test_the_longer_side_counts() -> None:
    """0.02 of the height of a picture twice as wide is 0.01 of its longer side."""
    picture = shown("train", size=(640, 320))
    assert share_of_side(LabelledBox("a", 0, 0, 0.005, 0.02), picture) == pytest.approx(0.01)


def test_spellings() -> None:
    index = sound("ball", *sound("Ball").pictures)
    finding = only(index)
    assert (finding.code, finding.labels) == ("label_spellings", ["Ball", "ball"])
    assert finding.numbers == {"Ball": 30, "ball": 30}
    assert "“Ball”, “ball” look like one label" in finding.message


@pytest.mark.parametrize(("pool", "lacking", "word"), [("train", "eval", "evaluation"), ("eval", "train", "training")])
def test_a_label_that_a_pool_lacks(pool: Pool, lacking: str, word: str) -> None:
    finding = only(sound("ball", *[shown(pool, ("duck", USUAL))] * 10))
    assert (finding.code, finding.labels) == (f"label_missing_in_{lacking}", ["duck"])
    assert finding.message == f"The {word} pool has no box of “duck”."


def test_few_boxes() -> None:
    few = [shown("train", ("duck", USUAL))] * 8 + [shown("eval", ("duck", USUAL))]
    finding = only(sound("ball", *few))
    assert (finding.code, finding.labels, finding.numbers) == ("few_boxes", ["duck"], {"duck": 9})
    assert "fewer than 10" in finding.message.lower()
    assert "“duck” has 9" in finding.message
    assert found(sound("ball", *few, shown("eval", ("duck", USUAL)))) == []


def test_few_pictures_to_evaluate_on() -> None:
    index = indexed(*sound().pictures[:-6])
    finding = only(index)
    assert (finding.code, finding.numbers) == ("few_eval_pictures", {"pictures": 4})
    assert finding.message.startswith("Only 4 pictures to evaluate on")


def test_tiny_boxes() -> None:
    finding = only(sound("ball", shown("train", ("ball", (0.5, 0.5, 0.509, 0.5)))))
    assert (finding.code, finding.numbers) == ("tiny_boxes", {"ball": 1})
    assert finding.message.startswith("1 box of “ball” is under 1% of the picture, 3.2 pixels of the 320")
    assert found(sound("ball", shown("train", ("ball", (0.5, 0.5, 0.511, 0.5))))) == []


def test_a_label_most_boxes_of_which_are_small() -> None:
    small = shown("train", ("ball", (0.5, 0.5, 0.54, 0.5)))
    finding = only(sound("ball", *[small] * 31))
    assert (finding.code, finding.numbers) == ("small_boxes", {"ball": 31})
    assert "31 boxes of “ball” are smaller than 16 of the 320 pixels" in finding.message
    assert found(sound("ball", *[small] * 30)) == []


def test_boxes_around_the_whole_picture() -> None:
    whole = shown("train", ("ball", (0.0, 0.01, 1.0, 1.0)))
    finding = only(sound("ball", *[whole] * 31))
    assert (finding.code, finding.numbers) == ("whole_picture_boxes", {"ball": 31})
    assert found(sound("ball", *[whole] * 30)) == []


def test_boxes_drawn_twice() -> None:
    near = (0.101, 0.1, 0.5, 0.501)
    twice = shown("train", ("ball", USUAL), ("duck", USUAL), ("ball", near), ("ball", USUAL))
    index = sound("ball", *sound("duck").pictures, twice)
    finding = only(index)
    assert (finding.code, finding.numbers) == ("repeated_boxes", {"ball": 2})
    assert finding.message.startswith("2 boxes of “ball” are drawn twice")
    apart = shown("train", ("ball", USUAL), ("ball", (0.1, 0.1, 0.5, 0.45)))
    assert found(sound("ball", apart)) == []


sides = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(sides, sides, sides, sides), max_size=12))
def test_repeated_boxes_are_those_that_lie_where_another_does(all_sides: Sequence[Sides]) -> None:
    """The quick search finds what comparing all with all finds, but for chains, where it finds fewer."""
    boxes = [LabelledBox("a", min(x, u), min(y, v), max(x, u), max(y, v)) for x, y, u, v in all_sides]
    quick = findings._repeated(boxes)
    pairs = {n for n, box in enumerate(boxes) for other in boxes[:n] if findings._iou(box, other) >= findings.SAME_BOX}
    assert quick <= len(pairs)
    assert (quick == 0) == (not pairs)


def test_many_labels_are_cut_in_sentences_but_not_as_data() -> None:
    labels = [f"label{number}x" for number in range(40)]
    boxes = [(label, USUAL) for label in labels]
    index = indexed(*[shown("train", *boxes)] * 4, *[shown("eval", *boxes)] * 4, *[shown("eval")] * 6)
    finding = only(index)
    assert (finding.code, len(finding.labels)) == ("few_boxes", 40)
    assert "and 32 more labels have as few." in finding.message.replace(", 32", ", and 32")
    assert named(labels).endswith(" and 32 more")
