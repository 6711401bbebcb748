"""A team's accounts in memory: never more to spend than there is, whatever another scheduler does meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from services.scheduler import budget
from services.scheduler.books import Books
from services.scheduler.domain import Change, Job
from services.scheduler.store import JobStore
from services.scheduler.teams import TeamStore
from shared.contract.jobs import JobState
from tests.support.memory_store import MemoryStore
from tests.unit.scheduler.samples import NOW, about, in_state, queued

GRANTED = 1000


class Place:
    """One scheduler's view of the teams, on a store that it shares."""

    def __init__(self, store: MemoryStore) -> None:
        database = store.database()
        self.jobs = JobStore(database, about)
        self.books = Books(self.jobs)
        self.teams = TeamStore(database, self.jobs, self.books, GRANTED)

    async def left(self, *, afresh: bool = False) -> int:
        return (await self.teams.look("demo", NOW, afresh=afresh)).left

    async def reserve(self, job_id: str, seconds: int) -> bool:
        look = await self.teams.look("demo", NOW)
        return look.left >= seconds and await self.teams.reserve("demo", job_id, seconds, NOW, look)

    async def insert(self, job_id: str, seconds: int) -> Job:
        job = replace(queued(job_id), ledger=[budget.reservation(job_id, seconds, NOW)])
        assert await self.jobs.insert(job)
        self.books.wrote(job)
        return job


@pytest.fixture
def places() -> Callable[[], Place]:
    store = MemoryStore()
    return lambda: Place(store)


async def test_what_was_reserved_here_is_not_read_again(places: Callable[[], Place]) -> None:
    here = places()
    assert await here.left() == GRANTED
    reads: list[str] = []
    accounts = here.jobs.accounts

    async def counted(team: str) -> object:
        reads.append(team)
        return await accounts(team)

    here.jobs.accounts = counted  # type: ignore[method-assign, assignment]
    for number in range(3):
        assert await here.reserve(f"j{number}", 100)
        assert await here.left() == GRANTED - 100 * (number + 1)
        await here.insert(f"j{number}", 100)
        assert await here.left() == GRANTED - 100 * (number + 1)
    assert reads == []
    # The announcements of those that have their lines went with the next one.
    assert [one["job_id"] for one in (await here.teams.look("demo", NOW)).pending] == []
    assert await here.left(afresh=True) == GRANTED - 300
    assert reads == ["demo"]


async def test_what_another_scheduler_takes_counts_at_every_moment(places: Callable[[], Place]) -> None:
    here, there = places(), places()
    assert await here.left() == await there.left() == GRANTED
    stale = await here.teams.look("demo", NOW)
    assert await there.reserve("theirs", 700)
    # Not on a look from before.
    assert not await here.teams.reserve("demo", "ours", 700, NOW, stale)
    assert await here.left() == 300
    await there.insert("theirs", 700)
    assert await here.left() == 300
    assert not await here.reserve("ours", 301)
    # Their next reservation drops the announcement: by now the line is there to be read.
    assert await there.reserve("more", 100)
    assert await here.left() == 200
    await there.insert("more", 100)
    assert await here.left() == 200


async def test_what_another_scheduler_gave_back_is_missing_until_the_store_is_asked(
    places: Callable[[], Place],
) -> None:
    here, there = places(), places()
    assert await here.reserve("a", 700)
    job = await here.insert("a", 700)
    ended = replace(
        job,
        view=replace(job.view, version=2, state=JobState.CANCELED),
        ledger=[*job.ledger, *budget.settlement("a", 700, 0, NOW)],
    )
    await there.jobs.collection.update_one(
        {"_id": "a"},
        {"$set": {"view.state": "CANCELED", "view.version": 2, "ledger": [{"kind": "refund", "seconds": 0}]}},
    )
    assert await here.left() == 300
    assert await here.left(afresh=True) == GRANTED
    # An older word about it changes nothing.
    here.books.wrote(ended)
    here.books.wrote(job)
    look = await here.teams.look("demo", NOW)
    assert (look.left, look.jobs) == (GRANTED, 0)


async def test_minutes_that_are_told_by_what_is_remembered_are_those_of_the_store(
    places: Callable[[], Place],
) -> None:
    here, there = places(), places()
    for number, used in enumerate((40, 0, 250)):
        assert await here.reserve(f"j{number}", 300)
        job = await here.insert(f"j{number}", 300)
        lines = [*job.ledger, *budget.settlement(job.view.id, 300, used, NOW)]
        change = Change(job=replace(in_state(job, JobState.STOPPED), ledger=lines), cause="stopped")
        after = await here.jobs.apply(job, change)
        assert after is not None
        here.books.wrote(after)
    assert await here.reserve("j9", 100)
    await here.insert("j9", 100)
    remembered = await here.teams.view("demo", NOW, afresh=False)
    assert (remembered.used_seconds, remembered.reserved_seconds) == (290, 100)
    assert remembered.balance_seconds == GRANTED - 390
    assert replace(await there.teams.view("demo", NOW), version=remembered.version) == remembered
    # What another one gives back is missing, until the store is asked.
    await there.jobs.collection.update_one({"_id": "j9"}, {"$set": {"ledger": [], "view.version": 2}})
    assert (await here.teams.view("demo", NOW, afresh=False)).reserved_seconds == 100
    assert (await here.teams.view("demo", NOW)).reserved_seconds == 0
    assert (await here.teams.view("demo", NOW, afresh=False)).reserved_seconds == 0


async def test_whoever_begins_to_plan_forgets_what_it_remembered_of_all_teams(places: Callable[[], Place]) -> None:
    here = places()
    assert await here.reserve("j1", 100)
    await here.insert("j1", 100)
    await here.jobs.collection.update_one({"_id": "j1"}, {"$set": {"ledger": []}})
    assert (await here.teams.view("demo", NOW, afresh=False)).reserved_seconds == 100
    here.books.forget()
    assert (await here.teams.view("demo", NOW, afresh=False)).reserved_seconds == 0


async def test_a_reservation_whose_job_never_came_is_withdrawn_by_whoever_made_it(
    places: Callable[[], Place],
) -> None:
    here, there = places(), places()
    assert await here.reserve("twice", 400)
    assert await there.reserve("twice", 400)
    assert await here.left() == 200
    await here.teams.withdraw("demo", "twice")
    # The same request goes on at the other one.
    assert await here.left() == 600
    await there.insert("twice", 400)
    assert await here.left(afresh=True) == 600
