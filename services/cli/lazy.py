"""A command group that imports a command's module only when that command runs, so that `--help` is quick.

Owns the loading; which commands there are is __main__.py's.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from services.cli.context import Context
from shared.contract.errors import UserError

INTERRUPTED = 130


class LazyGroup(click.Group):
    """`table` has, by name, where the command is ("module:attribute") and its line in the overview."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table's order: that of a team's work."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command."""
        entry = self._table.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry[0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._table.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; what it can't do is one line and exit status 1."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            ctx.ensure_object(Context).fail(error)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(INTERRUPTED)
