"""`trainyard models`, `show`, `log`, `stop`, `retry`, `approve`, `delete`: jobs and the models that they made."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import click
import msgspec

from services.cli import show as tables
from services.cli.api import Api
from services.cli.context import Context, json_option, pass_context
from services.cli.figures import count, plain, state_name
from services.cli.names import resolve
from services.cli.scene import EXIT_CODES, Scene
from services.cli.show_details import job_details
from services.cli.show_job import standing
from services.cli.stream import Folded, Offline
from shared.contract.api.jobs import JobLog
from shared.contract.api.models import ModelAnswer, ModelEvent
from shared.contract.jobs import MEANINGS, JobState
from shared.contract.views import JobView, QueuePlace
from shared.runtime.clock import SystemClock


@click.command()
@json_option
@pass_context
def models(context: Context) -> None:
    """List models and jobs, newest first."""
    found = context.run(lambda api: api.models())
    context.show({"models": found}, tables.models_table(found, SystemClock().now(), context.out.width))


@click.command()
@click.argument("job", metavar="JOB")
@json_option
@pass_context
def show(context: Context, job: str) -> None:
    """All about one job: settings, minutes, attempts, metrics of each checkpoint, files, history."""

    async def ask(api: Api) -> tuple[ModelAnswer, list[ModelEvent], QueuePlace | None]:
        job_id = await find_job(api, job)
        answer, events = await asyncio.gather(api.model(job_id), api.events(job_id))
        return answer, events, await _place(api, job_id) if answer.model.state is JobState.QUEUED else None

    answer, events, place = context.run(ask)
    points = {point.step: point for point in answer.metrics}
    scene = Scene(job=answer.model, progress=answer.progress, place=place, points=points)
    document = {**msgspec.structs.asdict(answer), "place": place, "events": events}
    context.show(document, job_details(scene, events, SystemClock().now()))


@click.command()
@click.argument("job", metavar="JOB")
@json_option
@pass_context
def stop(context: Context, job: str) -> None:
    """End a job. What it has learned is saved first and can be downloaded; unused minutes come back."""

    async def ask(api: Api) -> JobView:
        return await api.stop_job(await find_job(api, job))

    stopped = context.run(ask)
    words = f"{stopped.description} ({stopped.id[:8]}): {state_name(stopped.state)}. {MEANINGS[stopped.state]}"
    context.show({"job": stopped}, tables.text(words))


@click.command()
@click.argument("job", metavar="JOB")
@click.option(
    "--when-room/--no-when-room",
    default=None,
    help="If still not, queue by itself as soon as there is room, or not.  [default: as it was told before]",
)
@json_option
@pass_context
def retry(context: Context, job: str, when_room: bool | None) -> None:
    """Try a job again that was told to TRY AGAIN LATER: the same job, with all its settings.

    Exit status: 0 when it is queued, 5 when it has to try again later still.
    """

    async def ask(api: Api) -> JobView:
        found = await find_view(api, job)
        return await api.retry_job(found.id, when_room=found.when_room if when_room is None else when_room)

    _stands(context, context.run(ask))


@click.command()
@click.argument("job", metavar="JOB")
@json_option
@pass_context
def approve(context: Context, job: str) -> None:
    """Let a job pass the cap of its member, as a mentor of the team.

    Exit status: 0 when it is queued, 5 when it has to try again later still.
    """

    async def ask(api: Api) -> JobView:
        return await api.approve_job(await find_job(api, job))

    _stands(context, context.run(ask))


@click.command()
@click.argument("job", metavar="JOB")
@json_option
@pass_context
def log(context: Context, job: str) -> None:
    """Print the last lines of what a job's last attempt wrote.

    The lines alone go to standard output; what they are of, and how that ended, to standard error.
    """

    async def ask(api: Api) -> JobLog:
        return await api.log(await find_job(api, job))

    found = context.run(ask)
    if context.json:
        context.document(found)
        return
    if not found.lines:
        context.note("There are no lines: no attempt of this job has ended, or it wrote nothing.")
    for line in found.lines:
        # A terminal would obey what is in the lines; a file gets them as they are.
        click.echo(plain(line.expandtabs()) if context.out.is_terminal else line, color=True)
    if found.lines or found.reason is not None:
        why = "" if found.reason is None else f": {tables.reasons([found.reason])[0]}"
        context.note(f"— attempt {found.attempt}, {count(len(found.lines), 'line')}{why}")


@click.command()
@click.argument("job", metavar="JOB")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@json_option
@pass_context
def delete(context: Context, job: str, yes: bool) -> None:
    """Delete a job that has ended, and its model, for good."""

    async def ask(api: Api) -> JobView:
        return (await api.model(await find_job(api, job))).model

    found = context.run(ask)
    context.confirm(f"Delete {tables.text(found.description)} ({found.id[:8]}) and its model for good?", yes=yes)
    context.run(lambda api: api.delete_job(found.id))
    context.show({"deleted": found.id}, tables.text(f"Deleted {found.description} ({found.id[:8]})."))


async def _place(api: Api, job_id: str) -> QueuePlace | None:
    """A waiting job's place: only the stream tells it. None where the stream can't be had at once."""
    async with aclosing(api.stream.follow()) as updates:
        match await anext(updates):
            case Folded(state):
                return state.queue.get(job_id)
            case Offline():
                return None


async def find_job(api: Api, given: str) -> str:
    """The id of the job that `given` begins. Raises NotFound, UserError `ambiguous_id`."""
    return (await find_view(api, given)).id


async def find_view(api: Api, given: str) -> JobView:
    """The job that `given` begins, as the list of models has it. Raises as `find_job`."""
    known = {model.id: model for model in await api.models()}
    return known[resolve(given, known, "job")]


def _stands(context: Context, job: JobView) -> None:
    context.show({"job": job}, standing(job, SystemClock().now()))
    raise click.exceptions.Exit(EXIT_CODES.get(job.state, 0))
