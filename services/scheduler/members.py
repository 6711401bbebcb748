"""Who is on a team's list: its members with their roles, and whom it took off.

Owns that a list and the fact that tells it are one write, in the team's document, and that versions rise by one: of two changes
at once, one is made on top of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from services.scheduler.teams import TeamStore
from shared.contract.api.teams import Member
from shared.contract.errors import Retry
from shared.contract.events import ListedMember, MembersChanged, Message
from shared.contract.wire import Envelope
from shared.runtime import outbox
from shared.runtime.mongo import Document, ensure_indexes, from_document, to_document
from shared.runtime.roles import Standing

# Makes the envelope of a message about a team.
TeamEnveloper = Callable[[Message, str], Envelope]
# A team's people: who is listed, and the names that were taken off.
_People = tuple[Sequence[Member], Sequence[str]]
_CONFLICTS = 20


class MemberStore:
    """The lists of all teams."""

    def __init__(self, teams: TeamStore, envelope: TeamEnveloper) -> None:
        self.collection = teams.collection
        self._teams = teams
        self._envelope = envelope

    async def prepare(self) -> None:
        """Create the index."""
        await ensure_indexes(self.collection, [outbox.INDEX])

    async def all(self, team: str, now: datetime) -> list[Member]:
        """The team's people, by name."""
        members, _ = _people(await self._teams.load(team, now))
        return sorted(members, key=lambda member: member.name)

    async def put(self, team: str, member: Member, now: datetime) -> None:
        """Add a person, or give one another role; told in the same write. Raises Retry."""

        def added(members: Sequence[Member], former: Sequence[str]) -> _People:
            return [*_without(members, member.name), member], [name for name in former if name != member.name]

        await self._relist(team, now, added)

    async def remove(self, team: str, name: str, now: datetime) -> None:
        """Take a person off the list, and refuse whatever token bears that name, listed or not; told in the same write. Raises
        Retry."""

        def removed(members: Sequence[Member], former: Sequence[str]) -> _People:
            return _without(members, name), list(dict.fromkeys([*former, name]))

        await self._relist(team, now, removed)

    async def standing(self, team: str, name: str) -> Standing:
        """What the list says of somebody."""
        document = await self.collection.find_one({"_id": team}, {"members": 1, "former": 1})
        members, former = _people(document or {})
        role = next((member.role for member in members if member.name == name), None)
        return Standing(role=role, former=name in former)

    async def lists(self) -> list[tuple[str, MembersChanged]]:
        """The lists of all teams that have one, as they are to be told."""
        cursor = self.collection.find({}, {"members": 1, "former": 1, "list_version": 1})
        told = [
            # Lists from before they were told have no version.
            (document["_id"], _list(_people(document), document.get("list_version") or 0))
            async for document in cursor
        ]
        return [(team, fact) for team, fact in told if fact.version or fact.members or fact.former]

    async def _relist(
        self, team: str, now: datetime, change: Callable[[Sequence[Member], Sequence[str]], _People]
    ) -> None:
        """Write what `change` makes of the list, and the fact that tells it, where nobody else was quicker."""
        for _ in range(_CONFLICTS):
            document = await self._teams.load(team, now)
            members, former = people = change(*_people(document))
            known = document.get("list_version")
            fact = _list(people, (known or 0) + 1)
            result = await self.collection.update_one(
                {"_id": team, "list_version": known},
                {
                    "$set": {
                        "members": [to_document(member) for member in members],
                        "former": list(former),
                        "list_version": fact.version,
                    },
                    "$push": outbox.push([outbox.entry(self._envelope(fact, team))]),
                },
            )
            if result.matched_count == 1:
                return
        raise Retry(f"the members of {team} kept changing under {_CONFLICTS} writes")


def _people(document: Document) -> _People:
    return [from_document(member, Member) for member in document.get("members", [])], document.get("former", [])


def _without(members: Sequence[Member], name: str) -> list[Member]:
    return [member for member in members if member.name != name]


def _list(people: _People, version: int) -> MembersChanged:
    """The fact that tells these people."""
    members, former = people
    return MembersChanged(
        members=[ListedMember(name=member.name, role=member.role) for member in members],
        former=list(former),
        version=version,
    )
