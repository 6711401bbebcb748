"""Minutes: what a job may take at most where nobody says."""

from __future__ import annotations

import pytest

from services.scheduler import budget


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 10), (480, 10), (481, 11), (3600, 75)])
def test_the_default_maximum_is_the_estimate_and_a_quarter(seconds: float, minutes: int) -> None:
    assert budget.default_max_minutes(seconds) == minutes
