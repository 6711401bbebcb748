"""Tables and details as a terminal shows them: datasets, plans, models; and what all tables are made of.

Owns layout, colours and column choice by width. Words and numbers are figures.py's; requests are not made here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.cli import figures
from services.cli.figures import count, plain
from shared.contract.api.datasets import Compatibility, DatasetAnswer, DatasetStatistics, ImportReport
from shared.contract.api.jobs import Plan, StartingModels
from shared.contract.jobs import JobState
from shared.contract.views import DatasetView, JobView, Reason

WIDE = 100  # columns of a terminal from which on tables show more
# The one refusal that no time ends, but a mentor.
NEEDS_APPROVAL = "needs_approval"
_SIZES_SHOWN = 3
_SKIPPED_SHOWN = 10

STATE_STYLES: Mapping[JobState, str] = {
    JobState.QUEUED: "yellow",
    JobState.PREPARING: "cyan",
    JobState.RUNNING: "bold cyan",
    JobState.STOP_REQUESTED: "magenta",
    JobState.STOPPING: "magenta",
    JobState.SUCCEEDED: "bold green",
    JobState.STOPPED: "green",
    JobState.CANCELED: "bright_black",
    JobState.FAILED: "bold red",
    JobState.TRY_AGAIN_LATER: "bold yellow",
    JobState.STATE_UNSPECIFIED: "bold red",
}


def text(value: str, style: str = "") -> Text:
    """Somebody else's words, safe to print: no markup, no control characters."""
    return Text(plain(value), style=style)


def cut(value: str, style: str = "") -> Text:
    """The same for a table's flexible column: it stays on one line and ends in … where there is no room."""
    return Text(plain(value), style=style, no_wrap=True, overflow="ellipsis")


def state(value: JobState) -> Text:
    """A job's state in its colour."""
    return Text(figures.state_name(value), style=STATE_STYLES[value])


def facts(rows: Sequence[tuple[str, RenderableType]]) -> Table:
    """Names and values in two columns."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bright_black", no_wrap=True, min_width=10)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, text(value) if isinstance(value, str) else value)
    return grid


def table(*columns: str, right: Sequence[str] = (), flexible: Sequence[str] = ()) -> Table:
    """An empty table; columns in `right` hold numbers, `flexible` ones give way in a narrow terminal: fill them by `cut`."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black", pad_edge=False)
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in right else "left",
            # Rich narrows the columns that may wrap before all others; cells made by `cut` then don't wrap.
            no_wrap=name not in flexible,
            overflow="ellipsis",
        )
    return made


def reasons(items: Sequence[Reason], style: str = "yellow") -> list[Text]:
    """Each reason as a sentence with its remedy."""
    return [text(" ".join(filter(None, (item.message, item.remedy))), style) for item in items]


def datasets_table(datasets: Sequence[DatasetView], width: int) -> RenderableType:
    """The team's datasets."""
    if not datasets:
        return Text("There are no datasets yet. Add one: trainyard datasets add pictures.zip")
    short = figures.short_ids(dataset.id for dataset in datasets)
    wide = width >= WIDE
    columns = ["ID", "Name", "Train", "Eval", *(["Size", "Added"] if wide else []), "Labels"]
    made = table(*columns, right=("Train", "Eval", "Size"), flexible=("Name", "Labels"))
    for item in datasets:
        labels = ", ".join(label.name for label in item.labels)
        extra = [Text(figures.size(item.bytes)), Text(figures.date(item.created_at))] if wide else []
        frames = (Text(figures.whole(item.train_frames)), Text(figures.whole(item.eval_frames)))
        made.add_row(Text(short[item.id]), cut(item.name, "bold"), *frames, *extra, cut(labels))
    return made


