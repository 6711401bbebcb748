"""A document store in memory: the few calls and operators that our stores use, at the seam of the client library.

A `MemoryStore` is the world's one store; each process gets a `MemoryDatabase` on it, with a hook that its faults go through.
Documents go through BSON as in the real one, so times lose their microseconds here too. What isn't known here raises
NotImplementedError, never a wrong answer; tests/integration/test_memory_store.py holds it against the real store.
"""

from __future__ import annotations

import asyncio
import operator as op
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

import bson
from bson.codec_options import CodecOptions
from bson.objectid import ObjectId
from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError, WriteError

from shared.runtime.mongo import Database, Document

Moment = Literal["before", "after"]
# Called around each operation with its name and collection: where it raises, the operation fails there.
Hook = Callable[[Moment, str, str], Awaitable[None]]
WRITES = frozenset({"insert_one", "update_one", "update_many", "delete_many", "find_one_and_update"})

_CODEC: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
_MISSING: Any = object()


@dataclass(frozen=True)
class Result:
    """What the client library's result objects tell."""

    matched_count: int = 0
    modified_count: int = 0
    deleted_count: int = 0
    upserted_id: Any = None
    inserted_id: Any = None


class MemoryStore:
    """The documents of all collections, by `_id` in the order of their insertion."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[Any, Document]] = {}

    def documents(self, collection: str) -> list[Document]:
        """All documents of a collection, to look at."""
        return [_copy(document) for document in self.collections.get(collection, {}).values()]

    def database(self, hook: Hook | None = None) -> Database:
        """A connection, as what the services take for one."""
        return cast(Database, MemoryDatabase(self, hook))


class MemoryDatabase:
    """One process's connection to the store."""

    def __init__(self, store: MemoryStore, hook: Hook | None = None) -> None:
        self._store = store
        self._hook = hook or _no_fault

    def __getitem__(self, name: str) -> MemoryCollection:
        return MemoryCollection(name, self._store.collections.setdefault(name, {}), self._hook)


class MemoryCollection:
    """One collection. Each operation happens at once, between two moments at which other tasks run and faults strike."""

    def __init__(self, name: str, documents: dict[Any, Document], hook: Hook) -> None:
        self.name = name
        self._documents = documents
        self._hook = hook

    async def create_indexes(self, indexes: Sequence[IndexModel]) -> list[str]:
        if any(index.document.get("unique") for index in indexes):
            raise NotImplementedError("unique indexes")
        await self._hook("before", "create_indexes", self.name)
        return [str(index.document["name"]) for index in indexes]

    async def insert_one(self, document: Document) -> Result:
        document.setdefault("_id", ObjectId())
        fresh = _through_bson(document)
        await self._hook("before", "insert_one", self.name)
        if fresh["_id"] in self._documents:
            raise DuplicateKeyError(f"E11000 duplicate key: {fresh['_id']!r}", 11000)
        self._documents[fresh["_id"]] = fresh
        await self._hook("after", "insert_one", self.name)
        return Result(inserted_id=fresh["_id"])

    async def find_one(self, where: Document, projection: Document | None = None) -> Document | None:
        await self._hook("before", "find_one", self.name)
        return next((_projected(document, projection) for document in self._matching(where)), None)

    def find(self, where: Document, projection: Document | None = None) -> MemoryCursor:
        return MemoryCursor(self, where, projection)

    async def count_documents(self, where: Document) -> int:
        await self._hook("before", "count_documents", self.name)
        return sum(1 for _ in self._matching(where))

    async def update_one(self, where: Document, update: Document, *, upsert: bool = False) -> Result:
        return await self._update("update_one", where, update, upsert=upsert, most=1)

    async def update_many(self, where: Document, update: Document) -> Result:
        return await self._update("update_many", where, update, upsert=False, most=None)

    async def find_one_and_update(
        self, where: Document, update: Document, *, projection: Document | None = None, return_document: bool = False
    ) -> Document | None:
        await self._hook("before", "find_one_and_update", self.name)
        found = next(iter(self._matching(where)), None)
        result = None
        if found is not None:
            after = updated(found, where, update)
            self._documents[found["_id"]] = after
            result = _projected(after if return_document else found, projection)
        await self._hook("after", "find_one_and_update", self.name)
        return result

    async def delete_many(self, where: Document) -> Result:
        await self._hook("before", "delete_many", self.name)
        gone = [document["_id"] for document in self._matching(where)]
        for identity in gone:
            del self._documents[identity]
        await self._hook("after", "delete_many", self.name)
        return Result(deleted_count=len(gone))

    async def look(self, where: Document, projection: Document | None) -> list[Document]:
        """All that matches, in the order of insertion, for a cursor."""
        await self._hook("before", "find", self.name)
        return [_projected(document, projection) for document in self._matching(where)]

    async def _update(
        self, operation: str, where: Document, update: Document, *, upsert: bool, most: int | None
    ) -> Result:
        await self._hook("before", operation, self.name)
        found = list(self._matching(where))[:most]
        modified, identity = 0, None
        for before in found:
            after = updated(before, where, update)
            modified += after != before
            self._documents[before["_id"]] = after
        if not found and upsert:
            plain = {path: value for path, value in where.items() if not _is_condition(value)}
            fresh = updated({}, where, {"$set": plain} if plain else {})
            fresh = updated({"_id": fresh.pop("_id", ObjectId()), **fresh}, where, update)
            identity = fresh["_id"]
            self._documents[identity] = fresh
        await self._hook("after", operation, self.name)
        return Result(matched_count=len(found), modified_count=modified, upserted_id=identity)

    def _matching(self, where: Document) -> Iterator[Document]:
        query = _through_bson(where)
        # The index that every store has.
        identity = query.get("_id", _MISSING)
        if identity is not _MISSING and not _is_condition(identity):
            known = self._documents.get(identity)
            candidates: Iterable[Document] = () if known is None else (known,)
        else:
            candidates = list(self._documents.values())
        return (document for document in candidates if matches(document, query))


