"""What every command is given: the two output streams, whether output is JSON, and a way to talk to the server.

Owns where words go (results to stdout, everything else to stderr) and how an error looks. Knows no request.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from rich.console import Console, RenderableType

from services.cli.config import Server, find_server
from services.cli.figures import plain
from shared.contract.errors import UserError

if TYPE_CHECKING:
    from services.cli.api import Api

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

# Wide enough that nothing is cut where no terminal sets a limit: what is piped is for programs.
PIPE_WIDTH = 240


class Context:
    """One run of the command. `url` and `token` are the options, None where they weren't given."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.url = url
        self.token = token
        self.json = False
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    @property
    def live(self) -> bool:
        """Whether results go to a terminal that a person looks at."""
        return self.out.is_terminal and not self.json

    def server(self) -> Server:
        """Where to send requests. Raises UserError where that isn't known."""
        return find_server(self.url, self.token, os.environ, Path.cwd(), Path.home())

    def run(self, work: Callable[[Api], Awaitable[T]]) -> T:
        """The outcome of `work` with a connected Api."""
        from services.cli.api import connect  # aiohttp takes 0.3 s to import: not for --help

        server = self.server()

        async def connected() -> T:
            async with connect(server) as api:
                return await work(api)

        return asyncio.run(connected())

    def show(self, value: object, *renderables: RenderableType) -> None:
        """The command's result: `value` as one JSON document, or else the renderables."""
        if self.json:
            self.document(value)
            return
        for renderable in renderables:
            self.out.print(renderable)

    def document(self, value: object) -> None:
        """One JSON document to stdout."""
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))

    def line(self, value: object) -> None:
        """One JSON object on a line of its own to stdout, at once."""
        click.echo(msgspec.json.encode(value))
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """A remark to stderr."""
        self.err.print(text, markup=False, highlight=False, soft_wrap=not self.err.is_terminal)

    def fail(self, error: UserError) -> None:
        """One line to stderr; with --json the error is the document too."""
        where = error.code if error.field is None else f"{error.code}, {error.field}"
        click.echo(f"{click.style('error:', fg='red', bold=True)} {plain(error.message)} [{plain(where)}]", err=True)
        if self.json:
            body = {"code": error.code, "message": error.message, "field": error.field, "details": error.details}
            click.echo(msgspec.json.encode({"error": body}))

    def confirm(self, question: str, *, yes: bool, default: bool = True) -> None:
        """Asks where a person sits at the terminal; ends the command when the answer is no. `default` is that of Enter."""
        if yes or self.json or not sys.stdin.isatty():
            return
        click.confirm(question, default=default, abort=True, err=True)


def json_option(command: F) -> F:
    """The --json option: it sets the Context, the command needs no parameter for it."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Context).json = True

    return click.option(
        "--json", is_flag=True, expose_value=False, is_eager=True, callback=remember, help="Print JSON for programs."
    )(command)


pass_context = click.make_pass_decorator(Context, ensure=True)


def _console(stream: Any) -> Console:
    terminal = bool(stream.isatty())
    return Console(file=stream, highlight=False, width=None if terminal else PIPE_WIDTH)