def dataset_details(answer: DatasetAnswer, statistics: DatasetStatistics | None = None) -> RenderableType:
    """One dataset: counts, labels, sizes, how the import went, what may spoil a training, who uses it."""
    item = answer.dataset
    rows: list[tuple[str, RenderableType]] = [
        ("ID", item.id),
        ("Added", figures.date(item.created_at)),
        ("Training", f"{count(item.train_frames, 'picture')}, {item.train_negatives:,} without any object"),
        ("Evaluation", f"{count(item.eval_frames, 'picture')}, {item.eval_negatives:,} without any object"),
        ("Size", figures.size(item.bytes)),
    ]
    if statistics is not None:
        rows += _sizes(statistics)
    if answer.used_by:
        rows.append(("Used by", ", ".join(f"{use.description} ({use.job_id[:8]})" for use in answer.used_by)))
    heading, details = text(item.name, "bold"), indented(facts(rows))
    labels = _labels(item) if statistics is None else _counted_labels(statistics)
    told = {*answer.report.warnings}  # of a dataset that was imported before, some findings came later
    later = [text(f"warning: {found.message}", "yellow") for found in item.findings if found.message not in told]
    return Group(heading, details, Text(), indented(labels), Text(), import_report(answer.report), *later)


def _labels(item: DatasetView) -> Table:
    made = table("Label", "Training boxes", "Evaluation boxes", right=("Training boxes", "Evaluation boxes"))
    for label in item.labels:
        made.add_row(text(label.name), Text(figures.whole(label.train)), Text(figures.whole(label.eval)))
    return made


def _counted_labels(statistics: DatasetStatistics) -> Table:
    numbers = ("Training boxes", "in pictures", "Evaluation boxes", "in pictures ")
    made = table("Label", *numbers, right=numbers)
    for label in statistics.labels:
        counts = (label.train.boxes, label.train.pictures, label.eval.boxes, label.eval.pictures)
        made.add_row(text(label.name), *(Text(figures.whole(number)) for number in counts))
    return made


def _sizes(statistics: DatasetStatistics) -> list[tuple[str, RenderableType]]:
    """Sizes of pictures in pixels, and of boxes as shares of the picture's longer side."""
    shown = statistics.picture_sizes[:_SIZES_SHOWN]
    pictures = [f"{size.pictures:,} of {size.width} x {size.height}" for size in shown]
    others = statistics.train.pictures + statistics.eval.pictures - sum(size.pictures for size in shown)
    if others:
        pictures.append(f"{others:,} of other sizes")
    boxes = []
    before: float | None = None
    for size in statistics.box_sizes:
        if size.boxes:
            span = f"{before or 0:.0%} and more" if size.below is None else f"{before or 0:.0%} to {size.below:.0%}"
            boxes.append(f"{size.boxes:,} at {span}")
        before = size.below
    return [("Pictures", ", ".join(pictures)), ("Boxes", ", ".join(boxes) + " of the picture's longer side")]


def import_report(report: ImportReport) -> RenderableType:
    """What was read, what was skipped and why, what looks odd."""
    read = {**report.read, "annotations": report.annotations, "boxes": report.boxes}
    what = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in read.items())
    ignored = f" {count(report.ignored, 'file')} of other kinds left aside." if report.ignored else ""
    parts: list[RenderableType] = [text(f"Read {what}.{ignored}")]
    if report.skipped_total:
        parts.append(text(f"Skipped {count(report.skipped_total, 'file')}:", "yellow"))
        listed = Table.grid(padding=(0, 2, 0, 0))
        for item in report.skipped[:_SKIPPED_SHOWN]:
            listed.add_row(text(item.file), text(item.reason))
        if report.skipped_total > _SKIPPED_SHOWN:
            listed.add_row(Text(f"… and {report.skipped_total - _SKIPPED_SHOWN:,} more"))
        parts.append(indented(listed))
    parts += [text(f"warning: {warning}", "yellow") for warning in report.warnings]
    return Group(*parts)


def compatibility_view(answer: Compatibility) -> RenderableType:
    """Whether datasets can be trained on together, and what differs."""
    labels = ", ".join(answer.labels)
    if answer.compatible:
        return Group(Text("The labels are the same: these datasets can be trained on together.", "green"), text(labels))
    parts: list[RenderableType] = [Text("The labels differ: these datasets can't be trained on together.", "bold red")]
    for item in answer.differences:
        if not (item.missing or item.extra or item.hints):
            continue
        rows = [("lacks", ", ".join(item.missing)), ("has more", ", ".join(item.extra))]
        rows += [("hint", hint) for hint in item.hints]
        parts += [
            Text.assemble(text(item.name, "bold"), (f"  {item.dataset_id[:8]}", "bright_black")),
            indented(facts([row for row in rows if row[1]])),
        ]
    return Group(*parts)


