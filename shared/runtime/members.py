"""A service's own copy of the teams' lists of members, folded from facts.

Each fact is a whole list with its version (newest.py); a service asks for all of them when it starts.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.contract.errors import Reject
from shared.contract.events import ListedMember, MembersAsked, MembersChanged, Message
from shared.contract.wire import Envelope
from shared.runtime.bus import Bus
from shared.runtime.mongo import Database, from_document
from shared.runtime.newest import Newest
from shared.runtime.roles import Standing

ASK_SECONDS = 3600.0


class MemberLists:
    """The lists of all teams, as this service knows them. `ask` is to be called at the start and every `ASK_SECONDS`."""

    def __init__(self, database: Database, bus: Bus, envelope: Callable[[Message, str], Envelope]) -> None:
        self._newest = Newest(database["members"])
        self._bus = bus
        self._envelope = envelope

    async def ask(self) -> None:
        """Have all lists told, those of tokens too: this store may be new, or older than what was told last. Raises Retry."""
        await self._bus.publish(self._envelope(MembersAsked(), ""))

    async def fold(self, envelope: Envelope) -> None:
        """Keep the list that a fact tells. Raises Stale for one that isn't newer than what is kept, Reject for another fact."""
        body = envelope.body
        if not isinstance(body, MembersChanged):
            raise Reject(f"{envelope.type} is not a list of members")
        await self._newest.keep(envelope.team, body, body.version)

    async def standing(self, team: str, name: str) -> Standing:
        """What the team's list says of a person; of one that it doesn't know, or of an unknown team, nothing."""
        document = await self._newest.of(team, ("members", "former"))
        if document is None:
            return Standing()
        listed = (from_document(member, ListedMember) for member in document["members"])
        role = next((member.role for member in listed if member.name == name), None)
        return Standing(role=role, former=name in document["former"])
