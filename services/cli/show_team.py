"""A team in a terminal: its minutes, what is reserved, its members, its statement.

Owns layout. Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.cli import figures
from services.cli.figures import count
from services.cli.show import WIDE, cut, facts, indented, state, table, text
from shared.contract.api.jobs import Session
from shared.contract.api.teams import LedgerAnswer, Member, Pause, Reservation, TeamAnswer
from shared.contract.views import LedgerEntry

_LINES_SHOWN = 10


def team_view(answer: TeamAnswer, now: datetime, width: int) -> RenderableType:
    """The team's minutes, reservations and members, and the end of its statement, newest last."""
    team = answer.team
    rows: list[tuple[str, RenderableType]] = [
        ("Left", Text(figures.minutes(team.balance_seconds), "bold")),
        ("Granted", figures.minutes(team.granted_seconds)),
        ("Used", figures.duration(team.used_seconds)),
        ("Reserved", figures.duration(team.reserved_seconds)),
        ("Cap", cap_words(answer.member_cap_minutes)),
    ]
    parts: list[RenderableType] = [text(f"Team {team.team}", "bold")]
    if answer.pause is not None:
        parts.append(text(pause_words(answer.pause, now), "bold yellow"))
    parts.append(indented(facts(rows)))
    if answer.reservations:
        parts += [Text(), Text("Reserved by", "bold"), indented(_reservations(answer.reservations))]
    if answer.members:
        parts += [Text(), Text("Members", "bold"), indented(members_table(answer.members))]
    if answer.ledger:
        parts += [Text(), Text("Statement", "bold")]
        hidden = len(answer.ledger) - _LINES_SHOWN
        if hidden > 0:
            parts.append(
                indented(Text(f"… {count(hidden, 'earlier line')}, see trainyard team ledger", "bright_black"))
            )
        parts.append(indented(ledger_table(answer.ledger[-_LINES_SHOWN:], width)))
    return Group(*parts)


def ledger_view(answer: LedgerAnswer, width: int) -> RenderableType:
    """The whole statement and its sum."""
    if not answer.ledger:
        return Text("There is nothing on the statement yet.")
    total = Text.assemble("Left: ", (figures.minutes(answer.balance_seconds), "bold"))
    return Group(ledger_table(answer.ledger, width), Text(), total)


def ledger_table(entries: Sequence[LedgerEntry], width: int) -> Table:
    """Lines of a statement."""
    wide = width >= WIDE
    columns = ("When", "Entry", "Time", "Job", *(("By",) if wide else ()), "Note")
    made = table(*columns, right=("Time",), flexible=("Note",))
    for entry in entries:
        sign, style = ("-", "red") if entry.seconds < 0 else ("+", "green") if entry.seconds else ("", "")
        made.add_row(
            Text(figures.date(entry.at)),
            text(entry.kind),
            Text(f"{sign}{figures.duration(abs(entry.seconds))}", style),
            text((entry.job_id or "")[:8]),
            *([text(entry.by)] if wide else []),
            cut(entry.note),
        )
    return made


def members_table(members: Sequence[Member]) -> RenderableType:
    """Who belongs to the team."""
    if not members:
        return Text("Nobody is on the list. Add somebody: trainyard team add NAME")
    made = table("Name", "Role", "Added", "By", flexible=("Name", "By"))
    for member in members:
        made.add_row(
            cut(member.name, "bold"), text(member.role), Text(figures.date(member.added_at)), cut(member.added_by)
        )
    return made


def cap_words(minutes: int | None) -> str:
    """What a member may spend without asking."""
    if minutes is None:
        return "none: a member may use all that the team has"
    return f"{count(minutes, 'minute')} a member without a mentor's approval"


def pause_words(pause: Pause, now: datetime) -> str:
    """ "Training is closed until 18:00 (by ops): Finals are on." """
    until = "" if pause.until is None else f" until {figures.clock(pause.until, now)}"
    message = f": {pause.message}" if pause.message else "."
    return f"Training is closed{until} (by {pause.by}){message}"


def session_view(session: Session, url: str) -> RenderableType:
    """Who the token says you are."""
    return facts([("Name", session.name), ("Team", session.team), ("Role", session.role), ("Server", url)])


def _reservations(reservations: Sequence[Reservation]) -> Table:
    made = table("Job", "Description", "Job State", "Time", right=("Time",), flexible=("Description",))
    for item in reservations:
        row = (Text(item.job_id[:8]), cut(item.description, "bold"), state(item.state))
        made.add_row(*row, Text(figures.duration(item.seconds)))
    return made
