"""Tokens for scripts and devices in a terminal. Owns layout. Pure."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from services.cli import figures
from services.cli.figures import count
from services.cli.show import cut, table, text
from shared.contract.api.tokens import TokensAnswer, TokenView


def tokens_view(answer: TokensAnswer) -> RenderableType:
    """A line a token, newest first, and how many the team may have."""
    total = text(f"Your team has {count(answer.live, 'live token')}, of at most {answer.limit}.")
    if not answer.tokens:
        return Group(Text("There is none that you can see. Make one: trainyard tokens create NAME"), total)
    made = table("Id", "Name", "Role", "Made by", "Made", "Expires", "Last used", flexible=("Name", "Made by"))
    for token in answer.tokens:
        made.add_row(
            Text(token.id[:8]),
            cut(token.name, "bold"),
            role_words(token),
            cut(token.made_by),
            Text(figures.date(token.made_at)),
            Text(figures.date(token.expires_at)),
            # A day in UTC: it isn't ours to shift.
            text("not known" if token.last_used is None else token.last_used.isoformat()),
        )
    return Group(made, Text(), total)


def role_words(token: TokenView) -> Text:
    """What it may do now, where that isn't what it was made for."""
    if token.present_role is None:
        return Text(f"{token.role}, refused: not a member any more", "yellow")
    if token.present_role != token.role:
        return Text(f"{token.role}, held to {token.present_role}", "yellow")
    return Text(token.role)