def plan_view(
    plan: Plan, max_minutes: int | None, now: datetime, *, when_room: bool = False, parent: JobView | None = None
) -> RenderableType:
    """What the training would be like, before anything is reserved, and when it would be its turn; or why not now."""
    limit = plan.default_max_minutes if max_minutes is None else max_minutes
    steps = f"{plan.steps:,} = {count(plan.epochs, 'epoch')} of {count(plan.steps_per_epoch, 'step')}"
    if plan.steps != plan.recommended_steps:
        steps += f" (recommended: {plan.recommended_steps:,})"
    rows: list[tuple[str, RenderableType]] = [
        ("Model", f"{figures.starting_model(plan.starting_model)} on a {plan.accelerator.upper()}"),
        ("Pictures", f"{plan.train_frames:,} to train, {plan.eval_frames:,} to evaluate, {plan.batch_size} each step"),
        ("Labels", ", ".join(plan.labels)),
        ("Steps", steps),
        ("Time", f"{figures.roughly(plan.estimated_seconds)}, stopped after {count(limit, 'minute')} at the latest"),
        ("Budget", f"{figures.minutes(plan.minutes_left * 60)} left for your team"),
    ]
    if parent is not None:
        before = parent.previous_steps + parent.steps_completed
        rows.insert(1, ("From", f"{parent.description} ({parent.id[:8]}), after {count(before, 'step')}"))
    if plan.refusal is not None:
        rows += [("Not now", reasons([plan.refusal])[0]), ("Then", _another_try(plan, plan.refusal, now, when_room))]
    elif plan.place is not None:
        rows.append(("Queue", figures.place_in_queue(plan.place, now)))
    return Group(indented(facts(rows)), Text(), *(text(sentence) for sentence in plan.sentences))


def _another_try(plan: Plan, refusal: Reason, now: datetime, when_room: bool) -> str:
    if refusal.code == NEEDS_APPROVAL:
        return "submit it, and it queues once a mentor approves it"
    if when_room:
        return "it queues by itself once it may"
    after = "once that has changed"
    if plan.retry_after_seconds is not None:
        after = f"after {figures.clock(now + timedelta(seconds=plan.retry_after_seconds), now)}"
    return f"try again {after}, or give --when-room: it then queues by itself"


def models_table(models: Sequence[JobView], now: datetime, width: int) -> RenderableType:
    """Models and jobs, newest first."""
    if not models:
        return Text("There are no models yet. Start a training: trainyard train --dataset ID --description NAME")
    short = figures.short_ids(model.id for model in models)
    wide = width >= WIDE
    columns = ["ID", "Description", "Job State", "Steps", "Time", "mAP", *(["Created"] if wide else [])]
    made = table(*columns, right=("Steps", "Time", "mAP"), flexible=("Description",))
    for job in models:
        steps = f"{job.steps_completed:,}/{job.steps_requested:,}"
        made.add_row(
            Text(short[job.id]),
            cut(job.description, "bold"),
            state(job.state),
            Text(steps),
            Text(figures.duration(figures.training_seconds(job, now))),
            Text(figures.precision(None if job.checkpoint is None else job.checkpoint.map)),
            *([Text(figures.date(job.created_at))] if wide else []),
        )
    return made


def starting_models_table(answer: StartingModels) -> RenderableType:
    """What can be trained from, and the installation's bounds."""
    parts: list[RenderableType] = []
    for item in answer.starting_models:
        default = (" (default)", "green") if item.key == answer.default else ("", "")
        batches = ", ".join(f"{number} on a {kind.upper()}" for kind, number in sorted(item.batch_size.items()))
        detail = f"{item.input_size}x{item.input_size} pixels; pictures each step: {batches}"
        parts += [
            Text.assemble(text(item.key, "bold"), default),
            indented(Group(text(item.name), text(item.summary), text(detail))),
        ]
    limits = answer.limits
    parts += [
        Text(),
        text(
            f"{limits.min_steps:,} to {limits.max_steps:,} steps ({limits.default_steps:,} unless told), "
            f"{count(limits.max_minutes, 'minute')} at most, a checkpoint every {count(limits.checkpoint_every, 'step')}."
        ),
    ]
    return Group(*parts)


def indented(renderable: RenderableType) -> Padding:
    """Set in by two columns."""
    return Padding(renderable, (0, 0, 0, 2), expand=False)
