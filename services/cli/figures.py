"""Numbers, sizes, durations, times and names as people read them.

Pure but for the reader's time zone. What comes from a server is made harmless here before a terminal sees it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from shared.contract.jobs import ASSIGNED, TERMINAL, JobState
from shared.contract.starting_models import STARTING_MODELS
from shared.contract.stream import Progress
from shared.contract.views import JobView, QueuePlace

# Characters that would move the cursor, hide text or turn the reading direction.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# A trainer that makes steps says so at least this often, in seconds, slow steps apart.
_LONGEST_SILENCE = 2.0
_SHORTEST_ID = 8
DASH = "–"


def plain(text: str) -> str:
    """Somebody else's text with all that could steer a terminal taken out."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def whole(value: float) -> str:
    """4100 -> "4,100"."""
    return f"{value:,.0f}"


def count(number: int, one: str, many: str | None = None) -> str:
    """(1, "step") -> "1 step", (4100, "step") -> "4,100 steps"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Seconds -> "14:33", with hours "1:02:03"; never rounds up to what hasn't passed."""
    total = max(0, math.floor(seconds))
    hours, rest = divmod(total, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def roughly(seconds: float) -> str:
    """Seconds -> "under a minute", "about 12 min", "about 2 h 5 min"."""
    total = round(seconds / 60)
    if total < 1:
        return "under a minute"
    hours, minutes = divmod(total, 60)
    if not hours:
        return f"about {minutes} min"
    return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"


def minutes(seconds: float) -> str:
    """Seconds -> whole minutes that are complete: what a team can spend is never rounded up."""
    return f"{math.trunc(seconds / 60):,} min"


def size(number: float) -> str:
    """Bytes -> "18.4 MB" (decimal)."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:.0f} {units[0]}" if units[0] == "B" or number >= 99.95 else f"{number:.1f} {units[0]}"


def metric(value: float) -> str:
    """A loss or a rate: three significant figures, small ones with an exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return whole(value)
    return f"{value:.1e}" if abs(value) < 0.001 else f"{value:.3g}"


def precision(value: float | None) -> str:
    """An average precision or recall, 0..1; a dash where there is none (-1 means that no such object exists)."""
    return DASH if value is None or value < 0 else f"{value:.3f}"


def clock(at: datetime, now: datetime) -> str:
    """ "14:40" in the reader's time zone; with the day where that isn't today."""
    local = at.astimezone()
    return f"{local:%H:%M}" if local.date() == now.astimezone().date() else date(at)


def date(at: datetime) -> str:
    """ "12 Oct 2021 14:40" in the reader's time zone."""
    local = at.astimezone()
    return f"{local.day} {local:%b %Y %H:%M}"


def state_name(state: JobState) -> str:
    """STOP_REQUESTED -> "STOP REQUESTED"."""
    return state.value.replace("_", " ")


def ordinal(number: int) -> str:
    """1 -> "1st", 12 -> "12th"."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def short_ids(identifiers: Iterable[str]) -> Mapping[str, str]:
    """Each identifier's shortest beginning, of at least 8 characters, that no other shares."""
    known = sorted(set(identifiers))
    shortened = {}
    for index, identifier in enumerate(known):
        neighbours = known[max(0, index - 1) : index] + known[index + 1 : index + 2]
        length = max((_common(identifier, other) + 1 for other in neighbours), default=0)
        shortened[identifier] = identifier[: max(_SHORTEST_ID, length)]
    return shortened


def training_seconds(job: JobView, now: datetime, progress: Progress | None = None) -> float:
    """Seconds of stepping over all attempts: the trainer's own word where there is one, and a little more while it is
    fresh, as the clock stands still during evaluations; else what durable steps took plus, while steps are made, the time
    since."""
    if job.running_since is not None and job.state not in TERMINAL:
        if progress is not None and progress.attempt == job.attempt:
            since = (now - progress.at).total_seconds()
            return progress.stepping_seconds + min(max(0.0, since), _LONGEST_SILENCE)
        return job.stepping_seconds_before + max(0.0, (now - job.running_since).total_seconds())
    return job.stepping_seconds_before if job.used_seconds is None else job.used_seconds


def steps_made(job: JobView, progress: Progress | None) -> int:
    """Steps as far as is known; those after the last checkpoint may be lost with the trainer."""
    if progress is None or progress.attempt != job.attempt or job.state not in ASSIGNED:
        return job.steps_completed
    return max(progress.step, job.steps_completed)


def seconds_left(job: JobView, progress: Progress | None) -> float | None:
    """How long the steps still to be made take at the present speed; None where that isn't known."""
    if job.state is not JobState.RUNNING or progress is None or progress.attempt != job.attempt:
        return None
    if progress.steps_per_second <= 0:
        return None
    return max(0, job.steps_requested - progress.step) / progress.steps_per_second


def place_in_queue(place: QueuePlace, now: datetime) -> str:
    """ "next in line, starts between 14:40 and 14:52, ends between 15:10 and 15:35"."""
    parts = ["next in line" if place.position == 1 else f"{ordinal(place.position)} in line"]
    if start := span(place.start_from, place.start_to, now):
        parts.append(f"starts {start}")
    if end := span(place.end_from, place.end_to, now):
        parts.append(f"ends {end}")
    return ", ".join(parts)


def span(earliest: datetime | None, latest: datetime | None, now: datetime) -> str:
    """A range of times in words, "" where nothing is known."""
    if earliest is None and latest is None:
        return ""
    if earliest is None or latest is None:
        return f"about {clock(earliest or latest or now, now)}"
    if latest <= now:
        return "any moment"
    first, last = clock(max(earliest, now), now), clock(latest, now)
    return f"about {first}" if first == last else f"between {first} and {last}"


def brief_span(earliest: datetime | None, latest: datetime | None, now: datetime) -> str:
    """The same for a table: "14:40–14:52", "2 Mar 23:40–3 Mar 00:10"; a dash where nothing is known."""
    if earliest is None or latest is None:
        known = earliest or latest
        return DASH if known is None else _brief(known, now)
    if latest <= now:
        return "now"
    first, last = _brief(max(earliest, now), now), _brief(latest, now)
    if first == last:
        return first
    same_day = earliest.astimezone().date() == latest.astimezone().date()
    return f"{first}–{last.rpartition(' ')[2] if same_day else last}"


def labels(wanted: Mapping[str, str]) -> str:
    """{"pool": "lab"} -> "pool=lab"."""
    return ", ".join(f"{name}={value}" for name, value in sorted(wanted.items()))


def share(value: float) -> str:
    """0..1 -> "87%"."""
    return f"{100 * value:.0f}%"


def part_of(used: float | None, total: float) -> str:
    """Bytes of bytes -> "10.2/24.0 GB", "400 MB/24.0 GB", the total alone where the part isn't known."""
    if used is None:
        return size(total)
    part, whole_size = size(used), size(total)
    unit = whole_size[whole_size.index(" ") :]
    return f"{part.removesuffix(unit)}/{whole_size}"


def _brief(at: datetime, now: datetime) -> str:
    local = at.astimezone()
    return f"{local:%H:%M}" if local.date() == now.astimezone().date() else f"{local.day} {local:%b %H:%M}"


def _common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def starting_model(key: str) -> str:
    """The shown name of a starting model; the key itself for one that only a newer server knows."""
    model = STARTING_MODELS.get(key)
    return key if model is None else model.name
