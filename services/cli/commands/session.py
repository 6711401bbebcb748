"""`trainyard session`, `starting-models`: who we are, what we can start from."""

from __future__ import annotations

import click

from services.cli import show
from services.cli.context import Context, json_option, pass_context
from services.cli.show_team import session_view


@click.command()
@json_option
@pass_context
def session(context: Context) -> None:
    """Who the token says you are."""
    answer = context.run(lambda api: api.session())
    url = context.server().url
    context.show({"team": answer.team, "role": answer.role, "name": answer.name, "url": url}, session_view(answer, url))


@click.command(name="starting-models")
@click.option(
    "--frames", metavar="N", type=click.IntRange(min=1), help="Show batch sizes for so many training pictures."
)
@json_option
@pass_context
def starting_models(context: Context, frames: int | None) -> None:
    """What can be trained from, and the bounds of a training."""
    answer = context.run(lambda api: api.starting_models(frames))
    context.show(answer, show.starting_models_table(answer))
