"""What operators see in a terminal: all teams, outcomes, the queue, the trainers, the audit.

Owns layout and column choice by width. Pure: the time is an argument. The history of the capacity is show_capacity.py's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from services.cli import figures
from services.cli.figures import DASH
from services.cli.scene import Scene
from services.cli.show import STATE_STYLES, WIDE, cut, indented, table, text
from services.cli.show_job import summary
from services.cli.show_team import pause_words
from shared.contract.api.admin import AuditEntry, BatchAnswer, HeldJobRow, QueueRow, TeamsAnswer, TrainerRow
from shared.contract.api.teams import Pause
from shared.contract.views import JobView

_JOB_ID = re.compile(r"[0-9a-f]{32}")
STATUS_STYLES: Mapping[str, str] = {"live": "green", "draining": "yellow", "silent": "bold yellow", "gone": "bold red"}


def teams_table(answer: TeamsAnswer, now: datetime, width: int) -> RenderableType:
    """All teams."""
    if not answer.teams:
        return Text("There are no teams yet. Make one: trainyard admin create TEAM")
    wide = width >= WIDE
    minutes = ("Left", "Granted", "Used", "Recent") if wide else ("Left", "Used")
    numbers = (*minutes, "Waiting", "Running", *(("Members",) if wide else ()))
    made = table("Team", *numbers, "Training", right=numbers, flexible=("Team", "Training"))
    for row in answer.teams:
        team = row.minutes
        spent = [team.granted_seconds, team.used_seconds, row.usage_seconds] if wide else [team.used_seconds]
        jobs = [row.waiting, row.running, *([row.members] if wide else [])]
        closed = "" if answer.pause is None else "closed"
        if row.pause is not None:
            closed = _closed(row.pause, now)
        made.add_row(
            cut(team.team, "bold"),
            Text(figures.minutes(team.balance_seconds), "red" if team.balance_seconds <= 0 else ""),
            *(Text(figures.minutes(seconds)) for seconds in spent),
            *(Text(figures.whole(number)) for number in jobs),
            cut(closed, "yellow") if closed else Text("open", "green"),
        )
    if answer.pause is None:
        return made
    return Group(text(f"For everybody: {pause_words(answer.pause, now)}", "bold yellow"), Text(), made)


def _closed(pause: Pause, now: datetime) -> str:
    end = "" if pause.until is None else f" until {figures.brief_span(pause.until, None, now)}"
    return f"closed{end}: {pause.message}" if pause.message else f"closed{end}"


def batch_view(answer: BatchAnswer, done: str) -> RenderableType:
    """What became of each team; `done` says what of those where it was done."""
    balances = any(outcome.balance_seconds is not None for outcome in answer.results)
    columns = ("Team", "Outcome", *(("Left",) if balances else ()))
    made = table(*columns, right=("Left",), flexible=("Outcome",))
    for outcome in answer.results:
        error = outcome.error
        # In full, on more lines if it must be: it is what has to be put right.
        words = Text(done, "green") if error is None else text(f"{error.message} [{error.code}]", "red")
        left = DASH if outcome.balance_seconds is None else figures.minutes(outcome.balance_seconds)
        made.add_row(text(outcome.team, "bold"), words, *([Text(left)] if balances else []))
    return made


def queue_table(queue: Sequence[QueueRow], now: datetime, width: int) -> RenderableType:
    """The whole queue."""
    if not queue:
        return Text("Nothing waits.")
    short = figures.short_ids(row.place.job_id for row in queue)
    wide = width >= WIDE
    columns = ("#", "Job", "Team", "Description", *(("Since",) if wide else ()), "Starts")
    columns = (*columns, *(("Ends",) if wide else ()), "Prio", *(("Reserved",) if wide else ()), "Notes")
    made = table(*columns, right=("#", "Prio", "Reserved"), flexible=("Team", "Description", "Notes"))
    for row in queue:
        place = row.place
        notes = [figures.labels(row.requires), row.accelerator.upper(), "resumed" if row.resumed else ""]
        made.add_row(
            Text(str(place.position)),
            Text(short[place.job_id]),
            cut(row.team),
            cut(row.description, "bold"),
            *([Text(figures.brief_span(row.queued_at, None, now))] if wide else []),
            Text(figures.brief_span(place.start_from, place.start_to, now)),
            *([Text(figures.brief_span(place.end_from, place.end_to, now))] if wide else []),
            Text(f"{row.priority:+d}" if row.priority else "0", "bold" if row.priority else ""),
            *([Text(figures.minutes(row.reserved_seconds))] if wide else []),
            cut(" ".join(filter(None, notes))),
        )
    return made


def unspecified_table(jobs: Sequence[HeldJobRow]) -> RenderableType:
    """Jobs that contradict themselves: an operator's to lead out of it."""
    return _apart(jobs, Text("Jobs that contradict themselves, for `trainyard admin reconcile`:", "yellow"))


