"""The planner where something goes otherwise than planned: it sleeps, the store fails, others act in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest
from msgspec.structs import replace

from services.scheduler import facts, orders
from services.scheduler.domain import Change, Job
from services.scheduler.planner import Planner
from services.scheduler.snapshot import ActiveJob, Lease, Snapshot
from shared.contract.jobs import JobState
from tests.unit.scheduler.rig import BoardOf, Clock, Jobs, assigned, waiting_job
from tests.unit.scheduler.samples import NOW, WHY, after, checkpointed, queued, stopping, trainer


async def test_an_action_that_comes_too_late_is_looked_at_again() -> None:
    stopped = orders.stop(queued("a"), NOW).job
    board = BoardOf(queued("a"), queued("b"))
    board.seen = Snapshot(
        waiting=[waiting_job("a"), waiting_job("b")],
        active=[],
        trainers=[trainer("t1"), trainer("t2")],
        listening_since=NOW,
        lease=timedelta(seconds=25),
    )
    changed: list[str] = []
    jobs = Jobs(stopped, queued("b"))
    can_hear, term = [True], [1]
    planner = Planner(
        jobs=cast(Any, jobs),
        board=cast(Any, board),
        clock=Clock(),
        lease_seconds=25,
        term=lambda: term[0],
        can_hear=lambda: can_hear[0],
        changed=lambda job: changed.append(job.view.id),
    )
    await planner.round()
    # The stop was quicker: the board learns of it, and the other job is assigned all the same.
    assert board.on_it["a"].view.state is JobState.CANCELED
    assert changed == ["b"]
    assert jobs.kept["b"].view.state is JobState.PREPARING
    # A store that fails in the midst: silence counts anew from then on.
    jobs.refusals["b"] = ConnectionError("away")
    board.listening_since = NOW - timedelta(hours=1)
    board.seen = replace(board.seen, waiting=[waiting_job("b")])
    with pytest.raises(ConnectionError):
        await planner.round()
    assert board.listening_since == NOW
    board.listening_since = NOW - timedelta(hours=1)
    can_hear[0] = False
    await planner.round()
    assert board.listening_since == NOW


class Room:
    """A planner, and trainers that each hold a job and were heard of at NOW and never since."""

    def __init__(self, *names: str) -> None:
        self.clock, self.can_hear, self.term = Clock(), True, 1
        self.jobs, self.board = Jobs(*map(assigned, names)), BoardOf(*map(assigned, names))
        self.board.seen = Snapshot(
            waiting=[],
            active=[
                ActiveJob(id=name, team="demo", trainer=f"on-{name}", attempt=1, assigned_at=NOW, pausable=True)
                for name in names
            ],
            trainers=[trainer(f"on-{name}", leases=[Lease(job_id=name, attempt=1, seen_at=NOW)]) for name in names],
            listening_since=NOW,
            lease=timedelta(seconds=25),
        )
        self.planner = Planner(
            jobs=cast(Any, self.jobs),
            board=cast(Any, self.board),
            clock=self.clock,
            lease_seconds=25,
            term=lambda: self.term,
            can_hear=lambda: self.can_hear,
            changed=lambda job: self.when_changed(),
        )

    def when_changed(self) -> None:
        pass

    def says(self, name: str, change: Change) -> None:
        """A trainer's fact is written before the planner's next action."""
        version = self.jobs.kept[name].view.version + 1
        self.jobs.kept[name] = replace(change.job, view=replace(change.job.view, version=version))

    def states(self) -> list[JobState]:
        return [job.view.state for job in self.jobs.kept.values()]

    def sleep(self) -> None:
        """For longer than a lease, while this process waits for the store's answer. Afterwards no ping has come back yet."""
        self.clock.seconds, self.can_hear = 60, False


