"""One job in a terminal: the live picture while it runs, the summary at its end; all its details are show_details.py's.

Owns layout. Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from services.cli import figures
from services.cli.figures import DASH, precision
from services.cli.scene import MAP, MAP_50, Scene
from services.cli.show import NEEDS_APPROVAL, facts, indented, reasons, state, text
from shared.contract.jobs import ASSIGNED, MEANINGS, TERMINAL, JobState
from shared.contract.stream import Progress
from shared.contract.views import JobView

_LOSSES = {"classification": "cls", "localization": "loc", "regularization": "reg"}


def live_view(scene: Scene, now: datetime, connection: str | None) -> RenderableType:
    """The job as it is now; `connection` says what is wrong with the line, None where nothing is."""
    job, progress = scene.job, scene.progress
    if progress is not None and (progress.attempt != job.attempt or job.state not in ASSIGNED):
        progress = None  # of a trainer that has lost the job
    rows: list[tuple[str, RenderableType]] = []
    if scene.place is not None:
        rows.append(("Queue", figures.place_in_queue(scene.place, now)))
    if job.trainer is not None and not scene.ended:
        rows.append(("Trainer", f"{job.trainer}, attempt {job.attempt}"))
    rows.append(("Steps", _bar(job, figures.steps_made(job, progress))))
    rows.append(("Speed", _speed(job, progress)))
    rows.append(("Time", _time(job, now, progress)))
    rows.append(("Loss", _losses(progress)))
    rows.append(("Checkpoint", checkpoint_line(scene)))
    parts: list[RenderableType] = [heading(job), state_line(job), Text(), indented(_grid(rows))]
    notes = reasons(job.notices)
    if connection is not None:
        notes.append(text(connection, "bold yellow"))
    # The cursor ends on an empty line: what the terminal echoes for Ctrl-C would else begin another one.
    return Group(*parts, *([Text(), *notes] if notes else []), Text())


def summary(scene: Scene, now: datetime) -> RenderableType:
    """How the job ended, and what can be done next."""
    job = scene.job
    rows: list[tuple[str, RenderableType]] = []
    if job.reason is not None:
        rows.append(("Reason", reasons([job.reason], "")[0]))
    if job.state is JobState.TRY_AGAIN_LATER:
        rows += another_try(job, now)
    else:
        rows.append(("Steps", f"{job.steps_completed:,} of {job.steps_requested:,}"))
        rows.append(("Time", minutes_line(job, now)))
    if job.checkpoint is not None:
        rows.append(("Checkpoint", checkpoint_line(scene)))
    if job.export is not None:
        rows.append(("Files", " · ".join(f"{file.format} {figures.size(file.bytes)}" for file in job.export.files)))
        rows.append(("Next", f"trainyard download {job.id[:8]}"))
    return Group(heading(job), state_line(job), *([indented(facts(rows))] if rows else []), *reasons(job.notices))


def standing(job: JobView, now: datetime) -> RenderableType:
    """How the job stands right after a command; how to follow it where it goes on."""
    words = summary(Scene(job=job), now)
    if job.state in TERMINAL:
        return words
    return Group(words, Text(f"Watch it: trainyard watch {job.id[:8]}", "bright_black"))


def another_try(job: JobView, now: datetime) -> list[tuple[str, RenderableType]]:
    """When it may be tried again, and whether that needs anybody."""
    short = job.id[:8]
    rows: list[tuple[str, RenderableType]] = []
    if job.retry_after is not None:
        rows.append(("Try again", f"after {figures.clock(job.retry_after, now)}"))
    if job.reason is not None and job.reason.code == NEEDS_APPROVAL:
        rows.append(("Next", f"a mentor: trainyard approve {short}"))
    elif job.when_room:
        rows.append(("Next", "it queues by itself once it may; nobody needs to do anything"))
        rows.append(("", f"not any more: trainyard retry {short} --no-when-room"))
    else:
        rows.append(("Next", f"trainyard retry {short}"))
        rows.append(("", f"to let it queue by itself: trainyard retry {short} --when-room"))
    return rows


def minutes_line(job: JobView, now: datetime) -> str:
    """ "3:05 of at most 60:00", and what became of the reserved minutes once that is settled."""
    spent = _time(job, now, None)
    if job.used_seconds is None or job.refunded_seconds is None:
        return spent
    return f"{spent} · {figures.duration(job.refunded_seconds)} came back"


def checkpoint_line(scene: Scene) -> str:
    """The latest checkpoint and its metrics, and the best one where that is another."""
    saved, point = scene.job.checkpoint, scene.latest
    if saved is None and point is None:
        return "none yet" if scene.job.state not in TERMINAL else "none"
    step = max(saved.step if saved is not None else 0, point.step if point is not None else 0)
    parts = [f"step {step:,}"]
    if point is not None:
        at = "" if point.step == step else f" (step {point.step:,})"
        parts.append(f"mAP {precision(point.evaluation.get(MAP))}{at}")
        parts.append(f"mAP@.50IOU {precision(point.evaluation.get(MAP_50))}")
    elif saved is not None and saved.map is not None:
        parts.append(f"mAP {precision(saved.map)}")
    if saved is not None and saved.best_step is not None and saved.best_step != step:
        parts.append(f"best: step {saved.best_step:,} ({precision(saved.best_map)})")
    return " · ".join(parts)


def loss_line(progress: Progress) -> str:
    """ "0.412 · cls 0.21 · loc 0.11 · reg 0.09": the total and its parts, as far as they are known."""
    losses = {name.removeprefix("Loss/").removesuffix("_loss"): value for name, value in progress.losses.items()}
    total = losses.get("total")
    parts = [f"{short} {figures.metric(losses[name])}" for name, short in _LOSSES.items() if name in losses]
    return " · ".join([DASH if total is None else figures.metric(total), *parts])


def heading(job: JobView) -> Text:
    """Its name, the beginning of its id, its starting model."""
    return Text.assemble(
        text(job.description, "bold"),
        (f"  {job.id[:8]}", "bright_black"),
        text(f"  {figures.starting_model(job.starting_model)}"),
    )


def state_line(job: JobView) -> Text:
    """Its state and what that means."""
    return Text.assemble(state(job.state), "  ", MEANINGS[job.state])


def _grid(rows: Sequence[tuple[str, RenderableType]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(style="bright_black", no_wrap=True, width=10)
    grid.add_column(ratio=1)
    for name, value in rows:
        grid.add_row(name, text(value) if isinstance(value, str) else value)
    return grid


def _bar(job: JobView, made: int) -> Table:
    total = max(1, job.steps_requested)
    bar = Table.grid(padding=(0, 2, 0, 0), expand=True)
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True, justify="right")
    share = f"{made:,}/{job.steps_requested:,}  {100 * min(made, total) // total:3d}%"
    bar.add_row(ProgressBar(total=total, completed=min(made, total)), Text(share))
    return bar


def _speed(job: JobView, progress: Progress | None) -> str:
    if progress is None:
        return DASH
    left = figures.seconds_left(job, progress)
    speed = f"{progress.steps_per_second:.2f} steps/s"
    return speed if left is None else f"{speed} · {figures.roughly(left)} left"


def _time(job: JobView, now: datetime, progress: Progress | None) -> str:
    spent = figures.training_seconds(job, now, progress)
    return f"{figures.duration(spent)} of at most {figures.duration(job.max_seconds)}"


def _losses(progress: Progress | None) -> str:
    return DASH if progress is None else loss_line(progress)
