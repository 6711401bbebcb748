"""The tokens of each team that can be revoked, in a document a team.

Owns that a list and the fact that tells it are one write, that versions rise by one, and that a token is never told before the
version that it names. What may be on a list is keyring.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime

from msgspec.structs import replace

from services.scheduler import keyring
from services.scheduler.keyring import Key
from services.scheduler.members import TeamEnveloper
from shared.contract.api.tokens import TokenRequest
from shared.contract.errors import Retry
from shared.contract.events import TokensChanged
from shared.runtime import outbox
from shared.runtime.auth import Principal
from shared.runtime.mongo import Database, Document, DuplicateKeyError, ensure_indexes, from_document, to_document

_CONFLICTS = 20


class TokenStore:
    """The lists of all teams."""

    def __init__(self, database: Database, envelope: TeamEnveloper) -> None:
        self.collection = database["tokens"]
        self._envelope = envelope

    async def prepare(self) -> None:
        """Create the index."""
        await ensure_indexes(self.collection, [outbox.INDEX])

    async def live(self, team: str, now: datetime) -> tuple[list[Key], Mapping[str, date]]:
        """A team's live tokens, and the days on which they were last used, by id."""
        document = await self._load(team)
        used = {token: date.fromisoformat(day) for token, day in document["used"].items()}
        return keyring.live(_keys(document), now), used

    async def make(self, who: Principal, asked: TokenRequest, now: datetime, *, identifier: str, request: str) -> Key:
        """A new token, told in the same write, or the one that this request made before. Raises UserError, Retry."""
        fresh = keyring.made(asked, who, now, identifier=identifier, request=request)

        def added(keys: list[Key], version: int) -> tuple[Key, list[Key]]:
            known = keyring.made_before(keys, asked, request)
            if known is not None:
                return known, keys
            keyring.with_room(keys, who.team)
            key = replace(fresh, listed=version)
            return key, [*keys, key]

        return await self._relist(who.team, now, added)

    async def revoke(self, who: Principal, identifier: str, now: datetime) -> Key:
        """Take a token off the list; told in the same write. Raises NotFound, Retry."""

        def without(keys: list[Key], _: int) -> tuple[Key, list[Key]]:
            key = keyring.to_revoke(keys, identifier, who)
            return key, [one for one in keys if one.id != key.id]

        return await self._relist(who.team, now, without)

    async def of(self, team: str) -> TokensChanged | None:
        """A team's list as it would be told, None where it never had one."""
        document = await self.collection.find_one({"_id": team}, {"keys._id": 1, "version": 1})
        return None if document is None else _told(document)

    async def lists(self) -> Sequence[tuple[str, TokensChanged]]:
        """The lists of all teams that have one, as they are to be told."""
        cursor = self.collection.find({"version": {"$gt": 0}}, {"keys._id": 1, "version": 1})
        return [(document["_id"], _told(document)) async for document in cursor]

    async def used(self, team: str, token: str, day: date) -> None:
        """Remember that a token was used on a day; an earlier one, or one of a token that is gone, changes nothing."""
        await self.collection.update_one({"_id": team, "keys._id": token}, {"$max": {f"used.{token}": day.isoformat()}})

    async def _relist(self, team: str, now: datetime, change: Callable[[list[Key], int], tuple[Key, list[Key]]]) -> Key:
        """Write what `change` makes of the live tokens, and the fact that tells it, where nobody else was quicker; nothing
        where it gives the same list back. It is told the version that the new list will have. What has expired leaves on this
        occasion."""
        for _ in range(_CONFLICTS):
            document = await self._load(team)
            known, keys = int(document["version"]), _keys(document)
            version = known + 1
            before = keyring.live(keys, now)
            key, after = change(before, version)
            if after is before:
                return key
            fact = TokensChanged(tokens=[one.id for one in after], version=version)
            gone = {one.id for one in keys} - set(fact.tokens)
            update: Document = {
                "$set": {"keys": [to_document(one) for one in after], "version": version},
                "$push": outbox.push([outbox.entry(self._envelope(fact, team))]),
            }
            if gone:
                update["$unset"] = {f"used.{token}": "" for token in gone}
            result = await self.collection.update_one({"_id": team, "version": known}, update)
            if result.matched_count == 1:
                return key
        raise Retry(f"the tokens of {team} kept changing under {_CONFLICTS} writes")

    async def _load(self, team: str) -> Document:
        """The team's document; the first look at it makes one."""
        document = await self.collection.find_one({"_id": team})
        if document is not None:
            return document
        fresh: Document = {"_id": team, "keys": [], "version": 0, "used": {}}
        try:
            await self.collection.insert_one(fresh)
        except DuplicateKeyError:
            return await self._load(team)
        return fresh


def _keys(document: Document) -> list[Key]:
    return [from_document(key, Key) for key in document["keys"]]


def _told(document: Document) -> TokensChanged:
    return TokensChanged(tokens=[key["_id"] for key in document["keys"]], version=document["version"])
