"""One contract for the store in memory and the real one: what the services' stores ask of a collection, answered alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from pymongo.errors import DuplicateKeyError, WriteError

from shared.runtime.mongo import ASCENDING, DESCENDING, Collection, Document, IndexModel, Store
from tests.support.memory_store import MemoryStore

NOW = datetime(2026, 3, 14, 12, 0, 0, 123456, tzinfo=UTC)


@pytest_asyncio.fixture(params=["memory", "real"])
async def things(request: pytest.FixtureRequest) -> AsyncIterator[Collection]:
    if request.param == "memory":
        yield MemoryStore().database()["things"]
        return
    client = Store(request.getfixturevalue("mongo_url"), request.getfixturevalue("mongo_prefix"))
    yield client.database("test")["things"]
    client.close()


async def add(things: Collection, *documents: Document) -> None:
    for document in documents:
        await things.insert_one(document)


async def the(things: Collection, identity: str = "a") -> Any:
    return await things.find_one({"_id": identity})


async def ids(things: Collection, where: Document) -> list[str]:
    return sorted([document["_id"] async for document in things.find(where)])


async def test_what_goes_in_comes_out(things: Collection) -> None:
    document = {"_id": "a", "at": NOW, "n": 1, "x": 1.5, "none": None, "data": b"\x00", "view": {"list": [1, "b"]}}
    await add(things, document)
    assert await the(things) == {**document, "at": NOW.replace(microsecond=123000)}
    assert (await the(things))["at"].utcoffset() == timedelta(0)
    assert await the(things, "b") is None
    (await the(things))["view"]["list"].append("c")
    assert (await the(things))["view"]["list"] == [1, "b"]


async def test_an_id_is_taken_once_and_made_where_there_is_none(things: Collection) -> None:
    await add(things, {"_id": "a", "n": 1})
    with pytest.raises(DuplicateKeyError):
        await things.insert_one({"_id": "a", "n": 2})
    assert (await the(things))["n"] == 1
    fresh: Document = {"n": 3}
    result = await things.insert_one(fresh)
    assert fresh["_id"] == result.inserted_id
    assert await things.count_documents({}) == 2


EQUALITY: list[tuple[Document, list[str]]] = [
    ({}, ["a", "b", "c", "d"]),
    ({"_id": "a"}, ["a"]),
    ({"_id": {"$in": ["a", "c", "z"]}}, ["a", "c"]),
    ({"_id": {"$in": []}}, []),
    ({"view.state": "QUEUED"}, ["a", "b"]),
    ({"view.state": {"$in": ["RUNNING", "STOPPED"]}}, ["c"]),
    ({"view.state": {"$ne": "QUEUED"}}, ["c", "d"]),
    ({"view.state": "QUEUED", "term": 2}, ["b"]),
    ({"deleted_at": None}, ["a", "b", "d"]),
    ({"flag": True}, ["a"]),
    ({"flag": 1}, []),
    ({"n": 2.0}, ["b"]),
    ({"tags": "red"}, ["a", "b"]),
    ({"tags": ["red"]}, ["b"]),
    ({"tags": {"$ne": "red"}}, ["c", "d"]),
    ({"members.name": "Ada"}, ["a", "c"]),
    ({"members.name": {"$ne": "Ada"}}, ["b", "d"]),
    ({"members.name": {"$in": ["Ben"]}}, ["a"]),
    ({"members.0": {"$exists": True}}, ["a", "c"]),
    ({"members.1": {"$exists": True}}, ["a"]),
    ({"members.0.name": "Ada"}, ["a", "c"]),
    ({"members.name": None}, ["b"]),
    ({"outbox.id": {"$exists": True}}, ["c"]),
    ({"outbox": {"$exists": False}}, ["a", "d"]),
    ({"view": {"state": "QUEUED"}}, ["a", "b"]),
]
ORDER: list[tuple[Document, list[str]]] = [
    ({"n": {"$gt": 1}}, ["b", "c"]),
    ({"n": {"$gte": 1}}, ["a", "b", "c"]),
    ({"n": {"$lt": 2}}, ["a"]),
    ({"n": {"$lte": 2}}, ["a", "b"]),
    ({"n": {"$gt": 1, "$lt": 3}}, ["b"]),
    ({"at": {"$lt": NOW}}, ["a"]),
    ({"at": {"$gte": NOW.replace(microsecond=0)}}, ["b"]),
    ({"at": {"$gt": 0}}, []),
    ({"n": {"$gt": NOW}}, []),
    ({"term": {"$not": {"$gt": 1}}}, ["a", "c", "d"]),
    ({"term": {"$not": {"$gt": 2}}}, ["a", "b", "c", "d"]),
    ({"members.since": {"$lt": NOW}}, ["a"]),
    ({"tags": {"$gt": "green"}}, ["a", "b"]),
]


@pytest.mark.parametrize(("where", "expected"), EQUALITY + ORDER, ids=str)
async def test_queries(things: Collection, where: Document, expected: list[str]) -> None:
    await add(
        things,
        {
            "_id": "a",
            "view": {"state": "QUEUED"},
            "term": 1,
            "n": 1,
            "flag": True,
            "tags": ["red", "blue"],
            "at": NOW - timedelta(seconds=1),
            "members": [{"name": "Ada", "since": NOW - timedelta(days=1)}, {"name": "Ben", "since": NOW}],
        },
        {"_id": "b", "view": {"state": "QUEUED"}, "term": 2, "n": 2, "tags": ["red"], "at": NOW, "outbox": []},
        {
            "_id": "c",
            "view": {"state": "RUNNING"},
            "n": 3,
            "flag": False,
            "at": None,
            "deleted_at": NOW,
            "members": [{"name": "Ada"}],
            "outbox": [{"id": "m1"}],
        },
        {"_id": "d", "term": 0, "n": None, "members": []},
    )
    assert await ids(things, where) == expected
    assert await things.count_documents(where) == len(expected)


UPDATES: list[tuple[Document, Document]] = [
    ({"$set": {"n": 5}}, {"n": 5}),
    ({"$set": {"view.state": "RUNNING"}}, {"view": {"state": "RUNNING", "version": 1}}),
    ({"$set": {"fresh.deep.x": 1}}, {"fresh": {"deep": {"x": 1}}}),
    ({"$set": {"view": {"state": "STOPPED"}}}, {"view": {"state": "STOPPED"}}),
    ({"$set": {"n": None}}, {"n": None}),
    ({"$inc": {"n": 2, "view.version": 1}}, {"n": 3, "view": {"state": "QUEUED", "version": 2}}),
    ({"$inc": {"count": 1}}, {"count": 1}),
    ({"$inc": {"n": -1.5}}, {"n": -0.5}),
    ({"$push": {"list": 3}}, {"list": [1, 2, 3]}),
    ({"$push": {"list": {"id": 1}}}, {"list": [1, 2, {"id": 1}]}),
    ({"$push": {"list": {"$each": [3, 4]}}}, {"list": [1, 2, 3, 4]}),
    ({"$push": {"list": {"$each": []}}}, {"list": [1, 2]}),
    ({"$push": {"fresh": {"$each": [{"id": 1}]}}}, {"fresh": [{"id": 1}]}),
    ({"$push": {"list": [3]}}, {"list": [1, 2, [3]]}),
    ({"$pull": {"list": 2}}, {"list": [1]}),
    ({"$pull": {"list": 7}}, {"list": [1, 2]}),
    ({"$pull": {"nothing": 7}}, {}),
    ({"$pull": {"entries": {"id": "x"}}}, {"entries": [{"id": "y", "at": NOW.replace(microsecond=123000)}]}),
    ({"$pull": {"entries": {"id": {"$in": ["x", "y", "z"]}}}}, {"entries": []}),
    ({"$pull": {"entries": {"at": {"$lt": NOW - timedelta(seconds=5)}}}},
     {"entries": [{"id": "y", "at": NOW.replace(microsecond=123000)}]}),
    ({"$set": {"n": 5}, "$push": {"list": 3}, "$inc": {"view.version": 1}},
     {"n": 5, "list": [1, 2, 3], "view": {"state": "QUEUED", "version": 2}}),
    ({"$push": {"list": 3}, "$pull": {"entries": {"id": "x"}}},
     {"list": [1, 2, 3], "entries": [{"id": "y", "at": NOW.replace(microsecond=123000)}]}),
]  # fmt: skip


def plain() -> Document:
    entries = [{"id": "x", "at": NOW - timedelta(seconds=9)}, {"id": "y", "at": NOW}]
    return {"_id": "a", "n": 1, "view": {"state": "QUEUED", "version": 1}, "list": [1, 2], "entries": entries}


@pytest.mark.parametrize(("update", "changed"), UPDATES, ids=str)
async def test_updates(things: Collection, update: Document, changed: Document) -> None:
    await add(things, plain())
    before = await the(things)
    result = await things.update_one({"_id": "a"}, update)
    after = await the(things)
    assert after == {**before, **changed}
    assert (result.matched_count, result.modified_count) == (1, int(after != before))
    assert (await things.update_one({"_id": "b"}, update)).matched_count == 0
    assert await things.count_documents({}) == 1


REFUSED: list[Document] = [
    {"$set": {"n": 1}, "$inc": {"n": 1}},
    {"$set": {"view": {}}, "$inc": {"view.version": 1}},
    {"$push": {"list": 1}, "$pull": {"list": 2}},
    {"$push": {"n": 1}},
    {"$inc": {"list": 1}},
    {"$pull": {"n": 1}},
    {"$set": {"_id": "b"}},
    {"$set": {"n.x": 1}},
]


@pytest.mark.parametrize("update", REFUSED, ids=str)
async def test_updates_that_are_refused_change_nothing(things: Collection, update: Document) -> None:
    await add(things, plain())
    before = await the(things)
    with pytest.raises(WriteError):
        await things.update_one({"_id": "a"}, update)
    assert await the(things) == before


async def test_the_guard_of_a_job(things: Collection) -> None:
    await add(things, {"_id": "a", "view": {"version": 3, "attempt": 1, "state": "QUEUED"}, "term": 2})
    guard: Document = {"_id": "a", "view.version": 3, "view.attempt": 1, "view.state": {"$in": ["QUEUED"]}}
    for wrong in ({"view.version": 2}, {"view.attempt": 2}, {"view.state": {"$in": ["RUNNING"]}}):
        assert (await things.update_one({**guard, **wrong}, {"$set": {"x": 1}})).matched_count == 0
    assert (await things.update_one({**guard, "term": {"$not": {"$gt": 1}}}, {"$set": {"x": 1}})).matched_count == 0
    assert (await things.update_one({**guard, "term": {"$not": {"$gt": 2}}}, {"$set": {"x": 1}})).matched_count == 1


async def test_the_element_that_was_asked_for_is_the_one_that_is_set(things: Collection) -> None:
    await add(things, {"_id": "a", "members": [{"name": "Ada", "role": "member"}, {"name": "Ben", "role": "member"}]})
    where = {"_id": "a", "members.name": "Ben"}
    await things.update_one(where, {"$set": {"members.$": {"name": "Ben", "role": "mentor"}}})
    assert [member["role"] for member in (await the(things))["members"]] == ["member", "mentor"]
    where["members.name"] = "Cem"
    assert (await things.update_one(where, {"$set": {"members.$": {}}})).matched_count == 0


async def test_upserts_make_what_was_asked_for(things: Collection) -> None:
    for count, matched in ((1, 0), (2, 1)):
        result = await things.update_one({"_id": "a"}, {"$set": {"x": count}, "$push": {"list": count}}, upsert=True)
        assert (result.matched_count, result.upserted_id) == (matched, None if matched else "a")
    assert await the(things) == {"_id": "a", "x": 2, "list": [1, 2]}
    await things.update_one({"_id": "b", "kind": "k", "n": {"$gt": 1}}, {"$set": {"x": 1}}, upsert=True)
    assert await the(things, "b") == {"_id": "b", "kind": "k", "x": 1}
    with pytest.raises(DuplicateKeyError):
        await things.update_one({"_id": "b", "kind": "another"}, {"$set": {"x": 2}}, upsert=True)
    assert await the(things, "b") == {"_id": "b", "kind": "k", "x": 1}


async def test_many_at_once(things: Collection) -> None:
    marks = [{"at": NOW, "id": number} for number in (1, 2)]
    await add(things, *({"_id": name, "n": n, "list": marks} for n, name in enumerate("abc")))
    result = await things.update_many({"n": {"$gt": 0}}, {"$inc": {"n": 10}, "$pull": {"list": {"at": {"$lt": NOW}}}})
    assert (result.matched_count, result.modified_count) == (2, 2)
    assert await ids(things, {"n": {"$gte": 11}}) == ["b", "c"]
    await things.update_many({"_id": {"$in": ["a", "c", "z"]}}, {"$pull": {"list": {"id": {"$in": [1]}}}})
    assert [len((await the(things, name))["list"]) for name in "abc"] == [1, 2, 1]
    assert (await things.delete_many({"n": {"$gt": 5}})).deleted_count == 2
    assert await ids(things, {}) == ["a"]


async def test_finding_and_updating(things: Collection) -> None:
    await add(things, {"_id": "a", "n": 1, "x": "y"})
    assert await things.find_one_and_update({"_id": "a"}, {"$inc": {"n": 1}}) == {"_id": "a", "n": 1, "x": "y"}
    after = await things.find_one_and_update(
        {"_id": "a"}, {"$inc": {"n": 1}}, return_document=True, projection={"n": 1}
    )
    assert after == {"_id": "a", "n": 3}
    assert await things.find_one_and_update({"_id": "b"}, {"$inc": {"n": 1}}, return_document=True) is None


async def test_sorting_limits_and_projections(things: Collection) -> None:
    await add(
        things,
        {"_id": "a", "view": {"at": NOW, "n": 1, "x": 0}},
        {"_id": "b", "view": {"at": NOW - timedelta(seconds=1), "n": 2}},
        {"_id": "c", "view": {"at": None}},
        {"_id": "d"},
        {"_id": "e", "view": {"at": NOW + timedelta(seconds=1)}},
    )
    some: Document = {"_id": {"$ne": "d"}}
    assert [d["_id"] async for d in things.find(some).sort("view.at", ASCENDING)] == ["c", "b", "a", "e"]
    assert [d["_id"] for d in await things.find(some).sort("view.at", DESCENDING).limit(2).to_list(9)] == ["e", "a"]
    assert len(await things.find({}).to_list(3)) == 3
    assert await things.find({"_id": "a"}, {"view.n": 1}).to_list(1) == [{"_id": "a", "view": {"n": 1}}]
    assert await things.find_one({"_id": "b"}, {"_id": 1}) == {"_id": "b"}
    assert await things.find_one({"_id": "d"}, {"view.n": 1}) == {"_id": "d"}
    assert await things.find_one({"_id": "c"}, {"view.n": 1}) == {"_id": "c", "view": {}}


async def test_indexes_are_named(things: Collection) -> None:
    made = await things.create_indexes([IndexModel([("outbox.id", 1)], name="outbox", sparse=True)])
    assert made == ["outbox"]


@pytest.mark.parametrize(
    ("where", "update"),
    [
        ({"$or": [{"n": 1}]}, {}),
        ({"n": {"$regex": "x"}}, {}),
        ({"n": {"$gt": None}}, {}),
        ({"n": {"$not": 1}}, {}),
        ({}, {"$unset": {"n": ""}}),
        ({}, {"$push": {"list": {"$each": [1], "$slice": 1}}}),
        ({}, {"$pull": {"list": {"$gt": 1}}}),
        ({}, {"$set": {"list.0": 1}}),
    ],
    ids=str,
)
async def test_what_the_memory_does_not_know_it_does_not_answer(where: Document, update: Document) -> None:
    things = MemoryStore().database()["things"]
    await things.insert_one(plain())
    with pytest.raises(NotImplementedError):
        await things.update_one(where, update)
    with pytest.raises(NotImplementedError):
        await things.find_one({}, {"list.n": 1})