class TestAFrozenPlanner:
    async def test_silence_is_found_where_nothing_keeps_us_from_hearing(self) -> None:
        room = Room("a")
        room.clock.seconds = 26
        await room.planner.round()
        assert room.states() == [JobState.QUEUED]

    async def test_it_takes_nobody_for_lost_who_spoke_while_it_waited_for_the_store(self) -> None:
        room = Room("a")
        room.board.while_waiting = room.sleep
        await room.planner.round()
        assert room.states() == [JobState.RUNNING]
        assert room.board.listening_since == after(60)

    async def test_what_it_slept_through_does_not_count_even_where_it_hears_again_at_once(self) -> None:
        room = Room("a")

        def sleep() -> None:
            room.clock.seconds = 60

        room.board.while_waiting = sleep
        await room.planner.round()
        assert room.states() == [JobState.RUNNING]

    @pytest.mark.parametrize("what", ["ears", "term", "clock"])
    async def test_it_looks_again_before_each_loss(self, what: str) -> None:
        room = Room("a", "b")
        room.clock.seconds = 26

        def wake() -> None:
            if what == "ears":
                room.can_hear = False
            elif what == "term":
                room.term = 2
            else:
                room.clock.seconds += 60
                room.clock.set_by = 60

        room.when_changed = wake  # type: ignore[method-assign]
        await room.planner.round()
        assert room.states() == [JobState.QUEUED, JobState.RUNNING]
        assert room.board.listening_since == room.clock.now()


class TestWhatComesBetweenPlanAndWrite:
    """The first job's write takes its time; meanwhile the second one's trainer speaks."""

    async def test_a_final_checkpoint_that_was_begun_is_not_cut_short(self) -> None:
        room = Room("a", "b")
        for name, job in room.jobs.kept.items():
            room.jobs.kept[name] = room.board.on_it[name] = orders.pause(job, 1, NOW, WHY).job
        assert room.board.seen is not None
        asked = [replace(job, asked_at=NOW) for job in room.board.seen.active]
        alive = [replace(one, leases=[replace(one.leases[0], seen_at=after(26))]) for one in room.board.seen.trainers]
        room.board.seen = replace(room.board.seen, active=asked, trainers=alive)
        room.clock.seconds = 26

        def speak() -> None:
            room.says("b", facts.stopping(room.jobs.kept["b"], 1, stopping("drained")))

        room.when_changed = speak  # type: ignore[method-assign]
        await room.planner.round()
        assert room.states() == [JobState.QUEUED, JobState.RUNNING]
        # The next round sees it as it is.
        assert room.board.on_it["b"].answered

    async def test_a_checkpoint_is_a_sign_of_life(self) -> None:
        room = Room("a", "b")
        room.clock.seconds = 26

        def speak() -> None:
            room.says("b", facts.checkpointed(room.jobs.kept["b"], 1, checkpointed(100, 20.0)))

        room.when_changed = speak  # type: ignore[method-assign]
        await room.planner.round()
        assert room.states() == [JobState.QUEUED, JobState.RUNNING]
        assert room.board.on_it["b"].view.steps_completed == 100


async def test_a_long_queue_is_assigned_side_by_side_and_a_write_that_fails_hides_no_other() -> None:
    names = [f"job-{number:02}" for number in range(40)]
    board, jobs = BoardOf(*map(queued, names)), Jobs(*map(queued, names))
    board.seen = Snapshot(
        waiting=[waiting_job(name) for name in names],
        active=[],
        trainers=[trainer("t1", slots=40)],
        listening_since=NOW,
        lease=timedelta(seconds=25),
    )
    changed: list[str] = []
    under_way = most = 0

    class Slow:
        async def decide(self, job_id: str, decide: Callable[[Job], Change], **_: object) -> Job:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            return await jobs.decide(job_id, decide)

    planner = Planner(
        jobs=cast(Any, Slow()),
        board=cast(Any, board),
        clock=Clock(),
        lease_seconds=25,
        term=lambda: 1,
        can_hear=lambda: True,
        changed=lambda job: changed.append(job.view.id),
    )
    jobs.refusals["job-07"] = ConnectionError("away")
    with pytest.raises(ConnectionError):
        await planner.round()
    assert changed == [name for name in names if name != "job-07"]
    assert 2 <= most <= 16
