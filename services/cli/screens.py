"""The three ways in which `watch` shows a job: drawn live on a terminal, a line per change, a JSON object per change.

Owns where and when something is written; what it looks like is show_job.py's.
"""

from __future__ import annotations

from datetime import datetime
from types import TracebackType

from rich.console import Console
from rich.live import Live

from services.cli import figures
from services.cli.context import Context
from services.cli.figures import plain
from services.cli.scene import (
    EXIT_CODES,
    MAP,
    MAP_50,
    ConnectionBack,
    ConnectionLost,
    Ended,
    Measured,
    ModelChanged,
    Progressed,
    QueueMoved,
    Scene,
    changes,
)
from services.cli.show_job import live_view, loss_line
from shared.contract.jobs import MEANINGS
from shared.contract.stream import Progress
from shared.contract.views import JobView

# Without a terminal progress is told this often: a log isn't a progress bar.
PROGRESS_EVERY_SECONDS = 15.0


class LiveScreen:
    """Draws the job in place. A context manager: the terminal is put right at its end."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._scene: Scene | None = None
        self._trouble: str | None = None

    def __enter__(self) -> LiveScreen:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, before: Scene | None, after: Scene, now: datetime) -> None:
        """See Screen."""
        self._scene, self._trouble = after, None
        self.tick(now)

    def offline(self, reason: str, pause_seconds: float) -> None:
        """See Screen."""
        self._trouble = f"No connection ({reason}); trying again. The job is not affected."

    def tick(self, now: datetime) -> None:
        """See Screen."""
        if self._scene is not None:
            self._live.update(live_view(self._scene, now, self._trouble), refresh=True)


class LineScreen:
    """A line per change, for logs and for those who listen to their terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._offline = False
        self._told: datetime | None = None

    def show(self, before: Scene | None, after: Scene, now: datetime) -> None:
        """See Screen."""
        if self._offline:
            self._offline = False
            self._line(now, "connected again")
        for change in changes(before, after):
            match change:
                case ModelChanged(model, state_changed):
                    if state_changed:
                        self._line(now, _state_words(model))
                case Measured(point):
                    scores = " · ".join(
                        f"{name} {figures.precision(point.evaluation.get(key))}"
                        for name, key in (("mAP", MAP), ("mAP@.50IOU", MAP_50))
                    )
                    self._line(now, f"checkpoint at step {point.step:,} · {scores}")
                case QueueMoved(place):
                    self._line(now, figures.place_in_queue(place, now))
                case Progressed(progress):
                    self._progress(progress, after.job, now)

    def offline(self, reason: str, pause_seconds: float) -> None:
        """See Screen."""
        if not self._offline:
            self._offline = True
            self._print(f"          no connection ({reason}); trying again, the job is not affected")

    def tick(self, now: datetime) -> None:
        """See Screen."""

    def _progress(self, progress: Progress, job: JobView, now: datetime) -> None:
        if self._told is not None and (now - self._told).total_seconds() < PROGRESS_EVERY_SECONDS:
            return
        self._told = now
        speed = f"{progress.steps_per_second:.2f} steps/s"
        self._line(now, f"step {progress.step:,}/{job.steps_requested:,} · {speed} · loss {loss_line(progress)}")

    def _line(self, now: datetime, words: str) -> None:
        self._print(f"{now.astimezone():%H:%M:%S}  {words}")

    def _print(self, line: str) -> None:
        self._console.print(plain(line), markup=False, soft_wrap=True)
        self._console.file.flush()


class JsonScreen:
    """A JSON object per change, and one with the end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._offline = False

    def show(self, before: Scene | None, after: Scene, now: datetime) -> None:
        """See Screen."""
        if self._offline:
            self._offline = False
            self._context.line(ConnectionBack())
        for change in changes(before, after):
            self._context.line(change)
        if after.ended:
            self._context.line(Ended(after.job.state, EXIT_CODES[after.job.state], after.job))

    def offline(self, reason: str, pause_seconds: float) -> None:
        """See Screen."""
        self._offline = True
        self._context.line(ConnectionLost(reason, round(pause_seconds, 3)))

    def tick(self, now: datetime) -> None:
        """See Screen."""


def _state_words(job: JobView) -> str:
    reason = "" if job.reason is None else f" {job.reason.message}"
    return f"{figures.state_name(job.state)}: {MEANINGS[job.state]}{reason}"
