"""`trainyard admin …`: the table of what operators do."""

from __future__ import annotations

import click

from services.cli.lazy import LazyGroup

_TEAMS, _JOBS, _TRAINERS, _ANNOUNCEMENTS = (
    f"services.cli.commands.admin_{what}" for what in ("teams", "jobs", "trainers", "announcements")
)

COMMANDS = {
    "teams": (f"{_TEAMS}:teams", "List all teams: minutes, members, jobs."),
    "create": (f"{_TEAMS}:create", "Make new teams, each with its season's minutes."),
    "grant": (f"{_TEAMS}:grant", "Give teams minutes, or take some back."),
    "pause": (f"{_TEAMS}:pause", "Close training for some teams, or for everybody."),
    "resume": (f"{_TEAMS}:resume", "Open it again."),
    "queue": (f"{_JOBS}:queue", "All waiting jobs, next first."),
    "priority": (f"{_JOBS}:priority", "Let a job go before others, or after them."),
    "cancel": (f"{_JOBS}:cancel", "End a team's job, with a reason that the team sees."),
    "reconcile": (f"{_JOBS}:reconcile", "Lead a job out of STATE UNSPECIFIED."),
    "trainers": (f"{_TRAINERS}:trainers", "All trainers: load, memory, what they hold."),
    "drain": (f"{_TRAINERS}:drain", "Have a trainer hand back its jobs and end."),
    "capacity": (f"{_TRAINERS}:capacity", "How busy the trainers were, and how many jobs waited."),
    "announce": (f"{_ANNOUNCEMENTS}:announce", "Tell all teams something."),
    "announcements": (f"{_ANNOUNCEMENTS}:announcements", "What is announced; take one back."),
    "audit": (f"{_TRAINERS}:audit", "What operators and mentors did, newest first."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    epilog="Needs a token of the role admin. A JOB may be of any team; its id may be cut short while the job waits or runs.",
)
def admin() -> None:
    """For operators: all teams, the queue, the trainers."""
