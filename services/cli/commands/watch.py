"""`trainyard watch`: follow a job live until it ends."""

from __future__ import annotations

import click

from services.cli.api import Api
from services.cli.commands.jobs import find_job
from services.cli.context import Context, json_option, pass_context
from services.cli.lazy import INTERRUPTED
from services.cli.scene import EXIT_CODES, Scene
from services.cli.screens import JsonScreen, LineScreen, LiveScreen
from services.cli.show_job import summary
from services.cli.watching import follow_job
from shared.contract.views import JobView
from shared.runtime.clock import SystemClock


@click.command()
@click.argument("job", metavar="JOB")
@json_option
@pass_context
def watch(context: Context, job: str) -> None:
    """Follow a job live until it ends. Ctrl-C ends the watching, never the job.

    With --json: an object a line for each change, told apart by "kind"; the last is "ended".
    """

    async def ask(api: Api) -> JobView:
        return (await api.model(await find_job(api, job))).model

    watch_to_end(context, context.run(ask))


def watch_to_end(context: Context, job: JobView) -> None:
    """Shows `job` until it ends, then its summary; ends the command with the exit status of its final state."""
    try:
        scene = context.run(lambda api: _follow(api, context, job))
    except KeyboardInterrupt:
        short = job.id[:8]
        context.note(
            f"The job goes on.\n  Watch it again  trainyard watch {short}\n  End it          trainyard stop {short}"
        )
        raise click.exceptions.Exit(INTERRUPTED) from None
    if not context.json:
        context.out.print(summary(scene, SystemClock().now()))
    raise click.exceptions.Exit(EXIT_CODES[scene.job.state])


async def _follow(api: Api, context: Context, job: JobView) -> Scene:
    clock = SystemClock()
    if context.json:
        return await follow_job(api, job, JsonScreen(context), clock)
    if not context.live:
        return await follow_job(api, job, LineScreen(context.out), clock)
    with LiveScreen(context.out) as screen:
        return await follow_job(api, job, screen, clock)
