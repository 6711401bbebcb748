"""The document store: structs as documents and back, guarded updates, indexes, outages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from deploy.local.ports import free_ports
from shared.contract.events import JobChanged, TrainingCheckpointed
from shared.contract.jobs import JobState, Trigger, sources_of
from shared.contract.stream import MetricPoint
from shared.contract.views import JobView
from shared.contract.wire import decode
from shared.runtime.mongo import (
    OUTAGES,
    Collection,
    DuplicateKeyError,
    IndexModel,
    Store,
    ensure_indexes,
    from_document,
    to_document,
)

SAMPLES = Path(__file__).parents[1] / "unit" / "contract" / "samples"


def job() -> JobView:
    body = decode((SAMPLES / "job.changed.v1.json").read_bytes()).body
    assert isinstance(body, JobChanged)
    return body.job


@pytest_asyncio.fixture
async def store_client(mongo_url: str, mongo_prefix: str) -> AsyncIterator[Store]:
    client = Store(mongo_url, mongo_prefix)
    yield client
    client.close()


@pytest.fixture
def jobs(store_client: Store) -> Collection:
    return store_client.database("scheduler")["jobs"]


async def test_a_job_comes_back_as_it_went(jobs: Collection) -> None:
    view = job()
    await jobs.insert_one(to_document(view))
    document = await jobs.find_one({"_id": view.id})
    assert document is not None
    assert "id" not in document
    assert document["state"] == "RUNNING"
    assert document["created_at"] == view.created_at
    assert document["created_at"].tzinfo is not None
    assert from_document(document, JobView) == view


@pytest.mark.parametrize("microsecond", [0, 1000, 250_000, 999_000])
async def test_times_keep_their_milliseconds(jobs: Collection, microsecond: int) -> None:
    view = msgspec.structs.replace(job(), created_at=datetime(2026, 3, 14, 23, 59, 59, microsecond, tzinfo=UTC))
    await jobs.insert_one(to_document(view))
    assert from_document(await jobs.find_one({}) or {}, JobView) == view


async def test_times_of_other_zones_come_back_as_the_same_moment_in_utc(jobs: Collection) -> None:
    local = datetime(2026, 3, 14, 12, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    await jobs.insert_one(to_document(msgspec.structs.replace(job(), created_at=local)))
    created = from_document(await jobs.find_one({}) or {}, JobView).created_at
    assert created == local
    assert created.utcoffset() == timedelta(0)


async def test_fields_of_the_service_s_own_are_passed_over_and_dropped_on_request(jobs: Collection) -> None:
    document = to_document(job(), drop=("notices", "no_such_field"))
    assert "notices" not in document
    await jobs.insert_one({**document, "outbox": [{"id": "m1"}], "lease_until": datetime.now(UTC)})
    assert from_document(await jobs.find_one({}) or {}, JobView) == msgspec.structs.replace(job(), notices=[])


async def test_a_struct_without_an_id_of_its_own_keeps_the_store_s_apart(jobs: Collection) -> None:
    """Metric names carry dots, which older stores refused in field names."""
    fact = decode((SAMPLES / "training.checkpointed.v1.json").read_bytes()).body
    assert isinstance(fact, TrainingCheckpointed)
    point = MetricPoint(
        model_id="j1",
        step=fact.step,
        attempt=1,
        saved_at=fact.saved_at,
        stepping_seconds=fact.stepping_seconds,
        training=fact.training,
        evaluation=fact.evaluation,
    )
    await jobs.insert_one(to_document(point))
    document = await jobs.find_one({})
    assert document is not None
    assert "_id" in document
    assert from_document(document, MetricPoint) == point


async def test_a_document_that_does_not_fit_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="missing required field"):
        from_document({"_id": "j1"}, JobView)


async def test_a_guarded_update_happens_in_the_table_s_states_and_the_right_attempt_alone(jobs: Collection) -> None:
    for state in JobState:
        view = msgspec.structs.replace(job(), id=f"j-{state}", state=state, attempt=2)
        await jobs.insert_one(to_document(view))
    for trigger in Trigger:
        sources = sources_of(trigger)
        for state in JobState:
            for attempt in (1, 2, 3):
                guard = {"_id": f"j-{state}", "state": {"$in": sorted(sources)}, "attempt": attempt}
                result = await jobs.update_one(guard, {"$inc": {"version": 1}})
                assert (result.modified_count == 1) == (state in sources and attempt == 2), (state, trigger, attempt)


async def test_of_two_guarded_updates_one_wins(jobs: Collection) -> None:
    await jobs.insert_one(to_document(job()))
    guard = {"_id": job().id, "version": job().version}
    results = [await jobs.update_one(guard, {"$inc": {"version": 1}, "$set": {"trainer": name}}) for name in "ab"]
    assert [result.modified_count for result in results] == [1, 0]
    document = await jobs.find_one({})
    assert document is not None
    assert document["trainer"] == "a"


async def test_creating_twice_by_id_is_noticed(jobs: Collection) -> None:
    await jobs.insert_one(to_document(job()))
    with pytest.raises(DuplicateKeyError):
        await jobs.insert_one(to_document(job()))


async def test_indexes_are_made_once_and_go_when_nobody_lists_them(jobs: Collection) -> None:
    await ensure_indexes(jobs, [])
    indexes = [IndexModel([("team", 1), ("created_at", -1)], name="list"), IndexModel([("version", 1)], unique=True)]
    for _ in range(2):
        await ensure_indexes(jobs, indexes)
        assert set(await jobs.index_information()) == {"_id_", "list", "version_1"}
    await ensure_indexes(jobs, indexes[:1])
    assert set(await jobs.index_information()) == {"_id_", "list"}


async def test_an_index_that_another_process_has_dropped_is_gone_all_the_same(
    jobs: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ensure_indexes(jobs, [IndexModel([("version", 1)], name="old")])
    seen = await jobs.index_information()
    await jobs.drop_index("old")

    async def before(_: Collection) -> object:
        return seen

    monkeypatch.setattr(type(jobs), "index_information", before)
    await ensure_indexes(jobs, [])
    monkeypatch.undo()
    assert set(await jobs.index_information()) == {"_id_"}


async def test_databases_of_different_services_and_prefixes_are_apart(
    store_client: Store, jobs: Collection, mongo_url: str, mongo_prefix: str
) -> None:
    await jobs.insert_one({"_id": "j1"})
    assert store_client.database("scheduler").name == f"{mongo_prefix}scheduler"
    assert await store_client.database("status")["jobs"].find_one({}) is None
    other = Store(mongo_url, f"{mongo_prefix}2_")
    assert await other.database("scheduler")["jobs"].find_one({}) is None
    other.close()


async def test_a_store_that_is_not_there_is_an_outage(store_client: Store) -> None:
    await store_client.ping()
    (port,) = free_ports(1)
    gone = Store(f"mongodb://127.0.0.1:{port}/?directConnection=true&serverSelectionTimeoutMS=200", "t_")
    with pytest.raises(OUTAGES):
        await gone.ping()
    gone.close()
