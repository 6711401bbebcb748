"""`trainyard train`: the plan first, then the job, then watching it."""

from __future__ import annotations

import click
import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from services.cli.api import Api
from services.cli.commands.datasets import find_datasets
from services.cli.commands.watch import watch_to_end
from services.cli.context import Context, json_option, pass_context
from services.cli.scene import EXIT_CODES, Scene
from services.cli.show import plan_view
from services.cli.show_job import summary
from shared.contract.api.jobs import Plan
from shared.contract.epochs import steps_for
from shared.contract.jobs import TERMINAL
from shared.contract.views import JobView
from shared.runtime.clock import SystemClock


class Submitted(msgspec.Struct, frozen=True, tag_field="kind", tag="submitted"):
    """The first line of `train --json --watch`."""

    plan: Plan
    job: JobView


@click.command()
@click.option(
    "--dataset", "-d", "datasets", metavar="ID", multiple=True, required=True, help="What to train on; repeatable."
)
@click.option("--description", metavar="TEXT", required=True, help="The model's name, short.")
@click.option("--steps", metavar="N", type=click.IntRange(min=1), help="How long to train, else as recommended.")
@click.option("--epochs", metavar="N", type=click.IntRange(min=1), help="The same in passes over all pictures.")
@click.option("--starting-model", metavar="KEY", help="See `trainyard starting-models`.")
@click.option("--max-minutes", metavar="N", type=click.IntRange(min=1), help="Stop after so long, else as planned.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@click.option(
    "--watch/--no-watch", default=None, help="Follow the job to its end.  [default: watch; with --json, don't]"
)
@json_option
@pass_context
def train(
    context: Context,
    datasets: tuple[str, ...],
    description: str,
    steps: int | None,
    epochs: int | None,
    starting_model: str | None,
    max_minutes: int | None,
    yes: bool,
    watch: bool | None,
) -> None:
    """Show what a training would be like, start it, and watch it.

    Exit status of a job that was watched: 0 SUCCEEDED or STOPPED, 3 FAILED, 4 CANCELED, 5 TRY AGAIN LATER.
    """
    if steps is not None and epochs is not None:
        raise click.UsageError("Give --steps or --epochs, not both.")

    async def ask(api: Api) -> tuple[list[str], Plan]:
        ids = await find_datasets(api, datasets)
        wanted = steps
        if epochs is not None:
            sizes = await api.plan(ids, starting_model, None)
            wanted = steps_for(epochs, sizes.train_frames, sizes.batch_size)
        return ids, await api.plan(ids, starting_model, wanted)

    ids, plan = context.run(ask)
    if not context.json:
        context.out.print(Text(description, "bold"), plan_view(plan, max_minutes), "", sep="\n")
    context.confirm("Start the training?", yes=yes)
    # What was shown is what is asked for: the steps go along even where the server chose them.
    job = context.run(lambda api: api.start_job(ids, description, plan.starting_model, plan.steps, max_minutes))
    watched = not context.json if watch is None else watch
    if watched:
        if context.json:
            context.line(Submitted(plan, job))
        watch_to_end(context, job)
    context.show({"plan": plan, "job": job}, _standing(job))
    raise click.exceptions.Exit(EXIT_CODES.get(job.state, 0))


def _standing(job: JobView) -> RenderableType:
    """How the job stands right after it was submitted."""
    words = summary(Scene(job=job), SystemClock().now())
    return (
        words
        if job.state in TERMINAL
        else Group(words, Text(f"Watch it: trainyard watch {job.id[:8]}", "bright_black"))
    )
