"""The report's words."""

from __future__ import annotations

from services.dataset.formats.voc import Skipped
from services.dataset.report import MAX_SKIPPED_LISTED, Notes, by_code, listed


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
