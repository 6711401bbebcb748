"""Entry point of the `trainyard` command: the options that all commands share, and the table of commands."""

from __future__ import annotations

from importlib.metadata import version

import click

from services.cli.context import Context
from services.cli.lazy import LazyGroup

COMMANDS = {
    "datasets": ("services.cli.commands.datasets:datasets", "Add, list, check and delete labelled pictures."),
    "starting-models": ("services.cli.commands.session:starting_models", "What can be trained from."),
    "train": ("services.cli.commands.train:train", "Show the plan of a training, start it, watch it."),
    "more": ("services.cli.commands.train:more", "Train a finished model more."),
    "watch": ("services.cli.commands.watch:watch", "Follow a job live until it ends."),
    "stop": ("services.cli.commands.jobs:stop", "End a job; what it has learned so far is kept."),
    "retry": ("services.cli.commands.jobs:retry", "Try a job again that was told to try again later."),
    "approve": ("services.cli.commands.jobs:approve", "Let a job pass its member's cap, as a mentor."),
    "models": ("services.cli.commands.jobs:models", "List models and jobs, newest first."),
    "show": ("services.cli.commands.jobs:show", "All about one job: attempts, metrics, files."),
    "log": ("services.cli.commands.jobs:log", "The last lines that a job's last attempt wrote."),
    "download": ("services.cli.commands.download:download", "Get a trained model's file."),
    "detect": ("services.cli.commands.local:detect", "Run a downloaded model on pictures, on this computer."),
    "delete": ("services.cli.commands.jobs:delete", "Delete a job that has ended, and its model."),
    "team": ("services.cli.commands.team:team", "The team's minutes and where they went; its members."),
    "tokens": ("services.cli.commands.tokens:tokens", "Tokens for scripts and devices: list, create, revoke."),
    "queue": ("services.cli.commands.room:queue", "What trains and waits in the whole room, next first."),
    "session": ("services.cli.commands.session:session", "Who the token says you are."),
    "sample": ("services.cli.commands.local:sample", "Make labelled sample pictures to try things with."),
    "admin": ("services.cli.commands.admin:admin", "For operators: all teams, the queue, the trainers."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="An ID may be cut short as long as only one thing begins with it. Exit status: 0 done, 1 error, 2 wrong usage; "
    "watch, train, more, retry and approve: 3 FAILED, 4 CANCELED, 5 TRY AGAIN LATER, 130 interrupted (the job goes on).",
)
@click.option(
    "--url",
    metavar="URL",
    help="The server's address, else TRAINYARD_URL, else from $TRAINYARD_DATA/cli.json, .trainyard/cli.json here or in a "
    "folder above, ~/.config/trainyard/cli.json.",
)
@click.option(
    "--token", metavar="TOKEN", help="The team's token, else TRAINYARD_TOKEN, else from the file of that address."
)
@click.version_option(version("trainyard"), prog_name="trainyard")
@click.pass_context
def main(ctx: click.Context, url: str | None, token: str | None) -> None:
    """Train object detectors on labelled pictures and get TFLite models for a robot."""
    ctx.obj = Context(url, token)


if __name__ == "__main__":
    main(prog_name="trainyard")
