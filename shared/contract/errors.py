"""What a handler or a rule may raise, and what each one means to whoever catches it.

Owns the exception types and nothing else: the bus maps the first four to what happens to a message, the web layer maps
`IllegalTransition` and `UserError` to an HTTP answer.
"""

from __future__ import annotations

from collections.abc import Mapping


class TrainyardError(Exception):
    """The root of all errors that are part of the contract."""


class Retry(TrainyardError):
    """Can't be done now, may be done later: the message comes back after a pause."""


class Reject(TrainyardError):
    """Can never be done: the message goes to the dead letters with `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Stale(TrainyardError):
    """A late or repeated fact, or one of an older attempt: acknowledged, counted, ignored."""


class UserError(TrainyardError):
    """Bad input or a command that the rules refuse; nothing was changed.

    `code` is stable and for programs, `message` is a sentence for a person and names the value and the limit, `field`
    is the input's name, `status` the HTTP status, `details` whatever helps a client to show it (JSON values).
    """

    def __init__(
        self,
        code: str,
        message: str,
        field: str | None = None,
        *,
        status: int = 400,
        details: Mapping[str, object] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.status = status
        self.details = dict(details or {})
        self.retry_after = retry_after


class NotFound(UserError):
    """No such thing in this team: the same answer whether it never was or belongs to another team."""

    def __init__(self, what: str, identifier: str) -> None:
        super().__init__("not_found", f"There is no {what} {identifier!r} in your team.", status=404)


class IllegalTransition(UserError):
    """A user's command that the job's state doesn't allow (HTTP 409)."""

    def __init__(self, state: str, trigger: str) -> None:
        super().__init__(
            "illegal_transition",
            f"The job is {state.replace('_', ' ')}: {trigger.replace('_', ' ')} isn't possible in that state.",
            "state",
            status=409,
            details={"state": state, "trigger": trigger},
        )
        self.state = state
        self.trigger = trigger


class KeyReused(UserError):
    """The Idempotency-Key of a request is that of an earlier one that wanted something else (HTTP 422)."""

    def __init__(self, what: str) -> None:
        super().__init__(
            "idempotency_key_reused",
            f"This Idempotency-Key was used for another {what}. Send a new key with a new request.",
            "Idempotency-Key",
            status=422,
        )
