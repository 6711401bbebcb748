"""What operators write to teams: bounds, each with an error that names the field, the value and the limit. Pure."""

from __future__ import annotations

from datetime import datetime

from shared.contract.errors import UserError


def words(text: str, field: str, *, most: int, least: int = 0) -> str:
    """The text with single spaces. Raises UserError `bad_<field>`."""
    told = " ".join(text.split())
    if not least <= len(told) <= most or not told.isprintable():
        bounds = f"at most {most}" if least == 0 else f"{least} to {most}"
        raise UserError(f"bad_{field}", f"{field} must be {bounds} printable characters; it has {len(told)}.", field)
    return told


def to_come(until: datetime | None, now: datetime) -> datetime | None:
    """A time until which something is to be so. Raises UserError `bad_until`."""
    if until is not None and (until.tzinfo is None or until <= now):
        raise UserError(
            "bad_until", f"until must be a time to come, with its zone; it is {until.isoformat()}.", "until"
        )
    return until
