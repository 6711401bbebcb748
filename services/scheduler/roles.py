"""What a person may do here: the token's role, bounded by what the team's list of members says of that person.

Owns that a member who was taken off the list, or given a lower role, is held to it whatever an old token says.
"""

from __future__ import annotations

from aiohttp import web
from msgspec.structs import replace

from services.scheduler.teams import TeamStore
from shared.contract.errors import UserError
from shared.runtime import auth
from shared.runtime.auth import Principal, Role
from shared.runtime.web import principal

_OF_A_TEAM = frozenset({"viewer", "member", "mentor"})


class Roles:
    """Knows who may do what."""

    def __init__(self, teams: TeamStore) -> None:
        self._teams = teams

    async def require(self, request: web.Request, role: Role) -> Principal:
        """Who makes the request, with the role that counts. Raises UserError `forbidden` (403)."""
        who = principal(request)
        if who.role in _OF_A_TEAM:
            who = await self._bounded(who)
        auth.require(who, role)
        return who

    async def _bounded(self, who: Principal) -> Principal:
        listed, former = await self._teams.person(who.team, who.name)
        if former:
            raise UserError("forbidden", f"{who.name} is no longer a member of {who.team}.", "role", status=403)
        if listed is not None and not Principal(team="", role=listed.role, name="").may(who.role):
            return replace(who, role=listed.role)
        return who
