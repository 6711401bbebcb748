"""The board: what it tells planning of the jobs and trainers that it was given."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from statistics import median
from typing import Any, cast

from msgspec.structs import replace

from services.scheduler import facts, orders
from services.scheduler.board import Board, kind_of, needs_of
from services.scheduler.domain import Job
from services.scheduler.store import JobStore
from services.scheduler.trainers import TrainerStore
from shared.contract.jobs import JobState
from shared.contract.wire import Envelope
from tests.support.memory_store import MemoryStore, Moment
from tests.unit.scheduler.rig import Clock
from tests.unit.scheduler.samples import NOW, after, queued, running, started, trainer, with_checkpoint


def a_board(jobs: Any = None, trainers: Any = None, clock: Any = None) -> Board:
    """One that is empty."""
    return Board(
        jobs=jobs,
        trainers=trainers,
        clock=clock or Clock(),
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


def stopped_run(job_id: str, step: int, seconds: float) -> tuple[Job, Job]:
    """A job while it runs, and after it was stopped at that step, with so many seconds of stepping."""
    held = orders.assign(queued(job_id), "t1", after(10)).job
    return held, newer(
        orders.enforce(orders.stop(with_checkpoint(running(held), step, seconds), after(40)).job, 1, after(70)).job
    )


async def test_runs_that_finish_here_tell_how_fast_those_alike_are_without_another_look() -> None:
    clock, looks = Clock(), 0

    class Jobs:
        async def finished_paces(self, *_: object) -> list[float]:
            nonlocal looks
            looks += 1
            return [0.5]

    board = a_board(jobs=Jobs(), clock=clock)
    board.live = True
    board.put(queued("waits"))
    await board.know_paces()

    def expected() -> float:
        return board.snapshot(NOW).waiting[0].expected_seconds

    besides = expected() - 200 * 0.5
    for held, over in (stopped_run("a", 100, 200.0), stopped_run("b", 19, 1.0), stopped_run("c", 100, 300.0)):
        board.put(held)
        board.put(over)
    kind = kind_of(queued())
    assert list(await board.paces_of(kind)) == [3.0, 2.0, 0.5]
    # Those that wait are described anew some seconds after the last time.
    for pause, pace in ((0, 0.5), (6, 2.0), (0, 2.0)):
        clock.seconds += pause
        await board.know_paces()
        assert expected() - besides == 200 * pace
    for number in range(20):
        for job in stopped_run(f"e{number}", 100, 100.0):
            board.put(job)
    assert (list(await board.paces_of(kind)), looks) == ([1.0] * 20, 1)
    # One that doesn't plan hears of some ends only: it asks.
    board.live = False
    for job in stopped_run("f", 100, 200.0):
        board.put(job)
    for pause, pace in ((0, 1.0), (6, 0.5)):
        clock.seconds += pause
        await board.know_paces()
        assert median(await board.paces_of(kind)) == pace
    assert looks == 2


def test_a_job_is_remembered_for_a_while_after_its_end() -> None:
    board = a_board()
    held, over = stopped_run("a", 100, 50.0)
    board.put(held)
    assert (board.recall("a"), board.find("a")) == (held, held)
    board.put(over)
    board.put(held)  # whoever wrote that was late to say so
    assert (board.recall("a"), board.find("a")) == (over, None)
    for number in range(256):
        board.put(stopped_run(f"b{number}", 100, 50.0)[1])
    assert (board.recall("a"), board.recall("b0") is None) == (None, False)


async def test_a_scheduler_that_does_not_plan_reads_all_once_and_then_what_has_changed() -> None:
    memory, looks, clock = MemoryStore(), Counter[str](), Clock()

    async def count(moment: Moment, operation: str, collection: str) -> None:
        looks[operation] += moment == "before" and collection == "jobs"

    jobs = JobStore(memory.database(), lambda body, _: Envelope(id="e", time=NOW, source="s", team="demo", body=body))
    watching = JobStore(memory.database(count), cast(Any, None))
    board = a_board(jobs=watching, trainers=TrainerStore(memory.database()), clock=clock)
    assigned = orders.assign(queued("early"), "t1", after(10)).job
    early = orders.stop(with_checkpoint(running(assigned)), after(40)).job
    await jobs.insert(orders.enforce(early, 1, after(70)).job)
    await jobs.insert(queued("late"))
    await board.refresh()
    used = board.standings(NOW)["demo"].usage_seconds
    assert (used, [job.view.id for job in board.jobs()]) == (50.0, ["late"])
    looks.clear()
    await board.refresh()
    assert not +looks, "it is fresh"
    given = await jobs.apply(queued("late"), orders.assign(queued("late"), "t1", after(80)))
    clock.seconds += 2
    await board.refresh()
    assert [job.view.state for job in board.jobs()] == [JobState.PREPARING]
    assert +looks == {"find": 1, "find_one": 1}, "versions, and the one that has changed"
    assert given is not None
    begun = await jobs.apply(given, facts.started(given, 1, started()))
    assert begun is not None
    stopped = await jobs.apply(begun, orders.stop(with_checkpoint(begun), after(130)))
    assert stopped is not None
    await jobs.apply(stopped, orders.enforce(stopped, 1, after(170)))
    clock.seconds += 2
    await board.refresh()
    assert (board.standings(after(170))["demo"].usage_seconds > used + 49, list(board.jobs())) == (True, [])
