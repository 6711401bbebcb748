"""A service's own copy of the teams' lists of members, folded from facts.

Owns one small collection: a document a team with the newest list that was heard of. Each fact is a whole list with its version,
so that one that comes late, twice or never does no harm; a service asks for all of them when it starts.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.contract.errors import Reject, Stale
from shared.contract.events import ListedMember, MembersAsked, MembersChanged, Message
from shared.contract.wire import Envelope
from shared.runtime.bus import Bus
from shared.runtime.mongo import Database, Document, DuplicateKeyError, from_document, to_document
from shared.runtime.roles import Standing

ASK_SECONDS = 3600.0


class MemberLists:
    """The lists of all teams, as this service knows them. `ask` is to be called at the start and every `ASK_SECONDS`."""

    def __init__(self, database: Database, bus: Bus, envelope: Callable[[Message, str], Envelope]) -> None:
        self._collection = database["members"]
        self._bus = bus
        self._envelope = envelope

    async def ask(self) -> None:
        """Have all lists told: this store may be new, or older than what was told last. Raises Retry."""
        await self._bus.publish(self._envelope(MembersAsked(), ""))

    async def fold(self, envelope: Envelope) -> None:
        """Keep the list that a fact tells. Raises Stale for one that isn't newer than what is kept, Reject for another fact."""
        body = envelope.body
        if not isinstance(body, MembersChanged):
            raise Reject(f"{envelope.type} is not a list of members")
        fields = to_document(body)
        if await self._replace(envelope.team, fields):
            return
        try:
            await self._collection.insert_one({"_id": envelope.team, **fields})
        except DuplicateKeyError:
            # There is one: what the guard refused, or an older one that came in between.
            if not await self._replace(envelope.team, fields):
                raise Stale(f"version {body.version} of the members of {envelope.team} is no news") from None

    async def standing(self, team: str, name: str) -> Standing:
        """What the team's list says of a person; of one that it doesn't know, or of an unknown team, nothing."""
        document = await self._collection.find_one({"_id": team}, {"members": 1, "former": 1})
        if document is None:
            return Standing()
        listed = (from_document(member, ListedMember) for member in document["members"])
        role = next((member.role for member in listed if member.name == name), None)
        return Standing(role=role, former=name in document["former"])

    async def _replace(self, team: str, fields: Document) -> bool:
        result = await self._collection.update_one(
            {"_id": team, "version": {"$lt": fields["version"]}}, {"$set": fields}
        )
        return result.matched_count == 1
