"""The sample archive: labelled as drawn, the same for the same seed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from services.cli.rendering.scene import SIZES, shoot
from services.cli.sample import write_sample
from services.dataset.importer import ImportOptions, import_archive


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second, third = tmp_path / "a.zip", tmp_path / "b.zip", tmp_path / "c.zip"
    write_sample(first, 4, seed=3)
    write_sample(second, 4, seed=3)
    write_sample(third, 4, seed=4)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != third.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "c.zip"]


def test_more_pictures_begin_with_the_same_ones(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.zip", 2)
    write_sample(tmp_path / "b.zip", 3)
    with zipfile.ZipFile(tmp_path / "a.zip") as few, zipfile.ZipFile(tmp_path / "b.zip") as more:
        assert len(more.namelist()) == 6
        assert all(more.read(name) == few.read(name) for name in few.namelist())


def test_imports_without_a_complaint(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    summary = write_sample(path, 40)
    result = import_archive(path, tmp_path / "out", ImportOptions(source_name="a.zip", salt="x"))
    assert summary.pictures == result.report.read["pictures"] == 40
    assert summary.negatives == 4
    assert summary.boxes == {label.name: label.train + label.eval for label in result.manifest.labels}
    assert set(summary.boxes) == {"ball", "cube"}
    assert result.report.skipped_total == 0
    assert result.report.warnings == []
    assert result.report.look_alike_groups <= 2


@pytest.mark.parametrize("seed", range(12))
def test_boxes_fit_what_is_drawn(seed: int) -> None:
    shot = shoot(np.random.default_rng(seed), empty=False)
    assert shot.image.size in SIZES
    assert 1 <= len(shot.boxes) <= 5
    pixels = np.asarray(shot.image.convert("HSV")).astype(int)
    for label, xmin, ymin, xmax, ymax in shot.boxes:
        assert 0 <= xmin < xmax <= shot.image.width
        assert 0 <= ymin < ymax <= shot.image.height
        # The elements are colourful, the field is not: the middle of the box differs from the picture as a whole.
        middle = pixels[
            (3 * ymin + ymax) // 4 : (ymin + 3 * ymax) // 4, (3 * xmin + xmax) // 4 : (xmin + 3 * xmax) // 4
        ]
        assert np.median(middle[..., 1]) > 70, label


def test_empty_ones_are_empty() -> None:
    assert shoot(np.random.default_rng(1), empty=True).boxes == []
