"""A service's own copy of something that another one tells of each team, as a whole and with a version that rises.

Owns that the newest counts, in whatever order the facts come: one that comes late, twice or never does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.contract.errors import Stale
from shared.runtime.mongo import Collection, Document, DuplicateKeyError, to_document


class Newest:
    """A document a team in `collection`, with the newest that was heard of."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def keep(self, team: str, fact: msgspec.Struct, version: int) -> None:
        """Keep what a fact of this version tells. Raises Stale for one that isn't newer than what is kept."""
        fields = to_document(fact)
        if await self._replace(team, fields, version):
            return
        try:
            await self._collection.insert_one({"_id": team, **fields})
        except DuplicateKeyError:
            # There is one: what the guard refused, or an older one that came in between.
            if not await self._replace(team, fields, version):
                raise Stale(f"version {version} of the {self._collection.name} of {team} is no news") from None

    async def of(self, team: str, fields: Sequence[str]) -> Document | None:
        """What is kept of a team, None where nothing is."""
        return await self._collection.find_one({"_id": team}, dict.fromkeys(fields, 1))

    async def _replace(self, team: str, fields: Document, version: int) -> bool:
        result = await self._collection.update_one({"_id": team, "version": {"$lt": version}}, {"$set": fields})
        return result.matched_count == 1
