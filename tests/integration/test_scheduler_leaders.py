"""Two schedulers at once: one plans, the other takes over; and two that both believe they plan do no harm."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.scheduler import facts, orders
from services.scheduler.domain import Job
from services.scheduler.leader import Leadership
from services.scheduler.store import JobStore
from shared.contract.errors import Retry, Stale
from shared.contract.events import Message
from shared.contract.views import Reason
from shared.contract.wire import Envelope
from shared.runtime.clock import SystemClock
from shared.runtime.mongo import OUTAGES, Store
from tests.support.running import Service
from tests.support.scheduling import Platform, open_platform, open_trainer
from tests.support.store import Store as RealStore
from tests.support.waiting import until
from tests.unit.scheduler.samples import after, queued, started


@pytest.fixture
async def platform(amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path) -> AsyncIterator[Platform]:
    # A lease of ten seconds would do: that of the default settings is six.
    async with open_platform(amqp_url, mongo_url, mongo_prefix, tmp_path, LEADER_SECONDS="6") as running:
        yield running


def plans(scheduler: Service) -> bool:
    return '"event": "leader.took"' in scheduler.log.read_text()


async def test_what_the_other_scheduler_is_asked_reaches_the_one_that_plans_at_once(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    async with open_trainer(platform) as trainer, platform.another_scheduler() as other:
        assert plans(platform.scheduler)
        leader, platform.scheduler = platform.scheduler, other
        begun = time.monotonic()
        job_id = await platform.queued(dataset)
        await trainer.holds(job_id)
        # Told, not found by the comparison of the board with the store.
        assert time.monotonic() - begun < 10
        assert "board.behind" not in leader.log.read_text()
        await trainer.started(job_id, 1)
        await trainer.checkpointed(job_id, 1, 20, 5.0)
        await platform.job(job_id, lambda change: change.job.steps_completed == 20)
        # A plan by the one that doesn't plan knows of the running job and its trainer, within a second.
        ask = {"dataset_ids": [dataset], "steps": 40}

        async def knows() -> bool:
            place = (await platform.api("POST", "/plans", ask))["plan"]["place"]
            return bool(place["start_to"] > (datetime.now(UTC) + timedelta(seconds=1)).isoformat())

        await until(knows)
        await platform.api("POST", f"/jobs/{job_id}/stop")
        await trainer.told(job_id, 1, "user")
        await trainer.stopping(job_id, 1, "user")
        await trainer.ended(job_id, 1, "stopped", 20, 5.0)
        await platform.in_state(job_id, "STOPPED")
        assert not plans(other)
        platform.scheduler = leader


@pytest.mark.parametrize("how", ["kill", "end", "freeze"])
async def test_another_one_takes_over_within_ten_seconds_and_nothing_is_lost(
    platform: Platform, how: str, mongo_url: str, mongo_prefix: str
) -> None:
    dataset = await platform.add_dataset()
    async with open_trainer(platform) as trainer, platform.another_scheduler() as other:
        running = await platform.queued(dataset)
        await trainer.holds(running)
        await trainer.started(running, 1)
        await platform.in_state(running, "RUNNING")
        leader, platform.scheduler = platform.scheduler, other
        begun = time.monotonic()
        if how == "kill":
            leader.kill()
        elif how == "freeze":
            # For the broker it is a consumer like any other until heartbeats are missed.
            leader.send(signal.SIGSTOP)
        else:
            await asyncio.to_thread(leader.end)
        waiting = await platform.queued(dataset)
        await trainer.checkpointed(running, 1, 40, 20.0)
        await trainer.ended(running, 1, "succeeded", 40, 20.0)
        await trainer.holds(waiting)
        took = time.monotonic() - begun
        print(f"{how}: planned again after {took:.1f} s")
        assert took < 10
        done = await platform.in_state(running, "SUCCEEDED")
        assert (done.job.attempt, done.job.used_seconds) == (1, 20)
        assert plans(other)
        if how == "freeze":
            leader.send(signal.SIGCONT)
            await until(lambda: '"event": "leader.replaced"' in leader.log.read_text())
            await trainer.started(waiting, 1)
            assert (await platform.in_state(waiting, "RUNNING")).job.attempt == 1
        with closing(Store(mongo_url, mongo_prefix)) as store:
            # No planner has touched it since: it was put under the term of the one that took over.
            document = await store.database("scheduler")["jobs"].find_one({"_id": running}, {"term": 1})
            assert document == {"_id": running, "term": 2}


class Room:
    """Two leaderships over one store, with what became of them."""

    def __init__(self, store: Store, *names: str, seconds: float = 0.4) -> None:
        self.taken: list[str] = []
        self.left: list[str] = []
        database = store.database("scheduler")

        def make(name: str) -> Leadership:
            async def takes(term: int) -> None:
                self.taken.append(f"{name}:{term}")

            async def leaves() -> None:
                self.left.append(name)

            return Leadership(database, name=name, clock=SystemClock(), seconds=seconds, takes=takes, leaves=leaves)

        self.ones = [make(name) for name in names]


async def test_the_lease_changes_hands_once_it_is_not_renewed(mongo_url: str, mongo_prefix: str) -> None:
    with closing(Store(mongo_url, mongo_prefix)) as store:
        room = Room(store, "a", "b")
        first, second = room.ones
        await first.round()
        for _ in range(4):
            await second.round()
            await asyncio.sleep(0.12)
            await first.round()
        assert room.taken == ["a:1"]
        assert [one.term for one in room.ones] == [1, None]
        # The first one sleeps. It knows by its own clock that it may not plan any more before another one does.
        await asyncio.sleep(0.35)
        assert first.term is None
        await second.round()
        await asyncio.sleep(0.45)
        await second.round()
        assert room.taken == ["a:1", "b:2"]
        await first.round()
        assert room.left == ["a"]
        assert [one.term for one in room.ones] == [None, 2]
        await second.resign()
        await first.round()
        assert room.taken == ["a:1", "b:2", "a:3"]
        assert [one.term for one in room.ones] == [3, None]


async def test_of_many_that_ask_at_once_one_plans(mongo_url: str, mongo_prefix: str) -> None:
    with closing(Store(mongo_url, mongo_prefix)) as store:
        room = Room(store, *"abcdef", seconds=5)
        await asyncio.gather(*(one.round() for one in room.ones))
        assert len(room.taken) == 1
        assert sum(one.term is not None for one in room.ones) == 1


async def test_a_leader_that_cannot_take_up_its_work_lets_go(mongo_url: str, mongo_prefix: str) -> None:
    async def takes(_: int) -> None:
        raise Retry("the broker is away")

    left = []

    async def leaves() -> None:
        left.append(1)

    with closing(Store(mongo_url, mongo_prefix)) as store:
        one = Leadership(
            store.database("scheduler"), name="a", clock=SystemClock(), seconds=5, takes=takes, leaves=leaves
        )
        with pytest.raises(Retry):
            await one.round()
        assert one.term is None
        assert left == [1]
        await one.resign()
        await one.round()  # whoever has resigned never asks again
        assert left == [1]


async def test_a_leader_that_cannot_reach_the_store_lays_its_work_down_before_another_one_begins(
    private_store: RealStore, mongo_prefix: str
) -> None:
    left = []

    async def takes(_: int) -> None: ...

    async def leaves() -> None:
        left.append(1)

    with closing(Store(private_store.url + "&serverSelectionTimeoutMS=200", mongo_prefix)) as store:
        one = Leadership(
            store.database("scheduler"), name="a", clock=SystemClock(), seconds=2, takes=takes, leaves=leaves
        )
        await one.round()
        assert one.term == 1
        private_store.kill()
        begun = time.monotonic()
        while not left:
            with pytest.raises(OUTAGES):
                await one.round()
        assert one.term is None
        assert time.monotonic() - begun < 10


def _envelope(body: Message, job: Job) -> Envelope:
    return Envelope(id="m", time=after(0), source="test", team=job.view.team, body=body, job_id=job.view.id)


async def test_a_planner_that_was_replaced_changes_nothing_that_its_successor_has_planned(
    mongo_url: str, mongo_prefix: str
) -> None:
    with closing(Store(mongo_url, mongo_prefix)) as store:
        jobs = JobStore(store.database("scheduler"), _envelope)
        await jobs.insert(queued())
        # Both decide on the same look at the job; only one of the writes counts.
        seen = await jobs.find("job-1")
        assert seen is not None
        mine, theirs = orders.assign(seen, "t1", after(1), term=1), orders.assign(seen, "t2", after(1), term=2)
        outcomes = await asyncio.gather(jobs.apply(seen, mine), jobs.apply(seen, theirs))
        assert sorted(outcome is not None for outcome in outcomes) == [False, True]
        # The successor plans; the replaced one, on the very newest look, still can't.
        await jobs.insert(queued("job-2"))
        planned = await jobs.decide("job-2", lambda job: orders.assign(job, "t2", after(2), term=2))
        assert await jobs.apply(planned, orders.lost(planned, 1, after(90), term=1)) is None
        lost = await jobs.apply(planned, orders.lost(planned, 1, after(90), term=2))
        assert lost is not None
        assert await jobs.apply(lost, orders.assign(lost, "t1", after(91), term=1)) is None
        with pytest.raises(Retry, match="kept changing"):
            await jobs.decide("job-2", lambda job: orders.assign(job, "t1", after(91), term=1))
        # What was last seen is outdated: a no is only said on the store's own word, and a yes only where it is still so.
        why = Reason(code="lab_hours", message="The lab is closed.")
        with pytest.raises(Stale):
            await jobs.decide("job-2", lambda job: orders.pause(job, 1, after(92), why), known=seen)
        again = await jobs.decide("job-2", lambda job: orders.assign(job, "t3", after(93), term=3), known=planned)
        assert (again.view.attempt, again.view.trainer, again.term) == (2, "t3", 3)


async def test_a_planner_that_was_replaced_gives_up_nothing_that_its_successor_took_over(
    mongo_url: str, mongo_prefix: str
) -> None:
    """It slept, and now takes every trainer for silent. Its successor hasn't touched the running job."""
    with closing(Store(mongo_url, mongo_prefix)) as store:
        jobs = JobStore(store.database("scheduler"), _envelope)
        for job_id in ("running", "ended"):
            await jobs.insert(queued(job_id))
        running = await jobs.decide("running", lambda job: orders.assign(job, "t1", after(1), term=1))
        ended = await jobs.decide("ended", lambda job: orders.stop(job, after(1)))
        await jobs.outrank(2)
        assert await jobs.find("ended") == ended
        assert await jobs.apply(running, orders.lost(running, 1, after(90), term=1)) is None
        newest = await jobs.find("running")
        assert newest is not None
        assert (newest.term, newest.view) == (2, replace(running.view, version=running.view.version + 1))
        assert await jobs.apply(newest, orders.lost(newest, 1, after(90), term=1)) is None
        # Neither does a slower one of an earlier term take it back, nor do facts that were decided on before.
        await jobs.outrank(1)
        assert await jobs.find("running") == newest
        assert await jobs.apply(running, facts.started(running, 1, started())) is None
        told = await jobs.decide("running", lambda job: facts.started(job, 1, started()), known=running)
        assert (told.term, told.view.state) == (2, "RUNNING")
