"""`trainyard datasets …`: the labelled pictures that a team trains on."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Group
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from services.cli import show
from services.cli.api import Api
from services.cli.context import Context, json_option, pass_context
from services.cli.names import resolve
from shared.contract.api.datasets import DatasetAnswer, DatasetStatistics, Imported
from shared.contract.errors import UserError


@click.group()
def datasets() -> None:
    """Add, list, check and delete labelled pictures."""


@datasets.command()
@click.argument("archive", metavar="ZIP", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.option("--name", metavar="NAME", help="The dataset's name, else the file's.")
@click.option("--eval-percent", metavar="N", type=int, default=20, show_default=True, help="Share kept for evaluation.")
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Another seed, another split.")
@click.option(
    "--unlabelled",
    type=click.Choice(["skip", "negative"]),
    default="skip",
    show_default=True,
    help="A picture that no XML describes: leave it out, or take it as one without any object.",
)
@json_option
@pass_context
def add(context: Context, archive: Path, name: str | None, eval_percent: int, seed: int, unlabelled: str) -> None:
    """Upload a zip of pictures with Pascal VOC labels; says what was read and what was skipped."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=context.err,
        transient=True,
        disable=not context.err.is_terminal,
    )

    settings = {
        "name": archive.stem if name is None else name,
        "eval_percent": str(eval_percent),
        "seed": str(seed),
        "unlabelled": unlabelled,
    }

    async def upload(api: Api) -> Imported:
        with progress:
            task = progress.add_task("Uploading", total=archive.stat().st_size)

            def sent(size: int) -> None:
                progress.advance(task, size)
                if progress.tasks[0].finished:
                    progress.update(task, description="The server checks every picture")

            return await api.add_dataset(archive, settings, sent)

    try:
        imported = context.run(upload)
    except OSError as error:
        raise UserError("unreadable_file", f"{archive} can't be read: {error.strerror or error}.", "ZIP") from error
    answer = DatasetAnswer(dataset=imported.dataset, report=imported.report, used_by=[])
    following = Text(
        f"Train on it: trainyard train --dataset {answer.dataset.id[:8]} --description NAME", "bright_black"
    )
    context.show(answer, Group(show.dataset_details(answer), Text(), following))


@datasets.command(name="list")
@json_option
@pass_context
def list_(context: Context) -> None:
    """List the team's datasets."""
    found = context.run(lambda api: api.datasets())
    context.show({"datasets": found}, show.datasets_table(found, context.out.width))


@datasets.command(name="show")
@click.argument("dataset", metavar="ID")
@json_option
@pass_context
def show_(context: Context, dataset: str) -> None:
    """All about one dataset: labels, sizes, what may spoil a training, how it was imported, which models use it."""

    async def ask(api: Api) -> tuple[DatasetAnswer, DatasetStatistics]:
        found = await find_dataset(api, dataset)
        return await api.dataset(found), await api.dataset_statistics(found)

    answer, statistics = context.run(ask)
    shown = {**msgspec.structs.asdict(answer), "statistics": statistics}
    context.show(shown, show.dataset_details(answer, statistics))


@datasets.command()
@click.argument("dataset", metavar="ID")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@json_option
@pass_context
def delete(context: Context, dataset: str, yes: bool) -> None:
    """Delete a dataset that no model uses."""

    async def ask(api: Api) -> DatasetAnswer:
        return await api.dataset(await find_dataset(api, dataset))

    found = context.run(ask).dataset
    context.confirm(f"Delete the dataset {show.text(found.name)} ({found.id[:8]})?", yes=yes)
    context.run(lambda api: api.delete_dataset(found.id))
    context.show({"deleted": found.id}, show.text(f"Deleted {found.name} ({found.id[:8]})."))


@datasets.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
@pass_context
def check(context: Context, ids: tuple[str, ...]) -> None:
    """Say whether datasets have the same labels and so can be trained on together.

    The exit status is 0 if they do and 1 if they don't.
    """

    async def ask(api: Api) -> bool:
        answer = await api.compatibility(await find_datasets(api, ids))
        context.show(answer, show.compatibility_view(answer))
        return answer.compatible

    if not context.run(ask):
        raise click.exceptions.Exit(1)


async def find_dataset(api: Api, given: str) -> str:
    """The id of the dataset that `given` begins. Raises NotFound, UserError `ambiguous_id`."""
    return (await find_datasets(api, [given]))[0]


async def find_datasets(api: Api, given: tuple[str, ...] | list[str]) -> list[str]:
    """The ids of several datasets, in order."""
    known = [dataset.id for dataset in await api.datasets()]
    return [resolve(one, known, "dataset") for one in given]
