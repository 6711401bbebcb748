"""The history of the capacity as a chart of text: a line for each span of time, busy and free slots as a bar.

Owns the spans, their figures and the drawing. Pure but for the reader's time zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from services.cli import figures
from services.cli.figures import DASH, count
from services.cli.show import WIDE, table
from shared.contract.api.admin import CapacityPoint

LINES = 32  # at most: what fits a screen
_SPANS_MINUTES = (5, 15, 60, 180, 360, 720, 1440)
_LONGEST_BAR = 60
_EIGHTHS = " ▏▎▍▌▋▊▉"


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Averages over the points from `start` on (local time), and the most jobs that waited; None without any point."""

    start: datetime
    slots: float | None = None
    busy: float = 0.0
    waiting: float = 0.0
    most_waiting: int = 0
    trainers: float = 0.0


def spans(points: Sequence[CapacityPoint]) -> tuple[timedelta, list[Span]]:
    """The history in as many spans of equal length as fit, oldest first, those in between without a point included."""
    if not points:
        return timedelta(), []
    first, last = points[0].at, points[-1].at
    length = timedelta(
        minutes=next(
            (minutes for minutes in _SPANS_MINUTES if last - first <= timedelta(minutes=minutes * (LINES - 1))),
            _SPANS_MINUTES[-1],
        )
    )
    # By the reader's clock, which may show an hour twice.
    within: dict[datetime, list[CapacityPoint]] = {}
    for point in points:
        within.setdefault(_start(point.at, length), []).append(point)
    start, ordered = min(within), []
    while start <= max(within):
        ordered.append(_span(start, within[start]) if start in within else Span(start=start))
        start += length
    return length, ordered


def capacity_view(points: Sequence[CapacityPoint], width: int) -> RenderableType:
    """The chart under a sentence that sums it up."""
    length, lines = spans(points)
    if not lines:
        return Text("Nothing was measured in that time.")
    wide = width >= WIDE
    numbers = ("Busy", "Slots", "Waiting", "Most", *(("Trainers",) if wide else ()))
    made = table("From", "", *numbers, right=("From", *numbers))
    room = max(10, min(_LONGEST_BAR, width - (68 if wide else 54)))
    full = max((line.slots or 0.0 for line in lines), default=0.0)
    before: datetime | None = None
    for line in lines:
        cells = [_number(line.busy), _number(line.slots or 0.0), _number(line.waiting), str(line.most_waiting)]
        if wide:
            cells.append(_number(line.trainers))
        if line.slots is None:
            cells = [DASH] * len(cells)
        made.add_row(_label(line.start, before, length), _bar(line, full, room), *cells)
        before = line.start
    legend = Text.assemble(
        ("█ busy", "cyan"),
        "  ",
        ("█ busy while jobs waited", "yellow"),
        "  ",
        ("░ free", "bright_black"),
        "  averages; Most: waiting at once",
    )
    return Group(_sentence(points), Text(), made, Text(), legend)


def _start(at: datetime, length: timedelta) -> datetime:
    """Spans begin at full hours (or days) of the reader's clock; its time zone is left out, it may change on the way."""
    local = at.astimezone().replace(tzinfo=None)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (local - midnight) // length * length


def _span(start: datetime, points: Sequence[CapacityPoint]) -> Span:
    number = len(points)
    return Span(
        start=start,
        slots=sum(point.slots for point in points) / number,
        busy=sum(point.busy for point in points) / number,
        waiting=sum(point.waiting for point in points) / number,
        most_waiting=max(point.waiting for point in points),
        trainers=sum(point.trainers for point in points) / number,
    )


def _label(start: datetime, before: datetime | None, length: timedelta) -> Text:
    day = f"{start.day} {start:%b}"
    if length >= timedelta(days=1):
        return Text(day)
    hour = f"{start:%H:%M}"
    return Text(hour if before is not None and before.date() == start.date() else f"{day}  {hour}")


def _bar(line: Span, full: float, room: int) -> Text:
    if line.slots is None:
        return Text("not measured", "bright_black")
    if not line.slots:
        return Text("no slots", "red")
    eighths = round(8 * room * min(line.busy, line.slots) / full)
    whole, rest = divmod(eighths, 8)
    drawn = "█" * whole + (_EIGHTHS[rest] if rest else "")
    free = "░" * (round(room * line.slots / full) - len(drawn))
    return Text.assemble((drawn, "yellow" if line.waiting >= 0.5 else "cyan"), (free, "bright_black"))


def _number(value: float) -> str:
    """Averages of small counts: a tenth counts, "2.0" says no more than "2"."""
    rounded = round(value, 1)
    return figures.whole(rounded) if rounded == int(rounded) else f"{rounded:,.1f}"


def _sentence(points: Sequence[CapacityPoint]) -> Text:
    offered = sum(point.slots for point in points)
    words = (
        f"Slots were busy {figures.share(sum(min(point.busy, point.slots) for point in points) / offered)} of the time"
        if offered
        else ""
    )
    most = max(points, key=lambda point: point.waiting)
    now = points[-1].at
    waited = (
        f"at most {count(most.waiting, 'job')} waited, at {figures.clock(most.at, now)}"
        if most.waiting
        else "no job waited"
    )
    without = sum(point.slots == 0 for point in points)
    parts = [words, waited, f"for {figures.roughly(60 * without)} there was no slot" if without else ""]
    sentence = "; ".join(filter(None, parts)) + "."
    return Text(sentence[0].upper() + sentence[1:])
