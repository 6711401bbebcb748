"""Finds what a person means by the beginning of an id.

Owns the rule; the candidates are the caller's. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.contract.errors import NotFound, UserError

_SHOWN = 5


def resolve(given: str, identifiers: Iterable[str], what: str) -> str:
    """The one identifier that is `given` or begins with it.

    Raises NotFound, or UserError `ambiguous_id` that names the candidates; `what` is the kind of thing, for the message.
    """
    known = list(identifiers)
    if given in known:
        return given
    found = [identifier for identifier in known if given and identifier.lower().startswith(given.lower())]
    if not found:
        raise NotFound(what, given)
    if len(found) > 1:
        shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
        raise UserError("ambiguous_id", f"{given!r} begins {len(found)} ids: {shown}. Give more of it.", what)
    return found[0]
