"""`trainyard admin trainers`, `drain`, `capacity`, `audit`: the machines, and who did what."""

from __future__ import annotations

import click

from services.cli import show_admin
from services.cli.api import Api
from services.cli.context import Context, json_option, pass_context
from services.cli.figures import count
from services.cli.names import resolve
from services.cli.show import text
from services.cli.show_capacity import capacity_view
from shared.contract.api.admin import TrainerRow
from shared.contract.errors import NotFound, UserError
from shared.runtime.clock import SystemClock


@click.command()
@json_option
@pass_context
def trainers(context: Context) -> None:
    """All trainers heard of within a day: slots, load, memory, labels, and the jobs they hold."""
    answer = context.run(lambda api: api.operators.trainers())
    context.show(answer, show_admin.trainers_table(answer.trainers, SystemClock().now()))


@click.command()
@click.argument("trainer", metavar="TRAINER")
@json_option
@pass_context
def drain(context: Context, trainer: str) -> None:
    """Have a trainer take no more jobs, hand back those it holds with a checkpoint, and end.

    The jobs go on elsewhere; nothing is lost. TRAINER may be cut short.
    """

    async def ask(api: Api) -> TrainerRow:
        known = [row.id for row in (await api.operators.trainers()).trainers]
        try:
            found = resolve(trainer, known, "trainer")
        except NotFound:
            raise UserError(
                "not_found",
                f"No trainer's id begins with {trainer!r}. See `trainyard admin trainers`.",
                "trainer",
                status=404,
            ) from None
        return await api.operators.drain(found)

    row = context.run(ask)
    held = f"the {count(len(row.jobs), 'job')} it holds go back" if len(row.jobs) != 1 else "the job it holds goes back"
    words = f"{held} with a checkpoint, then it ends" if row.jobs else "it holds none, and ends"
    context.show({"trainer": row}, text(f"{row.id} is {row.status}: it takes no more jobs, {words}."))


@click.command()
@click.option("--hours", metavar="N", type=click.IntRange(1, 720), default=24, show_default=True, help="How far back.")
@json_option
@pass_context
def capacity(context: Context, hours: int) -> None:
    """How busy the trainers' slots were, and how many jobs waited for one."""
    answer = context.run(lambda api: api.operators.capacity(hours))
    context.show(answer, capacity_view(answer.points, context.out.width))


@click.command()
@click.option("--limit", metavar="N", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many.")
@json_option
@pass_context
def audit(context: Context, limit: int) -> None:
    """What operators and mentors did, newest first, and what came of it."""
    answer = context.run(lambda api: api.operators.audit(limit))
    context.show(answer, show_admin.audit_table(answer.entries, SystemClock().now(), context.out.width))
