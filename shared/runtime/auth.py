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


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request; `expires` is when the token does, None for one that never does."""

    team: str
    role: Role
    name: str
    expires: datetime | None = None

    def may(self, role: Role) -> bool:
        """Whether this principal's role includes `role`."""
        return _RANK[self.role] >= _RANK[role]


def mint(secret: str, *, team: str, role: Role, name: str, now: datetime, lifetime: timedelta | None) -> str:
    """A token; `lifetime` None means that it never expires (a local installation's own)."""
    claims: dict[str, object] = {"team": team, "role": role, "name": name, "iat": now}
    if lifetime is not None:
        claims["exp"] = now + lifetime
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def verify(secret: str, token: str) -> Principal:
    """The principal that the token names. Raises UserError `unauthorized` (401) for any token that isn't good."""
    try:
        claims = jwt.decode(token, secret, algorithms=[_ALGORITHM], options={"require": ["iat"]})
        named = {key: claims.get(key) for key in ("team", "role", "name")}
        expires = datetime.fromtimestamp(int(claims["exp"]), UTC) if "exp" in claims else None
        return msgspec.convert({**named, "expires": expires}, Principal, strict=True)
    except jwt.ExpiredSignatureError as error:
        raise UserError("unauthorized", "The token has expired. Ask your mentor for a new one.", status=401) from error
    except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, OverflowError) as error:
        raise UserError("unauthorized", "The token is not valid here.", status=401) from error


def require(principal: Principal, role: Role) -> None:
    """Raises UserError `forbidden` (403) unless the principal's role includes `role`."""
    if not principal.may(role):
        raise UserError(
            "forbidden",
            f"This needs the role {role}; you are {principal.role}.",
            "role",
            status=403,
        )