class MemoryCursor:
    """What `find` gives: it looks when it is first read."""

    def __init__(self, collection: MemoryCollection, where: Document, projection: Document | None) -> None:
        self._collection = collection
        self._where = where
        self._projection = projection
        self._sort: tuple[str, int] | None = None
        self._limit = 0

    def sort(self, path: str, direction: int) -> MemoryCursor:
        self._sort = path, direction
        return self

    def limit(self, count: int) -> MemoryCursor:
        self._limit = count
        return self

    async def to_list(self, length: int | None = None) -> list[Document]:
        found = await self._collection.look(self._where, None)
        if self._sort is not None:
            path, direction = self._sort
            found.sort(key=lambda document: _sort_key(document, path), reverse=direction < 0)
        found = found[: self._limit or None][:length]
        return [_projected(document, self._projection) for document in found]

    async def __aiter__(self) -> AsyncIterator[Document]:
        for document in await self.to_list():
            yield document


# --- queries -------------------------------------------------------------------------------------------------------------


def matches(document: Document, query: Mapping[str, Any]) -> bool:
    """Whether the document is one of those that the query asks for."""
    return all(_holds(list(_values(document, path.split("."))), path, condition) for path, condition in query.items())


def _holds(values: list[Any], path: str, condition: Any) -> bool:
    if path.startswith("$"):
        raise NotImplementedError(f"{path} at the top of a query")
    if not _is_condition(condition):
        return _any_equal(values, condition)
    return all(_compare(values, operator, operand) for operator, operand in condition.items())


def _compare(values: list[Any], operator: str, operand: Any) -> bool:
    match operator:
        case "$in":
            return any(_any_equal(values, one) for one in operand)
        case "$ne":
            return not _any_equal(values, operand)
        case "$exists":
            return any(value is not _MISSING for value in values) == bool(operand)
        case "$not":
            if not _is_condition(operand):
                raise NotImplementedError("$not of a value")
            return not all(_compare(values, inner, wanted) for inner, wanted in operand.items())
        case "$gt" | "$gte" | "$lt" | "$lte":
            return any(_in_order(value, operator, operand) for value in values)
        case _:
            raise NotImplementedError(f"{operator} in a query")


def _in_order(value: Any, operator: str, operand: Any) -> bool:
    """Only values of one kind are compared: nothing is less than a time but another time."""
    if _kind(operand) not in ("number", "text", "time"):
        raise NotImplementedError(f"{operator} {operand!r}")
    if value is _MISSING or _kind(value) != _kind(operand):
        return False
    compare = {"$gt": op.gt, "$gte": op.ge, "$lt": op.lt, "$lte": op.le}[operator]
    return bool(compare(value, operand))


def _any_equal(values: list[Any], wanted: Any) -> bool:
    if wanted is None:
        return any(value is None or value is _MISSING for value in values)
    return any(value is not _MISSING and _kind(value) == _kind(wanted) and value == wanted for value in values)


