"""The document store: the only place that builds a client.

Owns the client's options, the codec between structs and documents, indexes, and what counts as an outage. Motor reached its
end of life upstream; a move to PyMongo's own asynchronous client, which has the same calls, changes this file alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import ASCENDING, DESCENDING, DeleteMany, IndexModel, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, WTimeoutError

Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Document]
Database = AsyncIOMotorDatabase[Document]

# The store can't be reached or answers that it can't write now: try again, nothing is wrong with the message.
OUTAGES: tuple[type[Exception], ...] = (ConnectionFailure, WTimeoutError)

# The client library's own names that stores need: they come from here, so that a change of client is this file's alone.
__all__ = [
    "ASCENDING",
    "DESCENDING",
    "OUTAGES",
    "BulkWriteError",
    "Collection",
    "Database",
    "DeleteMany",
    "Document",
    "DuplicateKeyError",
    "IndexModel",
    "InsertOne",
    "ReplaceOne",
    "Store",
    "UpdateOne",
    "ensure_indexes",
    "from_document",
    "to_document",
]

_INDEX_NOT_FOUND = 27

T = TypeVar("T", bound=msgspec.Struct)


class Store:
    """A connection to the store and the databases of this installation. Not connected until the first call."""

    def __init__(self, url: str, prefix: str) -> None:
        self._prefix = prefix
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            url,
            serverSelectionTimeoutMS=5000,
            connectTimeoutMS=5000,
            socketTimeoutMS=30000,
            w="majority",
            tz_aware=True,
        )

    def database(self, service: str) -> Database:
        """The one database of a service."""
        options: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
        return self._client.get_database(self._prefix + service, codec_options=options)

    async def ping(self) -> None:
        """Raises one of OUTAGES when the store doesn't answer within 5 s."""
        await self._client.admin.command("ping")

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


async def ensure_indexes(collection: Collection, indexes: Sequence[IndexModel]) -> None:
    """Create what is missing, then drop what isn't listed: an index that no query needs costs every write."""
    listed = {"_id_", *(index.document["name"] for index in indexes)}
    if indexes:
        await collection.create_indexes(list(indexes))
    for name in await collection.index_information():
        if name not in listed:
            # Another process, which starts at the same time, may be quicker.
            await collection.database.command(
                "dropIndexes", collection.name, index=name, allowable_errors=[_INDEX_NOT_FOUND]
            )


def to_millisecond(at: datetime) -> datetime:
    """The time as the store will have it."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def to_document(value: msgspec.Struct, *, drop: Sequence[str] = ()) -> Document:
    """A struct as a document: its `id` becomes `_id`, times stay times, enumerations become their values."""
    document: Document = msgspec.to_builtins(value, builtin_types=(datetime, bytes))
    if "id" in document:
        document = {"_id": document.pop("id"), **document}
    for name in drop:
        document.pop(name, None)
    return document


def from_document(document: Document, kind: type[T]) -> T:
    """The struct that a document holds; fields that the struct doesn't know are passed over."""
    fields = dict(document)
    if "_id" in fields and "id" in kind.__struct_fields__:
        fields["id"] = fields.pop("_id")
    return msgspec.convert(fields, kind, strict=False)