def for_room_table(jobs: Sequence[HeldJobRow]) -> RenderableType:
    """Jobs that aren't in the queue, but join it as soon as they may."""
    return _apart(jobs, Text("Jobs that queue by themselves once there is room:"))


def _apart(jobs: Sequence[HeldJobRow], words: Text) -> RenderableType:
    short = figures.short_ids(job.job_id for job in jobs)
    made = table("Job", "Team", "Description", "Steps", right=("Steps",), flexible=("Team", "Description"))
    for job in jobs:
        steps = f"{job.steps_completed}/{job.steps_requested}"
        made.add_row(Text(short[job.job_id]), cut(job.team), cut(job.description, "bold"), Text(steps))
    return Group(Text(), words, made)


def trainers_table(trainers: Sequence[TrainerRow], now: datetime) -> RenderableType:
    """All trainers; under each its device and labels, beside it the jobs that it holds."""
    if not trainers:
        return Text("No trainer was heard of within a day.")
    short = figures.short_ids(held.job_id for row in trainers for held in row.jobs)
    made = table("Trainer", "Status", "Slots", "Load", "Jobs", right=("Slots",), flexible=("Trainer", "Jobs"))
    for row in trainers:
        if made.rows:
            made.add_row()
        about = [cut(row.id, "bold"), cut(f"{row.device} ({row.accelerator.upper()})", "bright_black")]
        if row.labels:
            about.append(cut(figures.labels(row.labels), "bright_black"))
        status = [Text(row.status, STATUS_STYLES[row.status])]
        if row.status in ("silent", "gone"):
            status += [Text("since", "bright_black"), Text(figures.brief_span(row.seen_at, None, now), "bright_black")]
        jobs = [line for held in row.jobs for line in _held(held, short[held.job_id])]
        made.add_row(
            Group(*about),
            Group(*status),
            Text(f"{len(row.jobs)}/{row.slots}"),
            _load(row),
            Group(*jobs) if jobs else Text("idle" if row.status == "live" else DASH, "bright_black"),
        )
    return made


def _load(row: TrainerRow) -> RenderableType:
    """The accelerator's busy share above its memory, that in use as far as it is known: not of one that is gone."""
    total = row.memory_bytes * row.slots
    if row.status == "gone":
        return Text(DASH)
    busy = DASH if row.utilization is None else figures.share(row.utilization)
    return Group(Text(busy), Text(figures.part_of(row.memory_used_bytes, total)))


def _held(held: HeldJobRow, short: str) -> tuple[Text, Text]:
    total = max(1, held.steps_requested)
    done = f"{100 * min(held.steps_completed, total) // total}%"  # never 100% before it is
    state = Text(figures.state_name(held.state), STATE_STYLES[held.state])
    how = Text.assemble(f"{short} {done} ", state, no_wrap=True, overflow="ellipsis")
    return how, cut(f"{held.team}: {held.description}")


def audit_table(entries: Sequence[AuditEntry], now: datetime, width: int) -> RenderableType:
    """Who did what."""
    if not entries:
        return Text("Nobody did anything yet.")
    wide = width >= WIDE
    made = table("When", "Who", "Did", "To", "Outcome", "Details", flexible=("Who", "To", "Details"))
    for entry in entries:
        style = {"done": "green", "begun": "yellow"}.get(entry.outcome, "red")
        made.add_row(
            Text(figures.date(entry.at) if wide else figures.brief_span(entry.at, None, now)),
            cut(entry.by),
            text(entry.act, "bold"),
            cut(entry.target[:8] if _JOB_ID.fullmatch(entry.target) else entry.target),
            text(entry.outcome, style),
            cut(_details(entry.details)),
        )
    return made


def _details(details: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in details.items() if value not in (None, "", [], {}))


def team_job(job: JobView, now: datetime) -> RenderableType:
    """How a job of whichever team stands."""
    words = [f"Team {job.team}", f"by {job.created_by}", *([f"priority {job.priority:+d}"] if job.priority else [])]
    return Group(summary(Scene(job=job), now), indented(text(", ".join(words), "bright_black")))
