"""What a person may do: the token's role, bounded by what the team's list of members says of that person.

Owns the rules that every service applies to every request, and the middleware that applies them: a member who was taken off
the list, or given a lower role, is held to it whatever an old token says, and a token that was revoked is none. A person or
token of which nothing is known counts as the token says. Where the lists are kept is a service's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec.structs import replace

from shared.contract.errors import UserError
from shared.contract.events import TokensChanged
from shared.contract.stream import REASON_FORMER, REASON_REVOKED
from shared.runtime.auth import Principal, Role
from shared.runtime.web import PRINCIPAL

# Operators and services are on no team's list.
_OF_A_TEAM = frozenset({"viewer", "member", "mentor"})


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a team's list says of a person: the role listed, None where there is none, and whether that person was taken off."""

    role: Role | None = None
    former: bool = False


# Looks up a person (team, name); both may be unknown.
Look = Callable[[str, str], Awaitable[Standing]]
# Gives a team's newest list of tokens, None where there is none.
LookAtTokens = Callable[[str], Awaitable[TokensChanged | None]]


def bound(who: Principal, standing: Standing) -> Principal:
    """`who` with the role that counts. Raises UserError `forbidden` (403) for a former member."""
    if who.role not in _OF_A_TEAM:
        return who
    if standing.former:
        raise UserError(REASON_FORMER, f"{who.name} is no longer a member of {who.team}.", "role", status=403)
    if standing.role is None or Principal(team=who.team, role=standing.role, name=who.name).may(who.role):
        return who
    return replace(who, role=standing.role)


def unrevoked(who: Principal, listed: TokensChanged | None) -> None:
    """Raises UserError `token_revoked` (401) where the list is as new as the token and doesn't have it."""
    token = who.token
    if token is None or listed is None or listed.version < token.listed or token.id in listed.tokens:
        return
    raise UserError(
        REASON_REVOKED,
        "This token was revoked. Make another one on the Team page, or ask a mentor.",
        "token",
        status=401,
    )


class Roles:
    """Knows who may do what, by the lists that `look` and `tokens` read; `used` is told of whoever is let in."""

    def __init__(self, look: Look, tokens: LookAtTokens, used: Callable[[Principal], None]) -> None:
        self._look = look
        self._tokens = tokens
        self._used = used

    async def bounded(self, who: Principal) -> Principal:
        """See `unrevoked` and `bound`. The lists are read at each call: a change counts from the moment that it is known
        here."""
        if who.token is not None:
            unrevoked(who, await self._tokens(who.team))
        return bound(who, await self._look(who.team, who.name)) if who.role in _OF_A_TEAM else who

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Hand every request on with its principal bounded; goes after the one that finds out who it is."""
        who = request.get(PRINCIPAL)
        if who is not None:
            request[PRINCIPAL] = await self.bounded(who)
            self._used(who)
        return await handler(request)
