"""When the lab is open, from text as OpenStreetMap writes opening hours: "Mo-Fr 08:00-18:00; Sa 10:00-14:00", or
"24/7".

Owns the reading of that text; what follows from it is plan.py's. The only import of the library that knows the syntax.
Pure but for a memory of the last answer: times come in and go out in UTC, the text is meant in the lab's own zone,
where clocks change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from opening_hours import OpeningHours, ParserError  # type: ignore[attr-defined]  # its stub forgets the error

from services.scheduler.snapshot import Hours

# Changes that are looked up ahead: a month of days with one break. Estimates don't reach further.
_AHEAD = 120
# A change that is further away is none: the library would look for it until the year 9999, which takes seconds. What has no
# end is looked at again after a day.
_FOR_EVER_DAYS = 800
_AGAIN = timedelta(days=1)
_EXAMPLE = "write them like 'Mo-Fr 08:00-18:00; Sa 10:00-14:00', or '24/7'"


class LabHours:
    """Raises ValueError, saying what is wrong, for text that can't be read or an unknown zone."""

    def __init__(self, text: str, timezone: str) -> None:
        try:
            self._zone = ZoneInfo(timezone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {timezone!r}; write it like 'Europe/Vienna'") from error
        if re.search(r"\b[PS]H\b", text):
            # The library would take them for days that never come, and the lab would be open on them.
            raise ValueError(f"opening hours {text!r}: holidays (PH, SH) aren't known here; write their dates")
        try:
            self._hours = OpeningHours(text, timezone=self._zone, max_interval_days=_FOR_EVER_DAYS)
        except ParserError as error:
            raise ValueError(f"opening hours {text!r}: {_where(text, str(error))}; {_EXAMPLE}") from error
        self._last: tuple[datetime, Hours] | None = None

    def at(self, now: datetime) -> Hours:
        """Whether the lab is open at `now`, until when, and what comes after."""
        if self._last is not None:
            since, hours = self._last
            if since <= now < (hours.until or since + _AGAIN):
                return hours
        local = now.astimezone(self._zone)
        changes = [*islice(self._changes(local), _AHEAD)]
        is_open = self._hours.is_open(local)
        if len(changes) == _AHEAD and is_open is (_AHEAD % 2 == 0):
            # It opens, and when it closes again wasn't looked up: it would seem to be open for ever.
            changes.pop()
        hours = Hours(open=is_open, until=changes[0] if changes else None, changes=tuple(changes[1:]))
        self._last = now, hours
        return hours

    def _changes(self, local: datetime) -> Iterator[datetime]:
        """When it opens or closes after `local`, in UTC. A comment or an uncertainty that changes is neither."""
        is_open = self._hours.is_open(local)
        moment: datetime | None = local
        while (moment := self._hours.next_change(moment)) is not None:
            if self._hours.is_open(moment) != is_open:
                is_open = not is_open
                yield moment.astimezone(UTC)


def _where(text: str, error: str) -> str:
    found = re.search(r"--> 1:(\d+)", error)
    rest = text[int(found[1]) - 1 :] if found else text
    return f"can't be read from {rest!r} on" if rest else "end too early"
