"""`trainyard admin announce` and `announcements`: what all teams are told, on every page."""

from __future__ import annotations

from datetime import datetime

import click

from services.cli import show_room
from services.cli.api import Api
from services.cli.context import Context, json_option, pass_context
from services.cli.figures import clock
from services.cli.names import resolve
from services.cli.show import text
from services.cli.when import FORMS, when_option
from shared.contract.views import Announcement
from shared.runtime.clock import SystemClock


@click.command()
@click.argument("words", metavar="TEXT")
@click.option("--warning", is_flag=True, help="Show it as a warning, else as news.")
@click.option("--until", metavar="WHEN", callback=when_option, help=f"{FORMS}; else until it is removed.")
@json_option
@pass_context
def announce(context: Context, words: str, warning: bool, until: datetime | None) -> None:
    """Tell all teams something, in at most 280 characters. Every open page shows it at once."""
    made = context.run(lambda api: api.operators.announce(words, "warning" if warning else "info", until))
    end = "until it is removed" if made.until is None else f"until {clock(made.until, SystemClock().now())}"
    context.show(made, text(f"Announced {end}, as {made.id[:8]}."))


@click.command()
@click.option("--remove", metavar="ID", help="Take one back; its id may be cut short.")
@json_option
@pass_context
def announcements(context: Context, remove: str | None) -> None:
    """List what is announced, newest first."""
    if remove is None:
        answer = context.run(lambda api: api.operators.announcements())
        context.show(answer, show_room.announcements_table(answer.announcements, SystemClock().now()))
        return

    async def take_back(api: Api) -> Announcement:
        known = {one.id: one for one in (await api.operators.announcements()).announcements}
        found = known[resolve(remove, known, "announcement")]
        await api.operators.remove_announcement(found.id)
        return found

    removed = context.run(take_back)
    context.show({"removed": removed}, text(f"Removed: {removed.text}"))
