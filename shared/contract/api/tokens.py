"""What the scheduler is asked and answers about the tokens that people make for scripts and devices. Owns the structs alone."""

from __future__ import annotations

from datetime import date, datetime

import msgspec

from shared.contract.api.teams import TeamRole


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A live token, without its secret. It speaks in the name of whoever made it: `present_role` is what it may do now, the
    lower of its own role and of what the list of members says of that person, None where that person was taken off the list.
    `last_used` is a day in UTC, None where no use of it was heard of."""

    id: str
    name: str
    role: TeamRole
    present_role: TeamRole | None
    made_by: str
    made_at: datetime
    expires_at: datetime
    last_used: date | None = None


class TokensAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that the asking person sees, newest first, and how many of the at most `limit` the team has in all."""

    tokens: list[TokenView]
    live: int
    limit: int


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to make, good for `days`."""

    name: str
    role: TeamRole = "member"
    days: int = 90


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was made and its secret, which is kept nowhere."""

    token: TokenView
    secret: str
