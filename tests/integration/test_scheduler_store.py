"""The scheduler's jobs in the store: the lists that a job is on, and those of jobs from before there were any."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from msgspec.structs import replace

from services.scheduler import orders
from services.scheduler.domain import Child, Job
from services.scheduler.store import JobStore
from shared.contract.jobs import JobState
from shared.runtime.mongo import IndexModel, Store
from tests.unit.scheduler.samples import NOW, about, after, in_state, queued


@pytest_asyncio.fixture
async def jobs(mongo_url: str, mongo_prefix: str) -> AsyncIterator[JobStore]:
    client = Store(mongo_url, mongo_prefix)
    yield JobStore(client.database("scheduler"), about)
    client.close()


def later(job_id: str, *, when_room: bool = False, **fields: object) -> Job:
    """One that was refused."""
    job = in_state(queued(job_id), JobState.TRY_AGAIN_LATER)
    return replace(job, view=replace(job.view, when_room=when_room), **fields)


async def some(jobs: JobStore) -> None:
    """One of each list, and some that are on none."""
    for job in (
        queued("waits"),
        later("refused"),
        later("for room", when_room=True),
        later("for room, deleted", when_room=True, deleted_at=NOW),
        later("tried", kept_at=NOW),
        later("to release", to_release=True),
        replace(in_state(queued("parent"), JobState.SUCCEEDED), children=[Child(id="child", at=NOW)]),
    ):
        assert await jobs.insert(job)


async def lists(jobs: JobStore) -> dict[str, list[str]]:
    return {
        "room": [job.view.id for job in await jobs.for_room()],
        "kept": await jobs.abandoned(after(1)),
        "release": sorted(job.view.id for job in await jobs.to_release()),
        "children": [job.view.id for job in await jobs.parents()],
    }


ALL = {"room": ["for room"], "kept": ["tried"], "release": ["to release"], "children": ["parent"]}


async def test_a_job_is_on_a_list_while_it_belongs_there(jobs: JobStore) -> None:
    await jobs.prepare()
    await some(jobs)
    assert await lists(jobs) == ALL
    assert await jobs.begin_release((await jobs.to_release())[0])
    assert await lists(jobs) == ALL
    await jobs.released("to release")
    await jobs.decide("tried", orders.let_claims_go)
    await jobs.decide("for room", lambda job: orders.delete(job, NOW))
    await jobs.decide("parent", lambda job: orders.release_child(job, "child"))
    assert await lists(jobs) == {"room": [], "kept": [], "release": ["for room", "tried"], "children": []}


async def test_jobs_from_before_there_were_lists_are_put_on_them(jobs: JobStore) -> None:
    await some(jobs)
    await jobs.collection.update_many({}, {"$unset": {"lists": ""}})
    await jobs.collection.create_indexes([IndexModel([("to_release", 1)], name="release")])
    assert not any((await lists(jobs)).values())
    for _ in range(2):
        await jobs.prepare()
        assert await lists(jobs) == ALL
        assert set(await jobs.collection.index_information()) == {"_id_", "lists", "outbox", "state", "team"}
