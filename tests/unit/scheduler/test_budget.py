"""The arithmetic of minutes."""

from __future__ import annotations

import pytest

from services.scheduler import budget
from tests.unit.scheduler.samples import NOW


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 10), (480, 10), (481, 11), (3600, 75)])
def test_the_default_maximum_is_the_estimate_and_a_quarter(seconds: float, minutes: int) -> None:
    assert budget.default_max_minutes(seconds) == minutes


@pytest.mark.parametrize(("stepping", "reserved", "used"), [(0.0, 600, 0), (59.99, 600, 59), (700.0, 600, 600)])
def test_whole_seconds_are_used_and_never_more_than_was_reserved(stepping: float, reserved: int, used: int) -> None:
    assert budget.used_seconds(stepping, reserved) == used
    lines = [budget.reservation("j", reserved, NOW), *budget.settlement("j", reserved, used, NOW)]
    assert budget.balance(lines) == -used
