"""The board: what it tells planning of the jobs and trainers that it was given."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from msgspec.structs import replace

from services.scheduler import orders
from services.scheduler.board import Board, needs_of
from services.scheduler.domain import Job
from tests.unit.scheduler.samples import NOW, after, queued, running, trainer, with_checkpoint
from tests.unit.scheduler.test_duties import Clock


def a_board() -> Board:
    """One that is live and empty."""
    nothing = cast(Any, None)
    return Board(
        jobs=nothing,
        trainers=nothing,
        clock=Clock(),
        lease=timedelta(seconds=25),
        half_life=timedelta(hours=24),
        hours=None,
        pause_lead=timedelta(seconds=60),
        seen=lambda _: None,
    )


def of_pool(job: Job, pool: str) -> Job:
    return replace(job, view=replace(job.view, requires={"pool": pool}))


def newer(job: Job) -> Job:
    return replace(job, view=replace(job.view, version=job.view.version + 1))


def test_when_a_team_was_last_given_a_slot_is_told_apart_by_what_its_jobs_need() -> None:
    board = a_board()
    board.put(orders.assign(of_pool(queued("a"), "x"), "t1", after(10)).job)
    board.put(orders.assign(of_pool(queued("b"), "y"), "t2", after(20)).job)
    late = orders.assign(of_pool(queued("c"), "x"), "t1", after(30)).job
    board.put(late)
    x, y = (needs_of(late.view.starting_model, "cpu", 8, {"pool": pool}) for pool in "xy")
    assert board.standings(NOW)["demo"].served == {x: after(30), y: after(20)}
    # An end says the same as the beginning did, and of a model that is gone nothing.
    ended = orders.enforce(orders.stop(with_checkpoint(running(late)), after(40)).job, 1, after(70)).job
    board.put(newer(ended))
    assert board.standings(NOW)["demo"].served == {x: after(30), y: after(20)}
    gone = orders.assign(of_pool(queued("d"), "z"), "t1", after(50)).job
    gone = replace(gone, view=replace(gone.view, starting_model="of old"))
    board.put(gone)
    board.put(newer(orders.stop(orders.lost(gone, 1, after(60)).job, after(70)).job))
    assert board.standings(NOW)["demo"].served == {x: after(30), y: after(20)}


def test_a_slot_was_last_there_when_its_trainer_last_took_jobs() -> None:
    board, needs = a_board(), needs_of(queued().view.starting_model, "cpu", 8)
    assert board.last_able(needs) is None
    board.heard(trainer(seen_at=after(10)))
    board.heard(trainer("t2", seen_at=after(20), memory_bytes=1 << 30))
    board.heard(trainer("t3", seen_at=after(30), accelerator="gpu"))
    assert board.last_able(needs) == after(10)
    board.heard(trainer(seen_at=after(40)))
    for leaving in (trainer(seen_at=after(50), draining=True), trainer(seen_at=after(60), drain_asked=True)):
        board.heard(leaving)
    assert board.last_able(needs) == after(40)
