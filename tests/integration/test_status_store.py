"""What folding needs of a store: the same tests on the one in memory, which unit tests use, and on the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast

import pytest
import pytest_asyncio

from services.status.domain import HistoryEntry
from services.status.store import Conflict, LogEntry, StatusStore
from services.status.views import Record, fold
from shared.contract.wire import Envelope
from shared.runtime.clock import SystemClock
from shared.runtime.mongo import Store
from tests.support.status_facts import (
    EVALUATION,
    changed,
    checkpointed,
    dataset_created,
    deleted,
    job,
    minutes,
    queue_moved,
)
from tests.unit.status.memory_store import MemoryStore

AnyStore = StatusStore | MemoryStore


@pytest_asyncio.fixture(params=["memory", "real"])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[AnyStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    connection = Store(request.getfixturevalue("mongo_url"), request.getfixturevalue("mongo_prefix"))
    store = StatusStore(connection.database("status"), SystemClock(), tombstones=timedelta(days=1))
    await store.prepare()
    await store.prepare()  # a later start finds everything there
    yield store
    connection.close()


def view(fact: Envelope) -> tuple[str, Record]:
    record = fold({}, fact).record
    return record.key, record


def told(seq: int) -> LogEntry:
    return LogEntry(id=f"event{seq}", seq=seq, data=f'{{"seq":{seq}}}'.encode())


async def test_views_come_back_as_they_were(kept: AnyStore) -> None:
    facts = [changed(job("m1")), deleted("m2"), dataset_created(), queue_moved("m1"), minutes()]
    records = dict(map(view, facts))
    await kept.write({name: (None, record) for name, record in records.items()})
    await kept.write({name: (None, record) for name, record in [view(changed(job(team="theirs"), team="theirs"))]})
    assert (await kept.load("demo")).records == records


async def test_metrics_keep_names_that_a_document_could_not(kept: AnyStore) -> None:
    name, record = view(checkpointed())
    await kept.write({name: (None, record)})
    assert await kept.metrics_by_key([name, "metric:demo:none"]) == {name: record}
    assert await kept.metrics_by_key([]) == {}
    assert all(metric.encode() in cast(bytes, record.data) for metric in EVALUATION)
    assert not (await kept.load("demo")).records


@pytest.mark.parametrize("before", [None, "another"])
async def test_a_view_is_replaced_only_as_it_was_read(kept: AnyStore, before: str | None) -> None:
    name, first = view(changed(job(version=1)))
    _, second = view(changed(job(version=2)))
    await kept.write({name: (None, first)})
    with pytest.raises(Conflict):
        await kept.write({name: (before, second)})
    assert (await kept.load("demo")).records[name] == first
    await kept.write({name: (first.event, second)})
    assert (await kept.load("demo")).records[name] == second


async def test_the_log_takes_a_number_and_an_event_once(kept: AnyStore) -> None:
    await kept.append("demo", [])
    await kept.append("demo", [told(1), told(2)])
    with pytest.raises(Conflict):
        await kept.append("demo", [LogEntry(id="new", seq=2, data=b"{}")])
    with pytest.raises(Conflict):
        await kept.append("demo", [LogEntry(id="event1", seq=3, data=b"{}")])
    await kept.append("theirs", [LogEntry(id="elsewhere", seq=2, data=b"{}")])
    assert await kept.logged(["event1", "event2", "new"]) == {"event1", "event2"}
    assert await kept.logged([]) == set()


async def test_the_log_is_read_in_order_or_not_at_all(kept: AnyStore) -> None:
    await kept.append("demo", [told(seq) for seq in range(1, 13)])
    assert await kept.log("demo", 8, 11) == [told(seq).data for seq in (9, 10, 11)]
    assert (await kept.load("demo")).last == 12
    assert await kept.trim("demo", 4) == 4
    assert [await kept.has_logged("demo", seq) for seq in (4, 5, 12, 13)] == [False, True, True, False]
    with pytest.raises(Conflict):
        await kept.log("demo", 3, 12)


async def test_an_epoch_lasts_as_long_as_the_log(kept: AnyStore) -> None:
    empty = await kept.load("demo")
    await kept.append("demo", [told(1)])
    epoch = (await kept.load("demo")).epoch
    assert (await kept.load("demo")).epoch == epoch
    await kept.trim("demo", 1)
    assert len({empty.epoch, epoch, (await kept.load("demo")).epoch}) >= 2
    assert (await kept.load("theirs")).epoch != epoch


async def test_a_deleted_model_takes_metrics_and_story_with_it(kept: AnyStore) -> None:
    for model in ("m1", "m2"):
        name, record = view(checkpointed(model))
        await kept.write({name: (None, record)})
        entry = fold({}, changed(job(model))).history
        await kept.add_history("demo", [(model, cast(HistoryEntry, entry))])
        await kept.add_history("demo", [(model, cast(HistoryEntry, entry))])
    await kept.forget_models("demo", [])
    await kept.forget_models("demo", ["m1"])
    names = [view(checkpointed(model))[0] for model in ("m1", "m2")]
    assert list(await kept.metrics_by_key(names)) == [names[1]]
    if isinstance(kept, StatusStore):
        assert [len(await kept.history("demo", model)) for model in ("m1", "m2")] == [0, 1]
