"""`trainyard train` and `more`: the plan first, then the job, then watching it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec
from rich.text import Text

from services.cli.api import Api, Training
from services.cli.commands.datasets import find_datasets
from services.cli.commands.jobs import find_view
from services.cli.commands.watch import watch_to_end
from services.cli.context import Context, json_option, pass_context
from services.cli.scene import EXIT_CODES
from services.cli.show import NEEDS_APPROVAL, plan_view
from services.cli.show_job import standing
from shared.contract.api.jobs import Plan
from shared.contract.epochs import steps_for
from shared.contract.views import JobView
from shared.runtime.clock import SystemClock

F = TypeVar("F", bound=Callable[..., Any])


class Submitted(msgspec.Struct, frozen=True, tag_field="kind", tag="submitted"):
    """The first line of `train --json --watch`."""

    plan: Plan
    job: JobView


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a training; ids are still as a person gave them."""

    description: str
    datasets: tuple[str, ...]
    steps: int | None
    epochs: int | None
    max_minutes: int | None
    when_room: bool
    requires: dict[str, str]
    yes: bool
    watch: bool | None
    starting_model: str | None = None
    parent: str | None = None


class Planned(msgspec.Struct, frozen=True):
    """What is going to be asked for, on which model if on one, and the plan that was shown."""

    training: Training
    parent: JobView | None
    plan: Plan


def training_options(command: F) -> F:
    """What `train` and `more` have in common, in the order of their help."""
    for option in reversed(
        (
            click.option("--description", metavar="TEXT", required=True, help="The model's name, short."),
            click.option(
                "--steps", metavar="N", type=click.IntRange(min=1), help="How long to train, else as recommended."
            ),
            click.option(
                "--epochs", metavar="N", type=click.IntRange(min=1), help="The same in passes over all pictures."
            ),
            click.option(
                "--max-minutes", metavar="N", type=click.IntRange(min=1), help="Stop after so long, else as planned."
            ),
            click.option("--when-room", is_flag=True, help="If not now, queue by itself as soon as there is room."),
            click.option(
                "--require",
                "requires",
                metavar="KEY=VALUE",
                multiple=True,
                callback=_labels,
                help="A label that its trainer must have, like pool=lab; repeatable.",
            ),
            click.option("--yes", "-y", is_flag=True, help="Don't ask."),
            click.option(
                "--watch/--no-watch",
                default=None,
                help="Follow the job to its end.  [default: watch; with --json, don't]",
            ),
        )
    ):
        command = option(command)
    return command


def _labels(_: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for pair in given:
        name, equals, value = (text.strip() for text in pair.partition("="))
        if not (name and equals and value):
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE.", param=parameter)
        if wanted.setdefault(name, value) != value:
            raise click.BadParameter(f"{name} can't be both {wanted[name]} and {value}.", param=parameter)
    return wanted


@click.command()
@click.option(
    "--dataset", "-d", "datasets", metavar="ID", multiple=True, required=True, help="What to train on; repeatable."
)
@click.option("--starting-model", metavar="KEY", help="See `trainyard starting-models`.")
@training_options
@json_option
@pass_context
def train(context: Context, /, **options: Any) -> None:
    """Show what a training would be like, start it, and watch it.

    Exit status of a job that was watched: 0 SUCCEEDED or STOPPED, 3 FAILED, 4 CANCELED, 5 TRY AGAIN LATER.
    """
    _train(context, Wanted(**options))


@click.command()
@click.argument("parent", metavar="JOB")
@click.option(
    "--dataset", "-d", "datasets", metavar="ID", multiple=True, help="More to train on, besides its own; repeatable."
)
@training_options
@json_option
@pass_context
def more(context: Context, /, **options: Any) -> None:
    """Train a finished model more, on its own datasets and on those that are added.

    It stays as it is: what comes out is a new model. Steps, epochs and minutes are those of the new training alone. Exit
    status of a job that was watched: 0 SUCCEEDED or STOPPED, 3 FAILED, 4 CANCELED, 5 TRY AGAIN LATER.
    """
    _train(context, Wanted(**options))


def _train(context: Context, wanted: Wanted) -> None:
    if wanted.steps is not None and wanted.epochs is not None:
        raise click.UsageError("Give --steps or --epochs, not both.")
    planned = context.run(lambda api: _plan(api, wanted))
    plan, parent = planned.plan, planned.parent
    if not context.json:
        now = SystemClock().now()
        view = plan_view(plan, wanted.max_minutes, now, when_room=wanted.when_room, parent=parent)
        context.out.print(Text(wanted.description, "bold"), view, "", sep="\n")
    _ask(context, plan, wanted)

    async def submit(api: Api) -> JobView:
        # What was shown is what is asked for: the steps go along even where the server chose them.
        training = msgspec.structs.replace(planned.training, steps=plan.steps)
        if parent is not None:
            return await api.train_more(parent.id, training, wanted.description, when_room=wanted.when_room)
        training = msgspec.structs.replace(training, starting_model=plan.starting_model)
        return await api.start_job(training, wanted.description, when_room=wanted.when_room)

    job = context.run(submit)
    watched = not context.json if wanted.watch is None else wanted.watch
    if watched:
        if context.json:
            context.line(Submitted(plan, job))
        watch_to_end(context, job)
    context.show({"plan": plan, "job": job}, standing(job, SystemClock().now()))
    raise click.exceptions.Exit(EXIT_CODES.get(job.state, 0))


async def _plan(api: Api, wanted: Wanted) -> Planned:
    parent = None if wanted.parent is None else await find_view(api, wanted.parent)
    parent_id = None if parent is None else parent.id
    training = Training(
        dataset_ids=await find_datasets(api, wanted.datasets) if wanted.datasets else [],
        starting_model=wanted.starting_model,
        steps=wanted.steps,
        max_minutes=wanted.max_minutes,
        requires=wanted.requires,
    )
    if wanted.epochs is not None:
        sizes = await api.plan(training, parent_id)
        steps = steps_for(wanted.epochs, sizes.train_frames, sizes.batch_size)
        training = msgspec.structs.replace(training, steps=steps)
    return Planned(training, parent, await api.plan(training, parent_id))


def _ask(context: Context, plan: Plan, wanted: Wanted) -> None:
    """Starting is what a person came for; a job that would only have to try again later may be not."""
    if plan.refusal is None:
        context.confirm("Start the training?", yes=wanted.yes)
    elif plan.refusal.code == NEEDS_APPROVAL:
        context.confirm("Submit it, for a mentor to approve?", yes=wanted.yes)
    elif wanted.when_room:
        context.confirm("Submit it, to queue by itself later?", yes=wanted.yes)
    else:
        context.confirm("Submit it all the same? It would have to try again later.", yes=wanted.yes, default=False)
