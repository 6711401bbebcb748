"""The whole room in a terminal, as everybody may see it; and what is announced in it.

Owns layout. Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from services.cli import figures
from services.cli.figures import count
from services.cli.show import WIDE, cut, indented, state, table, text
from shared.contract.api.room import RoomAnswer, RoomRunning, RoomWaiting
from shared.contract.views import Announcement

_OTHER = "another team"


def room_view(room: RoomAnswer, now: datetime, width: int) -> RenderableType:
    """How full the room is, what runs, what waits."""
    parts: list[RenderableType] = [text(_summary(room, now))]
    if room.running:
        parts += [Text(), Text("Training now", "bold"), indented(_running(room.running, now))]
    if room.waiting:
        parts += [Text(), Text("Waiting", "bold"), indented(_waiting(room.waiting, now, width))]
    return Group(*parts)


def _summary(room: RoomAnswer, now: datetime) -> str:
    waiting = len(room.waiting)
    wait = f"{count(waiting, 'job waits', 'jobs wait')}" if waiting else "nobody waits"
    if room.slots == 0:
        return f"No trainer takes jobs just now, {wait}."
    told = f"{room.busy} of {count(room.slots, 'slot is', 'slots are')} busy, {wait}."
    if room.start_from is None or room.start_to is None:
        return told
    if (room.start_to - now).total_seconds() < 60:
        return f"{told} A job submitted now would start at once."
    return f"{told} A job submitted now would start {figures.brief_span(room.start_from, room.start_to, now)}."


def _running(jobs: Sequence[RoomRunning], now: datetime) -> RenderableType:
    made = table("Job", "Description", "Job State", "Steps", "Ends", right=("Steps",), flexible=("Description",))
    for job in jobs:
        made.add_row(
            *_job(job.job_id, job.description),
            state(job.state),
            Text(f"{job.steps_completed}/{job.steps_requested}"),
            Text(figures.brief_span(job.end_from, job.end_to, now)),
        )
    return made


def _waiting(jobs: Sequence[RoomWaiting], now: datetime, width: int) -> RenderableType:
    wide = width >= WIDE
    columns = ("#", "Job", "Description", *(("Since",) if wide else ()), "Starts", "Ends", *(("Prio",) if wide else ()))
    made = table(*columns, right=("#", "Prio"), flexible=("Description",))
    for job in jobs:
        made.add_row(
            Text(str(job.position)),
            *_job(job.job_id, job.description),
            *([Text(figures.brief_span(job.queued_at, None, now))] if wide else []),
            Text(figures.brief_span(job.start_from, job.start_to, now)),
            Text(figures.brief_span(job.end_from, job.end_to, now)),
            *([Text(f"{job.priority:+d}" if job.priority else "0")] if wide else []),
        )
    return made


def _job(job_id: str | None, description: str | None) -> tuple[Text, Text]:
    """An id cut short and what the team calls it; of another team's job neither."""
    if job_id is None or description is None:
        return Text(figures.DASH), cut(_OTHER, "bright_black")
    return text(job_id[:8]), cut(description, "bold")


def announcements_table(announcements: Sequence[Announcement], now: datetime) -> RenderableType:
    """What is announced."""
    if not announcements:
        return Text("Nothing is announced. Tell all teams something: trainyard admin announce TEXT")
    short = figures.short_ids(one.id for one in announcements)
    made = table("Announcement", "Text", "Since", "Until", "By", flexible=("Text", "By"))
    for one in announcements:
        made.add_row(
            Text(short[one.id]),
            # In full, on more lines if it must be.
            text(one.text, "yellow" if one.kind == "warning" else ""),
            Text(figures.brief_span(one.at, None, now)),
            Text(figures.brief_span(one.until, None, now)),
            cut(one.by),
        )
    return made
