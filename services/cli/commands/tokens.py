"""`trainyard tokens …`: tokens for scripts and devices."""

from __future__ import annotations

from typing import get_args

import click

from services.cli import show_tokens
from services.cli.api import Api
from services.cli.context import Context, json_option, pass_context
from services.cli.figures import count, plain
from services.cli.names import resolve
from services.cli.show import text
from shared.contract.api.teams import TeamRole
from shared.contract.api.tokens import TokenRequest, TokenView

_DEFAULT = TokenRequest(name="")


@click.group()
def tokens() -> None:
    """Tokens for scripts and devices.

    Such a token speaks in your name. A member sees and revokes their own, a mentor those of the whole team.
    """


@tokens.command(name="list")
@json_option
@pass_context
def list_(context: Context) -> None:
    """List live tokens, newest first."""
    answer = context.run(lambda api: api.tokens())
    context.show(answer, show_tokens.tokens_view(answer))


@tokens.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--role", type=click.Choice(get_args(TeamRole)), default=_DEFAULT.role, show_default=True, help="At most your own."
)
@click.option(
    "--days", metavar="N", type=int, default=_DEFAULT.days, show_default=True, help="For how long it is good."
)
@json_option
@pass_context
def create(context: Context, name: str, role: TeamRole, days: int) -> None:
    """Make a token, to be called NAME.

    Its secret, shown this once, is all that goes to standard output: trainyard tokens create robot > token.txt
    """
    answer = context.run(lambda api: api.create_token(name, role, days))
    if context.json:
        context.document(answer)
        return
    made = answer.token
    context.note(
        f"{plain(made.name)} may do what a {made.role} may, for {count(days, 'day')}. This is shown only now. "
        "On a command line it goes into TRAINYARD_TOKEN.\n"
        f"To end it: trainyard tokens revoke {made.id[:8]}"
    )
    click.echo(answer.secret)  # whole on one line, however narrow the terminal: it is to be copied or piped


@tokens.command()
@click.argument("token", metavar="ID|NAME")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@json_option
@pass_context
def revoke(context: Context, token: str, yes: bool) -> None:
    """End a token, everywhere within seconds."""

    async def find(api: Api) -> TokenView:
        known = {one.id: one for one in (await api.tokens()).tokens}
        named = [one for one in known.values() if one.name == token]
        return named[0] if len(named) == 1 else known[resolve(token, known, "token")]

    found = context.run(find)
    context.confirm(f"Revoke {text(found.name)}, made by {text(found.made_by)}?", yes=yes)
    context.run(lambda api: api.revoke_token(found.id))
    context.show({"revoked": found.id}, text(f"Revoked {found.name}."))
