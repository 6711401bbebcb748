"""The report's words."""

from __future__ import annotations

from services.dataset.formats.voc import Skipped
from services.dataset.report import MAX_SKIPPED_LISTED, Notes, by_code, clusters, label_warnings, listed
from shared.contract.views import LabelCount


def test_lists_are_capped_and_totals_are_not() -> None:
    skipped = [Skipped(f"{n:04d}.jpg", "no_annotation") for n in range(500)]
    assert len(listed(skipped)) == MAX_SKIPPED_LISTED
    assert listed(skipped)[0].file == "0000.jpg"
    assert by_code(skipped) == {"no_annotation": 500}


def test_a_warning_names_the_first_files() -> None:
    notes = Notes()
    notes.add("box_clipped", "none.xml", 0)
    for number in range(30):
        notes.add("box_clipped", f"{number}.xml", 2)
    [warning] = notes.warnings()
    assert warning.count == 60
    assert warning.files == [f"{n}.xml" for n in range(10)]
    assert warning.message == "Clipped at the picture's edge: 60 boxes (0.xml, 1.xml, 2.xml, …)."


def test_spellings_of_one_label() -> None:
    assert clusters(["Ball", "cube", "ball", "BALL ", "red_cube", "Red Cube", "red-cube"]) == [
        ["BALL ", "Ball", "ball"],
        ["Red Cube", "red-cube", "red_cube"],
    ]


def test_label_warnings() -> None:
    found = label_warnings([LabelCount(name="ball", train=9, eval=0), LabelCount(name="cube", train=30, eval=10)])
    assert [warning.code for warning in found] == ["label_missing_in_pool", "few_boxes"]
    assert found[0].message == "The evaluation pool has no box of “ball”."
    assert "9 boxes" in found[1].message
