"""The history of the capacity: its spans, its figures, its bars."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from services.cli.show_capacity import LINES, capacity_view, spans
from shared.contract.api.admin import CapacityPoint
from tests.support.answers import NOW, capacity_points


def drawn(points: list[CapacityPoint], width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    console.print(capacity_view(points, width))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return [line.rstrip() for line in lines]


def point(minute: int, **changes: int) -> CapacityPoint:
    figures = {"trainers": 1, "slots": 2, "busy": 1, "waiting": 0, **changes}
    return CapacityPoint(at=NOW + timedelta(minutes=minute), **figures)


@pytest.mark.parametrize(
    ("hours", "length"),
    [(1, 5), (2, 5), (3, 15), (7, 15), (8, 60), (24, 60), (31, 60), (32, 180), (168, 360), (720, 1440)],
)
def test_spans_fit_a_screen(hours: int, length: int) -> None:
    found, lines = spans(capacity_points(60 * hours))
    assert found == timedelta(minutes=length)
    assert len(lines) <= LINES + 1
    assert [line.start for line in lines] == [lines[0].start + n * found for n in range(len(lines))]


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
def test_an_hour_that_the_clock_shows_twice() -> None:
    clocks_change = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
    points = [
        CapacityPoint(at=clocks_change + timedelta(minutes=minute), trainers=1, slots=2, busy=busy, waiting=0)
        for minute, busy in ((-20, 1), (-10, 1), (20, 2), (40, 2), (50, 0))
    ]
    _, lines = spans(points)
    assert [(f"{line.start:%H:%M}", line.busy) for line in lines if line.slots is not None] == [
        ("02:20", 2), ("02:40", 1.5), ("02:50", 0.5),
    ]  # fmt: skip


@given(st.sets(st.integers(0, 720 * 60), min_size=1, max_size=30))
def test_no_point_is_lost(minutes: set[int]) -> None:
    points = [point(minute) for minute in sorted(minutes)]
    length, lines = spans(points)
    assert len(lines) <= LINES + 1
    starts = {line.start for line in lines if line.slots is not None}
    assert lines[0].slots is not None
    assert lines[-1].slots is not None
    for one in points:
        at = one.at.astimezone().replace(tzinfo=None)
        assert any(start <= at < start + length for start in starts)


def test_figures_are_averages() -> None:
    points = [point(0, busy=2, waiting=4), point(1, busy=0, slots=1), point(2, busy=1, slots=0, trainers=0)]
    _, (line,) = spans(points)
    assert (line.slots, line.busy, line.most_waiting) == (1, 1, 4)
    assert round(line.waiting, 2) == 1.33
    assert round(line.trainers, 2) == 0.67


def test_bars() -> None:
    points = [
        *(point(n, busy=1) for n in range(5)),
        *(point(n, busy=2, waiting=3) for n in range(5, 10)),
        *(point(n, slots=0, busy=0, trainers=0) for n in range(10, 15)),
        *(point(n, busy=0, slots=1) for n in range(20, 25)),
    ]
    lines = drawn(points)
    assert lines[0].startswith("Slots were busy 60% of the time; at most 3 jobs waited, at ")
    assert "for about 5 min there was no slot." in " ".join(lines[:2])
    rows = [line for line in lines if line[-1:] in ("0", "3", "–")]
    full = rows[1].count("█")
    assert [(row.count("█"), row.count("░")) for row in rows] == [
        (full // 2, full // 2), (full, 0), (0, 0), (0, 0), (0, full // 2),
    ]  # fmt: skip
    assert "no slots" in rows[2]
    assert "not measured" in rows[3]


def test_the_day_is_told_where_it_begins() -> None:
    labels = [line[:13].strip() for line in drawn(capacity_points(30 * 60))[3:-2]]
    with_day = [label for label in labels if " " in label]
    first, today = ((NOW - timedelta(hours=hours)).astimezone() for hours in (29, 0))
    assert with_day[0].startswith(f"{first.day} {first:%b}  ")
    assert with_day[-1] == f"{today.day} {today:%b}  00:00"
    by_day = [line[:6].strip() for line in drawn(capacity_points(720 * 60))[3:-2]]
    assert by_day[-1] == f"{today.day} {today:%b}"


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_terminal(width: int) -> None:
    lines = drawn([point(n, slots=900, busy=100, waiting=1234) for n in range(120)], width)
    assert ("Trainers" in lines[2]) is (width >= 100)
    assert "1,234" in "\n".join(lines)


def test_a_trainer_that_fell_silent_still_holds_its_jobs() -> None:
    lines = drawn([point(0, slots=2, busy=2), point(5, slots=1, busy=2)])
    assert lines[0] == "Slots were busy 100% of the time; no job waited."
    first, second = (line.count("█") for line in lines[3:5])
    assert second == first // 2


def test_without_any_slot_and_without_anything() -> None:
    lines = drawn([point(n, slots=0, busy=0, trainers=0) for n in range(90)])
    assert lines[0] == "No job waited; for about 1 h 30 min there was no slot."
    assert drawn([]) == ["Nothing was measured in that time."]
