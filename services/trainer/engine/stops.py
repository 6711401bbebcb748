"""How a run answers a stop: once, as soon as it is true that no further step will be made.

Owns the answer and where a stop ends a long phase. Between steps the thread that hears of the stop answers itself: an
evaluation or a conversion may keep the run from looking for longer than the scheduler waits. Knows no TensorFlow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from services.trainer.engine.control import Interrupted, Report, StopSignal
from services.trainer.protocol import RunStopping, StopReason


class Stops:
    """One run's. `step` gives the job's step over all attempts."""

    def __init__(self, signal: StopSignal, step: Callable[[], int], report: Report) -> None:
        self._signal = signal
        self._step = step
        self._report = report
        # Held while the answer is reported, so that whoever asks for it finds it said; a report may ask for a stop.
        self._turn = threading.RLock()
        self._in_step = False
        self._answered = False
        signal.on_ask = self.answer

    @property
    def reason(self) -> StopReason | None:
        """What was asked for, None while nothing was."""
        return self._signal.reason

    def begin_step(self) -> StopReason | None:
        """Why no further step may be made; None where one may, which `end_step` must follow unless it fails.

        Closed first, then looked: of a stop that comes in between either we see it here, or its thread sees that we are closed.
        """
        self._in_step = True
        reason = self._signal.reason
        if reason is not None:
            self._in_step = False
        return reason

    def end_step(self) -> None:
        """A stop that came while the step was made is answered now: before, it wasn't known which step is the last."""
        self._in_step = False
        self.answer()

    def answer(self, reason: StopReason | None = None) -> None:
        """Say that the run stops, for what was asked or for `reason`; silent where it was said, before any step of any attempt,
        and where nobody has asked."""
        with self._turn:
            reason = self._signal.reason or reason
            if reason is not None and self._step() > 0 and not (self._in_step or self._answered):
                self._answered = True
                self._report(RunStopping(step=self._step(), reason=reason))

    def look(self) -> None:
        """Call this between the parts of whatever takes long. Raises Interrupted for a drain, and for any stop before there is
        something to keep; any other one is answered, and the phase goes on to its end."""
        reason = self._signal.reason
        if reason == "drained" or (reason is not None and not self._step()):
            raise Interrupted(reason)
        self.answer()
