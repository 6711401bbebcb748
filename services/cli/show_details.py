"""`trainyard show`: all about one job, in a terminal.

Owns layout. Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.cli import figures
from services.cli.figures import DASH, count, precision
from services.cli.scene import MAP, MAP_50, MAP_75, RECALL_100, TOTAL_LOSS, Scene
from services.cli.show import cut, facts, indented, reasons, state, table, text
from services.cli.show_job import another_try, heading, minutes_line, state_line
from shared.contract.api.models import ModelEvent
from shared.contract.jobs import JobState
from shared.contract.stream import MetricPoint
from shared.contract.views import JobView

_POINTS_SHOWN = 12


def job_details(scene: Scene, events: Sequence[ModelEvent], now: datetime) -> RenderableType:
    """All about a job: its settings, minutes, attempts, metrics, files, history."""
    job = scene.job
    rows: list[tuple[str, RenderableType]] = [
        ("ID", job.id),
        ("Created", f"{figures.date(job.created_at)} by {job.created_by}"),
        ("Model", figures.starting_model(job.starting_model)),
        *_origin(job),
        ("Datasets", ", ".join(job.dataset_names)),
        ("Labels", ", ".join(job.labels)),
        ("Pictures", f"{job.train_frames:,} to train, {job.eval_frames:,} to evaluate, {job.batch_size} each step"),
        ("Steps", _steps(scene)),
        ("Time", minutes_line(job, now)),
        *_wishes(job),
    ]
    if scene.place is not None:
        rows.append(("Queue", figures.place_in_queue(scene.place, now)))
    if job.reason is not None:
        rows.append(("Reason", reasons([job.reason], "")[0]))
    if job.state is JobState.TRY_AGAIN_LATER:
        rows += another_try(job, now)
    if job.export is not None:
        rows.append(("Files", " · ".join(f"{file.format} {figures.size(file.bytes)}" for file in job.export.files)))
    if job.log_lines:
        rows.append(("Log", f"{count(job.log_lines, 'line')}: trainyard log {job.id[:8]}"))
    parts: list[RenderableType] = [
        heading(job),
        state_line(job),
        *reasons(job.notices),
        Text(),
        indented(facts(rows)),
    ]
    for title, part in (
        ("Attempts", _attempts(job)),
        ("Checkpoints", _metrics(list(scene.points.values()))),
        ("History", _history(events)),
    ):
        if part is not None:
            parts += [Text(), Text(title, "bold"), indented(part)]
    return Group(*parts)


def _origin(job: JobView) -> list[tuple[str, str]]:
    """What it was trained on from, where that is another model of the team."""
    if job.parent_id is None:
        return []
    return [("From", f"{job.parent_description or 'a model'} ({job.parent_id[:8]})")]


def _steps(scene: Scene) -> str:
    job = scene.job
    made = figures.steps_made(job, scene.progress)
    own = f"{made:,} of {job.steps_requested:,}"
    return f"{own}, {job.previous_steps + made:,} in all" if job.previous_steps else own


def _wishes(job: JobView) -> list[tuple[str, str]]:
    """What is not as it is for most jobs."""
    rows = []
    if job.priority:
        rows.append(("Priority", f"{job.priority:+d}, set by an operator"))
    if job.requires:
        rows.append(("Requires", f"a trainer labelled {figures.labels(job.requires)}"))
    if job.approved_by is not None:
        rows.append(("Approved", f"by {job.approved_by}"))
    if job.learning_rate_scale != 1:
        rows.append(("Rate", f"learning rate at {figures.share(job.learning_rate_scale)} of the usual"))
    return rows


def _attempts(job: JobView) -> RenderableType | None:
    if not job.attempts:
        return None
    made = table("No.", "Trainer", "Assigned", "From step", "Outcome", right=("From step",), flexible=("Trainer",))
    why = []
    for item in job.attempts:
        start = DASH if item.resumed_from is None else figures.whole(item.resumed_from)
        outcome = item.outcome or ("under way" if item.ended_at is None else DASH)
        made.add_row(str(item.number), cut(item.trainer), figures.date(item.assigned_at), start, text(outcome))
        if item.reason is not None:
            why.append(Text.assemble(f"{item.number}: ", reasons([item.reason], "")[0]))
    return Group(made, *why)


def _metrics(points: Sequence[MetricPoint]) -> RenderableType | None:
    if not points:
        return None
    names = {"mAP": MAP, "mAP@.50": MAP_50, "mAP@.75": MAP_75, "AR@100": RECALL_100}
    numbers = ("Step", *names, "Train loss", "Eval loss", "Time")
    made = table(*numbers, "", right=numbers)
    ordered = sorted(points, key=lambda point: point.step)
    # Each was the best when it was saved; the last of them still is.
    best = next((point for point in reversed(ordered) if point.best), None)
    for point in ordered[-_POINTS_SHOWN:]:
        losses = (pool.get(TOTAL_LOSS) for pool in (point.training, point.evaluation))
        made.add_row(
            f"{point.step:,}",
            *(precision(point.evaluation.get(name)) for name in names.values()),
            *(DASH if loss is None else figures.metric(loss) for loss in losses),
            figures.duration(point.stepping_seconds),
            Text("best" if point is best else "", "green"),
        )
    hidden = len(ordered) - _POINTS_SHOWN
    return Group(Text(f"… {count(hidden, 'earlier one')}, see --json", "bright_black"), made) if hidden > 0 else made


def _history(events: Sequence[ModelEvent]) -> Table | None:
    if not events:
        return None
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for event in events:
        made.add_row(Text(figures.date(event.at)), state(event.state), text(event.message or event.trigger))
    return made
