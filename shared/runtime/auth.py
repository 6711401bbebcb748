"""Bearer tokens: who speaks, for which team, in which role.

Tokens are JWTs signed with HS256 by the installation's secret. Owns minting and checking; where a token is found in a
request is web.py's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import jwt
import msgspec

from shared.contract.errors import UserError

Role = Literal["viewer", "member", "mentor", "admin", "service"]
# Each role may do what the ones before it may. A service speaks for any team, a person never does.
_RANK: dict[str, int] = {role: rank for rank, role in enumerate(get_args(Role))}
_ALGORITHM = "HS256"


class TokenId(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the tokens that can be revoked one is. `listed` is the version of its team's list of tokens that it came with:
    an older list doesn't have it yet."""

    id: str
    listed: int


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request; `expires` is when the token does, None for one that never does. `token` is None for one that can't
    be revoked by itself."""

    team: str
    role: Role
    name: str
    expires: datetime | None = None
    token: TokenId | None = None

    def may(self, role: Role) -> bool:
        """Whether this principal's role includes `role`."""
        return _RANK[self.role] >= _RANK[role]


def mint(
    secret: str,
    *,
    team: str,
    role: Role,
    name: str,
    now: datetime,
    lifetime: timedelta | None,
    token: TokenId | None = None,
) -> str:
    """A token; `lifetime` None means that it never expires (a local installation's own). The same arguments make the same
    one."""
    claims: dict[str, object] = {"team": team, "role": role, "name": name, "iat": now}
    if lifetime is not None:
        claims["exp"] = now + lifetime
    if token is not None:
        claims |= {"jti": token.id, "listed": token.listed}
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def verify(secret: str, token: str) -> Principal:
    """The principal that the token names. Raises UserError `unauthorized` (401) for any token that isn't good."""
    try:
        claims = jwt.decode(token, secret, algorithms=[_ALGORITHM], options={"require": ["iat"]})
        named = {key: claims.get(key) for key in ("team", "role", "name")}
        expires = datetime.fromtimestamp(int(claims["exp"]), UTC) if "exp" in claims else None
        listed = {"id": claims["jti"], "listed": claims.get("listed")} if "jti" in claims else None
        return msgspec.convert({**named, "expires": expires, "token": listed}, Principal, strict=True)
    except jwt.ExpiredSignatureError as error:
        raise UserError("unauthorized", "The token has expired. Ask your mentor for a new one.", status=401) from error
    except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, OverflowError) as error:
        raise UserError("unauthorized", "The token is not valid here.", status=401) from error


def in_person(principal: Principal) -> None:
    """Raises UserError `forbidden` (403) for a token that was made for a script or a device. Such a one makes no other: who has
    got hold of it would otherwise keep a way in when it is revoked."""
    if principal.token is not None:
        raise UserError(
            "forbidden",
            "A token that was made for a script or a device can't make another one: use your own.",
            "token",
            status=403,
        )


def require(principal: Principal, role: Role) -> None:
    """Raises UserError `forbidden` (403) unless the principal's role includes `role`."""
    if not principal.may(role):
        raise UserError(
            "forbidden",
            f"This needs the role {role}; you are {principal.role}.",
            "role",
            status=403,
        )
