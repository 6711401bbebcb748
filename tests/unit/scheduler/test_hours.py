"""The lab's hours: text, zones and the nights in which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.hours import LabHours
from services.scheduler.open_time import OpenTime
from services.scheduler.plan import Hours

LAB = LabHours("Mo-Fr 08:00-18:00; Sa 10:00-14:00", "Europe/Vienna")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "is_open", "until"),
    [
        ("2026-03-02 06:59:59", False, "2026-03-02 07:00"),  # Monday, an hour ahead of UTC
        ("2026-03-02 07:00", True, "2026-03-02 17:00"),
        ("2026-03-02 16:59:59", True, "2026-03-02 17:00"),
        ("2026-03-02 17:00", False, "2026-03-03 07:00"),
        ("2026-03-07 12:00", True, "2026-03-07 13:00"),  # Saturday
        ("2026-03-07 13:00", False, "2026-03-09 07:00"),
        ("2026-03-27 17:00", False, "2026-03-28 09:00"),
        ("2026-03-28 13:00", False, "2026-03-30 06:00"),  # clocks went forward on Sunday
        ("2026-10-24 12:00", False, "2026-10-26 07:00"),  # and back
    ],
)
def test_open_and_until_when(at: str, is_open: bool, until: str) -> None:
    hours = LAB.at(utc(at))
    assert (hours.open, hours.until) == (is_open, utc(until))
    assert hours.until is not None
    assert hours.until.tzinfo is UTC


def test_the_changes_after_that_are_known_for_a_month() -> None:
    hours = LAB.at(utc("2026-03-02 12:00"))
    assert hours.changes[:3] == (utc("2026-03-03 07:00"), utc("2026-03-03 17:00"), utc("2026-03-04 07:00"))
    assert hours.changes[-1] > utc("2026-04-02 12:00")


@pytest.mark.parametrize(
    ("text", "expected"), [("24/7", Hours(open=True)), ("off", Hours(open=False)), ("Mo-Su", Hours(open=True))]
)
def test_always_and_never(text: str, expected: Hours) -> None:
    assert LabHours(text, "UTC").at(utc("2026-03-02 12:00")) == expected


def test_over_midnight() -> None:
    night = LabHours("Mo-Fr 22:00-06:00", "America/New_York")
    assert night.at(utc("2026-07-07 03:00")) == night.at(utc("2026-07-07 09:59"))
    assert night.at(utc("2026-07-07 03:00")).until == utc("2026-07-07 10:00")


def test_hours_in_the_nights_in_which_clocks_change_keep_their_place_on_the_clock() -> None:
    lab = LabHours("01:00-04:00", "Europe/Vienna")
    spring, autumn = lab.at(utc("2026-03-29 00:30")), lab.at(utc("2026-10-25 00:30"))
    assert (spring.open, spring.until) == (True, utc("2026-03-29 02:00"))
    assert (autumn.open, autumn.until) == (True, utc("2026-10-25 03:00"))


def test_an_opening_that_the_clock_skips_is_at_the_moment_it_goes_on() -> None:
    lab = LabHours("02:30-05:00", "Europe/Vienna")
    assert lab.at(utc("2026-03-29 00:30")).until == utc("2026-03-29 01:00")
    assert lab.at(utc("2026-03-29 01:00")).open


def test_comments_do_not_count_as_changes() -> None:
    lab = LabHours('Mo-Fr 08:00-12:00 "with a key", Mo-Fr 12:00-18:00', "UTC")
    assert lab.at(utc("2026-03-02 09:00")).until == utc("2026-03-02 18:00")


@pytest.mark.parametrize(
    ("text", "zone", "words"),
    [
        ("Mo-Fr 8-18", "UTC", "can't be read from '8-18' on; write them like 'Mo-Fr 08:00-18:00"),
        ("24/24", "UTC", "opening hours '24/24'"),
        ("", "UTC", "opening hours ''"),
        ("Mo-Fr 08:00-", "UTC", "end too early"),
        ("Mo-Fr 08:00-18:00; PH off", "UTC", "holidays"),
        ("24/7", "Europe/Wien", "unknown time zone 'Europe/Wien'"),
        ("24/7", "", "unknown time zone ''"),
        ("24/7", "../etc/passwd", "unknown time zone"),
        ("24/7", "Europe", "unknown time zone"),
    ],
)
def test_bad_text_is_refused_with_what_is_wrong(text: str, zone: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        LabHours(text, zone)
    assert words in str(caught.value)


@given(
    st.sampled_from(
        ["Mo-Fr 08:00-18:00; Sa 10:00-14:00", "09:00-12:00,13:00-17:00", "Mo 22:00-30:00", "24/7; Dec off"]
    ),
    st.sampled_from(["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
)
def test_a_change_is_ahead_and_the_other_way_and_asking_again_is_the_same(text: str, zone: str, at: datetime) -> None:
    lab = LabHours(text, zone)
    hours = lab.at(at)
    assert hours.until is not None
    moments = [at, hours.until, *hours.changes]
    assert moments == sorted(set(moments))
    for number, moment in enumerate(moments[1:6], 1):
        assert LabHours(text, zone).at(moment).open is (hours.open is (number % 2 == 0))
    before = lab.at(hours.until - timedelta(microseconds=1))
    assert before.open is hours.open or hours.until.astimezone(ZoneInfo(zone)).fold


@pytest.mark.parametrize(
    ("text", "lead", "longest"),
    [
        ("Mo-Fr 13:00-13:50", 60, 2940),
        ("Mo-Fr 08:00-18:00; Sa 10:00-14:00", 0, 36_000),
        ("Mo-Fr 13:00-13:01", 60, 0),
        ("off", 60, 0),
        ("24/7", 60, inf),
    ],
)
def test_the_longest_time_in_a_row_is_that_of_any_day_less_what_saving_takes(
    text: str, lead: float, longest: float
) -> None:
    for now in ("2026-03-02 12:00", "2026-03-02 13:45", "2026-03-07 20:00"):
        hours = LabHours(text, "UTC").at(utc(now))
        assert OpenTime(hours, timedelta(seconds=lead), utc(now)).longest == longest
    assert OpenTime(None, timedelta(seconds=lead), utc(now)).longest == inf