def _values(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """What a dotted path leads to: an array leads to itself and to each of its elements."""
    if not path:
        yield value
        if isinstance(value, list):
            yield from value
        return
    name, rest = path[0], path[1:]
    if isinstance(value, dict):
        if name in value:
            yield from _values(value[name], rest)
        else:
            yield _MISSING
    elif isinstance(value, list):
        if name.isdecimal():
            yield from _values(value[int(name)], rest) if int(name) < len(value) else (_MISSING,)
        for element in value:
            if isinstance(element, dict) and not name.isdecimal():
                yield from _values(element, path)
    else:
        yield _MISSING


def _is_condition(value: Any) -> bool:
    return isinstance(value, dict) and any(str(name).startswith("$") for name in value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "time" if isinstance(value, datetime) else type(value).__name__


def _sort_key(document: Document, path: str) -> tuple[int, Any]:
    value = next(_values(document, path.split(".")))
    if value is None or value is _MISSING:
        return 0, 0
    return 1 + ("number", "text", "time").index(_kind(value)), value


def _projected(document: Document, projection: Document | None) -> Document:
    if not projection:
        return dict(_copy(document))
    if any(wanted != 1 for wanted in projection.values()):
        raise NotImplementedError(f"projection {projection}")
    result: Document = {"_id": document["_id"]}
    for path in projection:
        *parents, name = path.split(".")
        source, target = document, result
        for parent in parents:
            if parent not in source:
                break
            source, target = source[parent], target.setdefault(parent, {})
        else:
            if name in source:
                target[name] = _copy(source[name])
    return result


# --- updates -------------------------------------------------------------------------------------------------------------


def updated(document: Document, where: Document, update: Mapping[str, Any]) -> Document:
    """The document after an update; `where` tells which element `$` means."""
    after: Document = _copy(document)
    touched: list[str] = []
    for operator, fields in update.items():
        for path, operand in _through_bson(fields).items():
            if any(f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.") for other in touched):
                raise WriteError(f"Updating the path {path!r} would create a conflict", 40)
            touched.append(path)
            parent, name = _place(after, path, where)
            _apply(operator, parent, name, operand)
    if document:
        _same_id(document, after)
    return after


def _apply(operator: str, parent: Any, name: Any, operand: Any) -> None:
    there = parent[name] if isinstance(parent, list) else parent.get(name, _MISSING)
    match operator:
        case "$set":
            parent[name] = operand
        case "$inc":
            if there is not _MISSING and _kind(there) != "number":
                raise WriteError(f"Cannot apply $inc to {name!r}, which is no number", 14)
            parent[name] = operand + (0 if there is _MISSING else there)
        case "$push":
            if there is not _MISSING and not isinstance(there, list):
                raise WriteError(f"The field {name!r} must be an array", 2)
            if _is_condition(operand) and operand.keys() != {"$each"}:
                raise NotImplementedError(f"$push with {sorted(operand)}")
            more = operand["$each"] if _is_condition(operand) else [operand]
            parent[name] = ([] if there is _MISSING else there) + more
        case "$pull":
            if there is _MISSING:
                return
            if not isinstance(there, list):
                raise WriteError("Cannot apply $pull to a non-array value", 2)
            parent[name] = [element for element in there if not _pulled(element, operand)]
        case _:
            raise NotImplementedError(f"{operator} in an update")


def _pulled(element: Any, condition: Any) -> bool:
    if _is_condition(condition):
        raise NotImplementedError("$pull of values by an operator")
    if isinstance(condition, dict):
        return isinstance(element, dict) and matches(element, condition)
    return _any_equal([element], condition)


def _place(document: Document, path: str, where: Document) -> tuple[Any, Any]:
    """The innermost container of a path, made where it isn't there, and the last name."""
    *parents, last = path.split(".")
    place: Any = document
    for parent in parents:
        place = place.setdefault(parent, {}) if isinstance(place, dict) else place[int(parent)]
    if last == "$":
        array = ".".join(parents)
        asked = {key[len(array) + 1 :]: value for key, value in where.items() if key.startswith(f"{array}.")}
        return place, next(index for index, element in enumerate(place) if matches(element, asked))
    if isinstance(place, list):
        raise NotImplementedError(f"an element of an array by {path!r}")
    if not isinstance(place, dict):
        raise WriteError(f"Cannot create field {last!r} in an element that is no document", 28)
    return place, last


def _same_id(before: Document, after: Document) -> None:
    if after.get("_id", before["_id"]) != before["_id"]:
        raise WriteError("the (immutable) field '_id' was found to have been altered", 66)


def _through_bson(document: Mapping[str, Any]) -> Document:
    return bson.decode(bson.encode(document), _CODEC)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_copy(inner) for inner in value]
    return value


async def _no_fault(_: Moment, __: str, ___: str) -> None:
    await asyncio.sleep(0)
