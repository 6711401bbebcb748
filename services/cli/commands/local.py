"""`trainyard sample` and `detect`: what needs no server."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from services.cli import figures, show
from services.cli.context import Context, json_option, pass_context
from services.cli.sample import write_sample
from shared.contract.errors import UserError


@click.command()
@click.argument("output", metavar="OUT.zip", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--pictures", metavar="N", type=click.IntRange(1, 100_000), default=150, show_default=True)
@click.option("--seed", metavar="N", type=click.IntRange(min=0), default=0, show_default=True)
@json_option
@pass_context
def sample(context: Context, output: Path, pictures: int, seed: int) -> None:
    """Make labelled sample pictures of balls and cubes, in a zip to add as a dataset."""
    try:
        with context.err.status(f"Making {figures.count(pictures, 'picture')}"):
            made = write_sample(output, pictures, seed)
    except OSError as error:
        raise UserError("cannot_write", f"{output}: {error.strerror or error}.", "OUT.zip") from error
    boxes = ", ".join(figures.count(number, label) for label, number in made.boxes.items())
    words = f"{output}  {figures.count(made.pictures, 'picture')} ({made.negatives} without any object), {boxes}, "
    document = {"path": str(output), **msgspec.to_builtins(made)}
    context.show(document, show.text(words + figures.size(made.bytes)))
