"""The answer to a request that was refused or failed. Owns its two structs alone; the exceptions are shared.contract.errors."""

from __future__ import annotations

from typing import Any

import msgspec


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """A UserError as it is sent: `details` only where there are any."""

    code: str
    message: str
    field: str | None = None
    details: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer with a status of 400 or more."""

    error: ErrorBody
