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
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: StopReason | None = None

    def ask(self, reason: StopReason) -> None:
        with self._lock:
            if self._reason is None or reason == "drained":
                self._reason = reason

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


class Drained(Exception):
    """Raised out of a long phase when the machine goes away."""
