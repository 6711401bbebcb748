"""A document store in memory: the few calls and operators that our stores use, at the seam of the client library.

A `MemoryStore` is the world's one store; each process gets a `MemoryDatabase` on it, with a hook that its faults go through.
Documents go through BSON as in the real one, so times lose their microseconds here too. What isn't known here raises
NotImplementedError, never a wrong answer; tests/integration/test_memory_store.py holds it against the real store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from bson.objectid import ObjectId
from pymongo.errors import DuplicateKeyError

from shared.runtime.mongo import Database, Document, IndexModel
from tests.support.documents import copied, is_condition, matches, projected, sort_key, through_bson, updated

Moment = Literal["before", "after"]
# Called around each operation with its name and collection: where it raises, the operation fails there.
Hook = Callable[[Moment, str, str], Awaitable[None]]
WRITES = frozenset({"insert_one", "update_one", "update_many", "delete_many", "find_one_and_update"})


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
        return [copied(document) for document in self.collections.get(collection, {}).values()]

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

    async def index_information(self) -> Document:
        """None: whatever is looked for is found without."""
        return {}

    async def insert_one(self, document: Document) -> Result:
        document.setdefault("_id", ObjectId())
        fresh = through_bson(document)
        await self._hook("before", "insert_one", self.name)
        if fresh["_id"] in self._documents:
            raise DuplicateKeyError(f"E11000 duplicate key: {fresh['_id']!r}", 11000)
        self._documents[fresh["_id"]] = fresh
        await self._hook("after", "insert_one", self.name)
        return Result(inserted_id=fresh["_id"])

    async def find_one(self, where: Document, projection: Document | None = None) -> Document | None:
        await self._hook("before", "find_one", self.name)
        return next((projected(document, projection) for document in self._matching(where)), None)

    def find(self, where: Document, projection: Document | None = None) -> MemoryCursor:
        return MemoryCursor(self, where, projection)

    async def count_documents(self, where: Document) -> int:
        await self._hook("before", "count_documents", self.name)
        return sum(1 for _ in self._matching(where))

    async def update_one(self, where: Document, update: Document, *, upsert: bool = False) -> Result:
        return await self._update("update_one", where, update, upsert=upsert)

    async def update_many(self, where: Document, update: Document) -> Result:
        """Each document for itself: what strikes in between leaves the others as they were."""
        await self._hook("before", "update_many", self.name)
        matched = modified = 0
        for identity in [document["_id"] for document in self._matching(where)]:
            result = await self._update("update_many", {**where, "_id": identity}, update, upsert=False)
            matched += result.matched_count
            modified += result.modified_count
        return Result(matched_count=matched, modified_count=modified)

    async def find_one_and_update(
        self, where: Document, update: Document, *, projection: Document | None = None, return_document: bool = False
    ) -> Document | None:
        await self._hook("before", "find_one_and_update", self.name)
        found = next(iter(self._matching(where)), None)
        result = None
        if found is not None:
            after = updated(found, where, update)
            self._documents[found["_id"]] = after
            result = projected(after if return_document else found, projection)
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
        return [projected(document, projection) for document in self._matching(where)]

    async def _update(self, operation: str, where: Document, update: Document, *, upsert: bool) -> Result:
        await self._hook("before", operation, self.name)
        before = next(self._matching(where), None)
        modified, identity = 0, None
        if before is not None:
            after = updated(before, where, update)
            modified = int(after != before)
            self._documents[before["_id"]] = after
        elif upsert:
            plain = {path: value for path, value in where.items() if not is_condition(value)}
            fresh = updated({}, where, {"$set": plain} if plain else {})
            fresh = updated({"_id": fresh.pop("_id", ObjectId()), **fresh}, where, update)
            identity = fresh["_id"]
            if identity in self._documents:
                raise DuplicateKeyError(f"E11000 duplicate key: {identity!r}", 11000)
            self._documents[identity] = fresh
        await self._hook("after", operation, self.name)
        return Result(matched_count=int(before is not None), modified_count=modified, upserted_id=identity)

    def _matching(self, where: Document) -> Iterator[Document]:
        query = through_bson(where)
        # The index that every store has.
        identity = query.get("_id")
        if identity is not None and not is_condition(identity):
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
            found.sort(key=lambda document: sort_key(document, path), reverse=direction < 0)
        found = found[: self._limit or None][:length]
        return [projected(document, self._projection) for document in found]

    async def __aiter__(self) -> AsyncIterator[Document]:
        for document in await self.to_list():
            yield document


async def _no_fault(_: Moment, __: str, ___: str) -> None:
    await asyncio.sleep(0)
