"""`trainyard models`, `show`, `stop`, `delete`: jobs and the models that they made."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import click
import msgspec

from services.cli import show as tables
from services.cli.api import Api
from services.cli.context import Context, json_option, pass_context
from services.cli.figures import state_name
from services.cli.names import resolve
from services.cli.scene import Scene
from services.cli.show_job import job_details
from services.cli.stream import Folded, Offline
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
    return resolve(given, [model.id for model in await api.models()], "job")
