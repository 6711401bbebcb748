"""All teams at a glance: what the store sums up is what each team's own statement says."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from msgspec.structs import replace

from services.scheduler import budget
from services.scheduler.books import Books
from services.scheduler.domain import Job
from services.scheduler.members import MemberStore
from services.scheduler.store import JobStore
from services.scheduler.teams import TeamStore
from shared.contract.api.teams import Member, Pause
from shared.contract.events import Message
from shared.contract.wire import Envelope
from shared.runtime.mongo import Store
from tests.unit.scheduler.samples import NOW, queued

GRANTED = 7200


def envelope(body: Message, team: str) -> Envelope:
    return Envelope(id=uuid.uuid4().hex, time=NOW, source="scheduler", team=team, body=body)


class Shelf:
    """The scheduler's stores on one database."""

    def __init__(self, store: Store) -> None:
        database = store.database("scheduler")
        self.jobs = JobStore(database, lambda body, job: envelope(body, job.view.team))
        self.teams = TeamStore(database, self.jobs, Books(self.jobs), GRANTED)
        self.members = MemberStore(self.teams, envelope)


@pytest_asyncio.fixture
async def books(mongo_url: str, mongo_prefix: str) -> AsyncIterator[Shelf]:
    client = Store(mongo_url, mongo_prefix)
    yield Shelf(client)
    client.close()


def some_job(team: str, chance: random.Random) -> Job:
    """One that waits, one that ended, or one that was refused and has no line."""
    job = queued(uuid.uuid4().hex, team)
    reserved, used = chance.randrange(60, 900), chance.randrange(0, 60)
    lines = [budget.reservation(job.view.id, reserved, NOW), *budget.settlement(job.view.id, reserved, used, NOW)]
    return replace(job, ledger=lines[: chance.choice((0, 1, 3))])


async def test_the_sums_are_those_of_each_team_s_own_lines(books: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    names = [f"team {number}" for number in range(8)]
    for name in names:
        await books.teams.load(name, NOW)
        for _ in range(chance.randrange(0, 9)):
            assert await books.jobs.insert(some_job(name, chance))
    views = [await books.teams.view(name, NOW) for name in names]
    assert len({view.balance_seconds for view in views}) > 1
    assert any(view.used_seconds and view.reserved_seconds for view in views)
    for name in ("lines", "accounts"):  # what reads jobs
        monkeypatch.delattr(JobStore, name)
    assert [summary.minutes for summary in await books.teams.summaries(NOW)] == views


async def test_members_and_pauses_are_told_with_them(books: Shelf) -> None:
    assert await books.teams.summaries(NOW) == []
    for name in ("a", "b"):
        await books.teams.load(name, NOW)
    member = Member(name="Bo", role="member", added_at=NOW, added_by="Ada")
    await books.members.put("b", member, NOW)
    own = Pause(by="Op", at=NOW, message="own", until=NOW + timedelta(hours=1))
    await books.teams.pause("a", own)
    assert [(one.minutes.team, one.members, one.pause) for one in await books.teams.summaries(NOW)] == [
        ("a", 0, own),
        ("b", 1, None),
    ]
    everybodys = Pause(by="Op", at=NOW, message="all")
    await books.teams.pause(None, everybodys)
    assert [one.pause for one in await books.teams.summaries(NOW)] == [everybodys, everybodys]
    await books.teams.pause(None, None)
    later = datetime(2027, 1, 1, tzinfo=UTC)
    assert [one.pause for one in await books.teams.summaries(later)] == [None, None]
