"""A time as a person gives it on the command line: "18:00", "2026-03-01", "2026-03-01 18:00", "90m", "2h", "3d".

Pure but for the reader's time zone, and for the present where an option is read.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

import click

from shared.runtime.clock import SystemClock

FORMS = '"18:00", "2026-03-01", "2026-03-01 18:00", "90m", "2h" or "3d"'
_SPAN = re.compile(r"(\d{1,5})\s*(m|min|h|d)")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days"}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")


def parse_when(given: str, now: datetime) -> datetime:
    """The time that `given` means, timezone-aware: a span from `now`, the next such time of day, or a date in the reader's
    time zone unless it names one. Raises ValueError with a sentence for anything else and for what is over."""
    wanted = given.strip()
    try:
        at = _meant(wanted, now)
    except ValueError as error:
        raise ValueError(f"{given!r} is not a time like {FORMS}.") from error
    if at <= now:
        raise ValueError(f"{given!r} is over already.")
    return at


def when_option(_: click.Context, parameter: click.Parameter, given: str | None) -> datetime | None:
    """The callback of an option that takes a time to come."""
    try:
        return None if given is None else parse_when(given, SystemClock().now())
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param=parameter) from error


def _meant(wanted: str, now: datetime) -> datetime:
    if match := _SPAN.fullmatch(wanted):
        return now + timedelta(**{_UNITS[match[2]]: int(match[1])})
    if match := _CLOCK.fullmatch(wanted):
        local = now.astimezone()
        at = _of_day(local, time(int(match[1]), int(match[2])))
        return at if at > local else _of_day(local + timedelta(days=1), at.time())
    return datetime.fromisoformat(wanted).astimezone()


def _of_day(local: datetime, at: time) -> datetime:
    """Through the zone's own rules: a fixed offset would be an hour off on the day when clocks change."""
    return datetime.combine(local.date(), at).astimezone()
