"""A team's tokens for scripts and devices: who may make, see and revoke which, and how many. Pure decisions over a list.

A token speaks in the name of whoever made it, so that the list of members bounds it like that person. Knows no store and no
secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import msgspec

from shared.contract.api.teams import TeamRole
from shared.contract.api.tokens import TokenRequest, TokenView
from shared.contract.errors import KeyReused, NotFound, UserError
from shared.runtime import auth
from shared.runtime.auth import Principal, TokenId
from shared.runtime.roles import Standing, bound

MOST = 20
LONGEST_NAME = 40
LONGEST_DAYS = 365


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept. Times are whole seconds, as they are in the token itself. `listed` is the version of the list
    that it came with, `request` the id of the request that made it."""

    id: str
    name: str
    role: TeamRole
    made_by: str
    made_at: datetime
    expires_at: datetime
    listed: int
    request: str


def wanted(asked: TokenRequest, who: Principal) -> TokenRequest:
    """The request, its name tidied. Raises UserError `bad_name`, `bad_days`, or `bad_role` for more than one's own."""
    name = " ".join(asked.name.split())
    if not (1 <= len(name) <= LONGEST_NAME and name.isprintable()):
        raise UserError(
            "bad_name",
            f"A token's name has 1 to {LONGEST_NAME} printable characters; {name[:LONGEST_NAME]!r} has {len(name)}.",
            "name",
        )
    if not 1 <= asked.days <= LONGEST_DAYS:
        raise UserError(
            "bad_days", f"A token is good for 1 to {LONGEST_DAYS} days; this would be for {asked.days:,}.", "days"
        )
    if not who.may(asked.role):
        raise UserError(
            "bad_role", f"A token has at most your own role, which is {who.role}; this would be {asked.role}.", "role"
        )
    return msgspec.structs.replace(asked, name=name)


def live(keys: Sequence[Key], now: datetime) -> list[Key]:
    """Those that have not expired."""
    return [key for key in keys if key.expires_at > now]


def made_before(keys: Sequence[Key], asked: TokenRequest, request: str) -> Key | None:
    """The token that the same request made already. Raises UserError `idempotency_key_reused` where that was for another
    wish."""
    known = next((key for key in keys if key.request == request), None)
    if known is None:
        return None
    days = (known.expires_at - known.made_at).days
    if (known.name, known.role, days) != (asked.name, asked.role, asked.days):
        raise KeyReused("token")
    return known


def made(asked: TokenRequest, who: Principal, now: datetime, *, identifier: str, request: str) -> Key:
    """A new token, not listed yet."""
    at = now.replace(microsecond=0)
    return Key(
        id=identifier,
        name=asked.name,
        role=asked.role,
        made_by=who.name,
        made_at=at,
        expires_at=at + timedelta(days=asked.days),
        listed=0,
        request=request,
    )


def with_room(keys: Sequence[Key], team: str) -> None:
    """Raises UserError `too_many_tokens` (409) where a team has all that it may have."""
    if len(keys) >= MOST:
        raise UserError(
            "too_many_tokens",
            f"{team} has {len(keys)} live tokens and may have {MOST}: revoke one that nobody needs (a mentor sees all), "
            "or wait until one expires.",
            "tokens",
            status=409,
        )


def seen(keys: Sequence[Key], who: Principal) -> list[Key]:
    """What somebody may see and revoke: a mentor all, others what they made; newest first."""
    mine = (key for key in keys if who.may("mentor") or key.made_by == who.name)
    return sorted(mine, key=lambda key: key.listed, reverse=True)


def to_revoke(keys: Sequence[Key], identifier: str, who: Principal) -> Key:
    """The token of that id. Raises NotFound where there is none that this person may revoke, and UserError `forbidden` (403)
    for a script's token that would end another one: who got hold of one that only looks could otherwise stop every robot."""
    if who.token is not None and who.token.id != identifier:
        raise UserError(
            "forbidden",
            "A token that was made for a script or a device can revoke itself alone: use your own.",
            "token",
            status=403,
        )
    for key in seen(keys, who):
        if key.id == identifier:
            return key
    raise NotFound("token", identifier[:100])


def parted(keys: Sequence[Key], made_by: str) -> tuple[list[Key], list[Key]]:
    """What somebody made, and the rest."""
    return [key for key in keys if key.made_by == made_by], [key for key in keys if key.made_by != made_by]


def secret(key: Key, team: str, signed_by: str) -> str:
    """What the token's holder has: made of what is kept and of the installation's secret, the same each time."""
    return auth.mint(
        signed_by,
        team=team,
        role=key.role,
        name=key.made_by,
        now=key.made_at,
        lifetime=key.expires_at - key.made_at,
        token=TokenId(id=key.id, listed=key.listed),
    )


def view(key: Key, team: str, standing: Standing, last_used: date | None) -> TokenView:
    """What is shown; `standing` is that of whoever made it."""
    try:
        present = bound(Principal(team=team, role=key.role, name=key.made_by), standing).role
    except UserError:
        present = None
    return TokenView(
        id=key.id,
        name=key.name,
        role=key.role,
        present_role=present,  # type: ignore[arg-type]  # bounded roles are those of a team
        made_by=key.made_by,
        made_at=key.made_at,
        expires_at=key.expires_at,
        last_used=last_used,
    )
