"""`trainyard admin queue`, `priority`, `cancel`, `reconcile`: jobs of all teams."""

from __future__ import annotations

import asyncio
from typing import Literal

import click

from services.cli import show_admin
from services.cli.api import Api
from services.cli.context import Context, json_option, pass_context
from services.cli.names import resolve
from services.cli.show import text
from shared.contract.errors import NotFound
from shared.contract.views import JobView
from shared.runtime.clock import SystemClock


@click.command()
@json_option
@pass_context
def queue(context: Context) -> None:
    """All waiting jobs, next first, and when they are likely to start."""
    answer = context.run(lambda api: api.operators.queue())
    others = [show_admin.for_room_table(answer.for_room)] if answer.for_room else []
    others += [show_admin.unspecified_table(answer.unspecified)] if answer.unspecified else []
    context.show(answer, show_admin.queue_table(answer.queue, SystemClock().now(), context.out.width), *others)


# A priority below 0 begins like an option.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("job", metavar="JOB")
@click.argument("priority", metavar="N", type=click.IntRange(-100, 100))
@json_option
@pass_context
def priority(context: Context, job: str, priority: int) -> None:
    """Set a job's priority class, from -100 to 100: higher goes first, 0 is everybody's."""

    async def ask(api: Api) -> JobView:
        return await api.operators.set_priority(await find_any_job(api, job), priority)

    _show(context, context.run(ask))


@click.command()
@click.argument("job", metavar="JOB")
@click.option("--reason", metavar="TEXT", required=True, help="Why; the team sees it.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@json_option
@pass_context
def cancel(context: Context, job: str, reason: str, yes: bool) -> None:
    """End a team's job, or its wait for room. What it has learned is kept, unused minutes come back, the team sees why."""
    found = context.run(lambda api: _find(api, job))
    context.confirm(f"End {found[1]}?", yes=yes)
    _show(context, context.run(lambda api: api.operators.cancel(found[0], reason)))


@click.command()
@click.argument("job", metavar="JOB")
@click.option(
    "--to",
    "state",
    type=click.Choice(["QUEUED", "FAILED"], case_sensitive=False),
    required=True,
    help="Go on from its last checkpoint, or end and be settled.",
)
@json_option
@pass_context
def reconcile(context: Context, job: str, state: Literal["QUEUED", "FAILED"]) -> None:
    """Lead a job out of STATE UNSPECIFIED, in which the system found that it contradicts itself."""

    async def ask(api: Api) -> JobView:
        return await api.operators.reconcile(await find_any_job(api, job), state)

    _show(context, context.run(ask))


async def find_any_job(api: Api, given: str) -> str:
    """The id of the job of any team that waits or runs and that `given` begins; `given` itself where none does, as a job
    may be neither. Raises UserError `ambiguous_id`."""
    return (await _find(api, given))[0]


async def _find(api: Api, given: str) -> tuple[str, str]:
    """The same with words for what it is."""
    waiting, holding = await asyncio.gather(api.operators.queue(), api.operators.trainers())
    known = {row.place.job_id: (row.description, row.team) for row in waiting.queue}
    held = [*waiting.unspecified, *waiting.for_room, *(job for row in holding.trainers for job in row.jobs)]
    known |= {job.job_id: (job.description, job.team) for job in held}
    try:
        found = resolve(given, known, "job")
    except NotFound:
        return given, f"the job {text(given)}"
    description, team = known[found]
    return found, f"{text(description)} ({found[:8]}) of team {text(team)}"


def _show(context: Context, job: JobView) -> None:
    context.show({"job": job}, show_admin.team_job(job, SystemClock().now()))
