"""What the engine needs of its surroundings: a way to report, a way to be stopped, and how it says what went wrong.

Knows neither pipes nor TensorFlow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from services.trainer.protocol import FromChild, StopReason

Report = Callable[[FromChild], None]
"""Tells the parent. Returns once the message is written; never raises to the engine."""


class StopSignal:
    """A stop that another thread may ask for at any time; the run looks at it between steps and between phases.

    `drained` wins over any reason given before: the machine goes away, so nothing long may be started any more.
    `on_ask` is called in the asking thread after each one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: StopReason | None = None
        self.on_ask: Callable[[], None] = lambda: None

    def ask(self, reason: StopReason) -> None:
        """Have the run stop for `reason`."""
        with self._lock:
            if self._reason is None or reason == "drained":
                self._reason = reason
        self.on_ask()

    @property
    def reason(self) -> StopReason | None:
        """Why the run shall stop; None while it may go on."""
        return self._reason


class RunError(Exception):
    """The run can't go on; `code` is one of the protocol's stable codes, `message` a plain sentence for the user."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Interrupted(Exception):
    """Raised out of a long phase whose result nobody wants any more, for the `reason` that the run was stopped for."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason = reason
