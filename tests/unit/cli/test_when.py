"""Times as people give them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from services.cli.when import parse_when
from tests.support.answers import NOW

LOCAL = NOW.astimezone()


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ("90m", timedelta(minutes=90)),
        ("90 min", timedelta(minutes=90)),
        (" 2h ", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
    ],
)
def test_spans(given: str, after: timedelta) -> None:
    assert parse_when(given, NOW) == NOW + after


def test_a_time_of_day_is_the_next_one() -> None:
    soon, before = LOCAL + timedelta(minutes=5), LOCAL - timedelta(minutes=5)
    assert parse_when(f"{soon:%H:%M}", NOW) == soon
    assert parse_when(f"{before:%H:%M}", NOW) == before + timedelta(days=1)
    assert parse_when(f"{LOCAL:%H:%M}", NOW) == LOCAL + timedelta(days=1)


def test_dates() -> None:
    assert parse_when("2026-03-05", NOW) == datetime(2026, 3, 5).astimezone()
    assert parse_when("2026-03-05 18:30", NOW) == datetime(2026, 3, 5, 18, 30).astimezone()
    assert parse_when("2026-03-05T18:30:00+05:00", NOW) == datetime.fromisoformat("2026-03-05T13:30:00+00:00")
    assert parse_when("2026-03-05 18:30Z", NOW).tzinfo is not None


@pytest.mark.parametrize("given", ["", "tomorrow", "25:00", "2026-02-30", "5", "5x", "-2h", "²h"])
def test_what_is_no_time(given: str) -> None:
    with pytest.raises(ValueError, match="is not a time like"):
        parse_when(given, NOW)


@pytest.mark.parametrize("given", ["0m", "2026-02-01", "2026-03-01T11:59Z"])
def test_what_is_over(given: str) -> None:
    with pytest.raises(ValueError, match="is over already"):
        parse_when(given, NOW)
