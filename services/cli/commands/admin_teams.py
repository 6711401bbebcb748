"""`trainyard admin teams`, `create`, `grant`, `pause`, `resume`: many teams at once, one outcome each."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import click
from rich.text import Text

from services.cli import show_admin
from services.cli.context import Context, json_option, pass_context
from services.cli.figures import clock, count, plain
from services.cli.when import FORMS, when_option
from shared.contract.api.admin import BatchAnswer
from shared.runtime.clock import SystemClock


@click.command()
@json_option
@pass_context
def teams(context: Context) -> None:
    """List all teams: minutes, members, jobs, and whether training is closed to them."""
    answer = context.run(lambda api: api.operators.teams())
    context.show(answer, show_admin.teams_table(answer, SystemClock().now(), context.out.width))


@click.command()
@click.argument("teams", metavar="TEAM...", nargs=-1, required=True)
@click.option("--minutes", metavar="N", type=int, help="Minutes for the season, else the installation's.")
@json_option
@pass_context
def create(context: Context, teams: tuple[str, ...], minutes: int | None) -> None:
    """Make new teams. Prints a mentor's token for each, this once.

    The exit status is 1 if one can't be made; the others are.
    """
    answer = context.run(lambda api: api.operators.create_teams(teams, minutes))
    _outcomes(context, answer, "created")
    tokens = [(outcome.team, outcome.token) for outcome in answer.results if outcome.token is not None]
    if tokens and not context.json:
        context.out.print()
        context.note("A token for the first mentor of each, shown only now: pass them on in private.")
        for team, token in tokens:
            click.echo(f"{plain(team)}  {token}")  # whole on one line: it is to be copied
    _end(context, answer)


@click.command()
@click.argument("teams", metavar="TEAM...", nargs=-1, required=True)
@click.option("--minutes", metavar="N", type=int, required=True, help="How many; below 0 takes back.")
@click.option("--season", is_flag=True, help="Book them as the season's, else as extra ones.")
@click.option("--note", metavar="TEXT", default="", help="What the team's statement says of it.")
@json_option
@pass_context
def grant(context: Context, teams: tuple[str, ...], minutes: int, season: bool, note: str) -> None:
    """Give each team so many minutes.

    The exit status is 1 if one of them can't be given any; the others are.
    """
    kind: Literal["season", "extra"] = "season" if season else "extra"
    answer = context.run(lambda api: api.operators.grant(teams, minutes, kind, note))
    _outcomes(context, answer, f"{'took back' if minutes < 0 else 'granted'} {abs(minutes):,} min")
    _end(context, answer)


@click.command()
@click.argument("teams", metavar="[TEAM...]", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="For everybody.")
@click.option("--until", metavar="WHEN", callback=when_option, help=f"{FORMS}; else until resumed.")
@click.option("--message", metavar="TEXT", default="", help="What the teams are told.")
@json_option
@pass_context
def pause(context: Context, teams: tuple[str, ...], everybody: bool, until: datetime | None, message: str) -> None:
    """Close training: no job is admitted any more. Jobs that wait or run already go on.

    The exit status is 1 if it can't be closed for one of the teams; for the others it is.
    """
    chosen = _chosen(teams, everybody)
    answer = context.run(lambda api: api.operators.pause(chosen, paused=True, until=until, message=message))
    end = "until it is resumed" if until is None else f"until {clock(until, SystemClock().now())}"
    _outcomes(context, answer, f"paused {end}", f"Training is closed for everybody {end}.")
    _end(context, answer)


@click.command()
@click.argument("teams", metavar="[TEAM...]", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="For everybody; a team's own pause stays.")
@json_option
@pass_context
def resume(context: Context, teams: tuple[str, ...], everybody: bool) -> None:
    """Open training again that was closed by `pause`: of these teams, or for everybody.

    The exit status is 1 if it can't be opened for one of the teams; for the others it is.
    """
    chosen = _chosen(teams, everybody)
    answer = context.run(lambda api: api.operators.pause(chosen, paused=False))
    _outcomes(context, answer, "resumed", "Training is open for everybody.")
    _end(context, answer)


def _chosen(teams: tuple[str, ...], everybody: bool) -> tuple[str, ...] | None:
    if bool(teams) == everybody:
        raise click.UsageError("Name teams, or give --all for everybody.")
    return None if everybody else teams


def _outcomes(context: Context, answer: BatchAnswer, done: str, nobody: str = "") -> None:
    """`done` says what was done with a team, `nobody` what was done where no team was named."""
    context.show(answer, show_admin.batch_view(answer, done) if answer.results else Text(nobody))


def _end(context: Context, answer: BatchAnswer) -> None:
    if answer.failed:
        others = len(answer.results) - answer.failed
        rest = f"; {count(others, 'other is', 'others are')} done" if others else ""
        context.note(f"{count(answer.failed, 'team')} failed{rest}.")
        raise click.exceptions.Exit(1)
