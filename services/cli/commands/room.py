"""`trainyard queue`: the whole room, as everybody may see it."""

from __future__ import annotations

import click

from services.cli import show_room
from services.cli.context import Context, json_option, pass_context
from shared.runtime.clock import SystemClock


@click.command()
@json_option
@pass_context
def queue(context: Context) -> None:
    """Show what trains and what waits in the whole room, next first.

    Of other teams' jobs it doesn't tell whose or what they are.
    """
    room = context.run(lambda api: api.room())
    context.show(room, show_room.room_view(room, SystemClock().now(), context.out.width))
