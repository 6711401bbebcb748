"""`trainyard team …`: minutes, statement, members, cap."""

from __future__ import annotations

from typing import get_args

import click

from services.cli import show_team
from services.cli.api import Api
from services.cli.context import Context, json_option, pass_context
from services.cli.figures import count, plain
from services.cli.show import text
from shared.contract.api.teams import MemberAnswer, TeamRole
from shared.runtime.clock import SystemClock


def _minutes(_: click.Context, parameter: click.Parameter, given: str) -> int | None:
    if given.lower() == "none":
        return None
    if not (given.isascii() and given.isdigit()):
        raise click.BadParameter(f"{given!r} is neither a whole number of minutes nor none.", param=parameter)
    return int(given)


@click.group(invoke_without_command=True)
@json_option
@pass_context
@click.pass_context
def team(ctx: click.Context, context: Context) -> None:
    """The team's minutes, members and statement.

    Without a command: all of it, the statement's last lines. Adding, removing and capping members is for mentors.
    """
    if ctx.invoked_subcommand is None:
        answer = context.run(lambda api: api.team())
        context.show(answer, show_team.team_view(answer, SystemClock().now(), context.out.width))


@team.command()
@click.option("--csv", is_flag=True, help="Print CSV, for a spreadsheet.")
@json_option
@pass_context
def ledger(context: Context, csv: bool) -> None:
    """Print the whole statement.

    It has all that was granted, reserved, used and given back; its sum is what is left.
    """
    if csv and context.json:
        raise click.UsageError("Give --csv or --json, not both.")
    if csv:
        click.echo(context.run(lambda api: api.ledger_csv()), nl=False)
        return
    answer = context.run(lambda api: api.ledger())
    context.show(answer, show_team.ledger_view(answer, context.out.width))


@team.command()
@json_option
@pass_context
def members(context: Context) -> None:
    """List who belongs to the team."""
    answer = context.run(lambda api: api.team())
    context.show(
        {"members": answer.members, "member_cap_minutes": answer.member_cap_minutes},
        show_team.members_table(answer.members),
        "",
        text(f"Cap: {show_team.cap_words(answer.member_cap_minutes)}."),
    )


@team.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--role",
    type=click.Choice(get_args(TeamRole)),
    help="What they may do: look on, train, or also approve and manage.  [default: member; a known person's stays]",
)
@json_option
@pass_context
def add(context: Context, name: str, role: TeamRole | None) -> None:
    """Add somebody, or give a member another role.

    Prints a token in that name, this once: for somebody who is known already it is one more.
    """

    async def ask(api: Api) -> MemberAnswer:
        wanted = role
        if wanted is None:
            known = {member.name: member.role for member in (await api.team()).members}
            wanted = known.get(name, "member")
        return await api.put_member(name, wanted)

    answer = context.run(ask)
    if context.json:
        context.document(answer)
        return
    member = answer.member
    context.note(
        f"{plain(member.name)} is on the team, as a {member.role}.\n"
        f"This token speaks in that name for {count(answer.days, 'day')}. It is shown only now: pass it on in private. "
        "The page asks for it to sign in; on a command line it goes into TRAINYARD_TOKEN."
    )
    click.echo(answer.token)  # whole on one line, however narrow the terminal: it is to be copied


@team.command()
@click.argument("name", metavar="NAME")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@json_option
@pass_context
def remove(context: Context, name: str, yes: bool) -> None:
    """Take somebody off the team. Their jobs stay; their tokens are no good any more."""
    context.confirm(f"Remove {text(name)} from the team?", yes=yes)
    context.run(lambda api: api.remove_member(name))
    context.show({"removed": name}, text(f"Removed {name}."))


@team.command()
@click.argument("minutes", metavar="MINUTES|none", callback=_minutes)
@json_option
@pass_context
def cap(context: Context, minutes: int | None) -> None:
    """Limit what a member may spend unapproved.

    Minutes that are reserved count too. A job beyond it has to try again later, until a mentor approves it.
    """
    answer = context.run(lambda api: api.set_member_cap(minutes))
    context.show(answer, text(f"Cap: {show_team.cap_words(answer.member_cap_minutes)}."))
