"""The figures of a run before it exists: batch, epochs, time, minutes, its place; and the bounds on what may be asked.

Owns the checks of a request's numbers and words, each with an error that names the field, the value and the limit, and the
sentences of a plan. Reserves and claims nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from math import ceil
from statistics import median
from typing import NoReturn
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from services.scheduler import budget
from services.scheduler.board import Board, kind_of, needs_of
from services.scheduler.domain import Job, RunKind
from services.scheduler.estimate import Work, forecast_of
from services.scheduler.plan import Hours, Needs, WaitingJob, can_hold, takes_jobs
from services.scheduler.settings import SchedulerSettings
from shared.contract import epochs
from shared.contract.api.jobs import Plan
from shared.contract.errors import UserError
from shared.contract.starting_models import DEFAULT_STARTING_MODEL, STARTING_MODELS, Accelerator, StartingModel
from shared.contract.views import DatasetView, QueuePlace, Reason
from shared.runtime.clock import Clock

LONGEST_DESCRIPTION = 30
_MOST_DATASETS = 20
_MOST_REQUIREMENTS = 16
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_LABEL = re.compile(r"[a-z0-9._-]{1,40}")


class Figures:
    """Plans and checks, on the board as it is."""

    def __init__(self, settings: SchedulerSettings, board: Board, clock: Clock) -> None:
        self._settings = settings
        self._board = board
        self._clock = clock

    async def plan(
        self,
        model: StartingModel,
        found: Sequence[DatasetView],
        labels: list[str],
        *,
        steps: int | None,
        requires: Mapping[str, str],
    ) -> Plan:
        """The figures of `steps` steps (None: the recommended number), without a place and the team's minutes. Raises UserError
        `bad_steps`."""
        train_frames = sum(dataset.train_frames for dataset in found)
        accelerator, batch_size = self._kind(
            model, requires, lambda kind: epochs.fitting_batch_size(model.batch_size[kind], train_frames)
        )
        limits = self._settings
        recommended = epochs.recommended_steps(train_frames, batch_size, limits.min_steps, limits.max_steps)
        steps = self.steps(recommended if steps is None else steps)
        pace = median(await self._board.paces_of((model.key, batch_size, accelerator)))
        stepping = steps * pace
        wall = self._work(steps, [pace], stepping).seconds(pace)
        per_epoch = epochs.steps_per_epoch(train_frames, batch_size)
        performed = epochs.epochs_of(steps, train_frames, batch_size)
        return Plan(
            starting_model=model.key,
            accelerator=accelerator,
            train_frames=train_frames,
            eval_frames=sum(dataset.eval_frames for dataset in found),
            labels=labels,
            batch_size=batch_size,
            steps_per_epoch=per_epoch,
            steps=steps,
            epochs=performed,
            recommended_steps=recommended,
            estimated_seconds=wall,
            seconds_per_step=pace,
            default_max_minutes=min(budget.default_max_minutes(stepping), limits.max_minutes),
            minutes_left=0.0,
            sentences=[
                f"Your data has {_count(train_frames, 'training picture')}.",
                f"Each step looks at {batch_size} of them: that is the batch size.",
                f"One epoch, a full pass over your data, takes {_count(per_epoch, 'step')}.",
                f"{steps:,} steps perform {_count(performed, 'epoch')}; {recommended:,} steps are recommended.",
                f"It will take about {_span(wall)} on a {accelerator.upper()} trainer. Only time spent on steps that are"
                " saved counts against your minutes.",
            ],
        )

    async def place(self, job: WaitingJob, work: Work) -> QueuePlace:
        """Where a job would stand and when it would start and end if it were queued now."""
        await self._board.refresh()
        await self._board.know_paces()
        now = self._clock.now()
        return forecast_of(self._board.snapshot(now), job, work, self._board.works(), now)

    async def usual(self, team: str) -> tuple[WaitingJob, Work]:
        """A job as `team` would submit it that changes nothing on the form."""
        model = STARTING_MODELS[DEFAULT_STARTING_MODEL]
        accelerator, batch_size = self._kind(model, {}, lambda kind: model.batch_size[kind])
        steps = self._settings.default_steps
        paces = await self._board.paces_of((model.key, batch_size, accelerator))
        minutes = min(budget.default_max_minutes(steps * median(paces)), self._settings.max_minutes)
        work = self._work(steps, paces, 60 * minutes)
        return self.waiting_job("", team, needs_of(model.key, accelerator, batch_size), work), work

    async def wait(self, job: WaitingJob, work: Work) -> timedelta | None:
        """How long until it would likely start, None where that can't be said. Looked at closely only where it may matter."""
        await self._board.refresh()
        now = self._clock.now()
        seen = self._board.snapshot(now)
        slots = sum(
            trainer.slots
            for trainer in seen.trainers
            if takes_jobs(trainer, seen.lease, now) and can_hold(trainer, job.needs)
        )
        if slots == 0:
            return None
        ahead = sum(one.expected_seconds for one in seen.waiting) + sum(one.expected_seconds for one in seen.active)
        if seen.hours is None and ahead / slots < self._settings.max_wait_seconds / 2:
            return timedelta(seconds=ahead / slots)
        place = await self.place(job, work)
        if place.start_from is None or place.start_to is None:
            return None
        return place.start_from + (place.start_to - place.start_from) / 2 - now

    async def work(self, plan: Plan, max_seconds: float) -> Work:
        """What a job of this plan has to do."""
        paces = await self._board.paces_of((plan.starting_model, plan.batch_size, plan.accelerator))
        return self._work(plan.steps, paces, max_seconds)

    async def refitted(self, job: Job) -> Job:
        """A job that waits, made to fit what is there now: another kind of trainer takes another batch, and another maximum
        time where that is the default. One that goes on from a checkpoint keeps its batch, and one that ran out of memory gets
        no larger one."""
        view = job.view
        model = STARTING_MODELS[view.starting_model]

        def batch_on(kind: Accelerator) -> int:
            if view.checkpoint is not None:
                return view.batch_size
            fitting = epochs.fitting_batch_size(model.batch_size[kind], view.train_frames)
            return min(fitting, view.batch_size) if "out_of_memory" in job.remedies else fitting

        accelerator, batch_size = self._kind(model, view.requires, batch_on)
        fitted = replace(job, accelerator=accelerator, view=replace(view, batch_size=batch_size))
        if job.own_limit or kind_of(fitted) == kind_of(job):
            return fitted
        pace = median(await self._board.paces_of(kind_of(fitted)))
        stepping = view.stepping_seconds_before + pace * max(0, view.steps_requested - view.steps_completed)
        minutes = min(budget.default_max_minutes(stepping), self._settings.max_minutes)
        return replace(fitted, view=replace(fitted.view, max_seconds=60 * minutes))

    def waiting_job(
        self, job_id: str, team: str, needs: Needs, work: Work, *, priority: int = 0, front: bool = False
    ) -> WaitingJob:
        """A job as it would wait from now on."""
        pace = median(work.step_seconds)
        return WaitingJob(
            id=job_id,
            team=team,
            queued_at=self._clock.now(),
            needs=needs,
            priority=priority,
            front=front,
            expected_seconds=work.seconds(pace),
            first_checkpoint_seconds=work.first_checkpoint(pace),
        )

    def has_capacity(self, needs: Needs) -> bool:
        """Whether a live trainer that takes jobs could hold such a one, busy or not."""
        now, lease = self._clock.now(), timedelta(seconds=self._settings.lease_seconds)
        return any(takes_jobs(one, lease, now) and can_hold(one, needs) for one in self._board.trainers.values())

    def too_slow(self, job: WaitingJob, window: float) -> Reason | None:
        """Why a job can't ever reach its first checkpoint in the lab's hours, which leave `window` seconds in a row at most.

        None where it can."""
        # A round of planning may come that much after the lab has opened.
        if job.first_checkpoint_seconds + self._settings.plan_seconds <= window:
            return None
        left, needed = int(window // 60), ceil(job.first_checkpoint_seconds / 60)
        return Reason(
            code="no_capacity",
            message=f"The lab's hours ({self._settings.lab_hours}) never leave more than {_count(left, 'minute')} in a row for"
            f" training. On a {job.needs.accelerator.upper()} trainer this job needs {_count(needed, 'minute')} until its first"
            " checkpoint: it could never save any.",
            remedy="Ask whoever runs Trainyard for longer hours or a faster trainer.",
        )

    def closed(self, hours: Hours | None) -> Reason | None:
        """Why nothing starts while the lab is closed, None where it is open."""
        if hours is None or hours.open:
            return None
        zone = self._settings.lab_timezone
        until = f" until {hours.until.astimezone(ZoneInfo(zone)):%a %d %b, %H:%M} ({zone})" if hours.until else ""
        return Reason(
            code="lab_hours",
            message=f"The lab is closed{until}. Jobs wait in the queue and start in their turn once it is open.",
        )

    def model(self, key: str) -> StartingModel:
        """Raises UserError `bad_starting_model`."""
        model = STARTING_MODELS.get(key)
        if model is None:
            _refuse("starting_model", f"There is no starting model {key!r}; there is: {', '.join(STARTING_MODELS)}.")
        return model

    def steps(self, steps: int) -> int:
        """Raises UserError `bad_steps`."""
        lowest, highest = self._settings.min_steps, self._settings.max_steps
        if not lowest <= steps <= highest:
            _refuse("steps", f"The number of steps must be from {lowest:,} to {highest:,}; it is {steps:,}.")
        return steps

    def minutes(self, minutes: int | None, default: int) -> int:
        """Raises UserError `bad_max_minutes`."""
        if minutes is None:
            return default
        if not 1 <= minutes <= self._settings.max_minutes:
            _refuse(
                "max_minutes",
                f"The maximum training time must be from 1 to {self._settings.max_minutes} minutes; it is {minutes}.",
            )
        return minutes

    def description(self, text: str) -> str:
        """The description with single spaces. Raises UserError `bad_description`."""
        description = " ".join(text.split())
        if not 1 <= len(description) <= LONGEST_DESCRIPTION:
            _refuse(
                "description",
                f"The description must have 1 to {LONGEST_DESCRIPTION} characters; it has {len(description)}.",
            )
        if not description.isprintable():
            _refuse("description", f"The description must be printable text; it is {description!r}.")
        return description

    def dataset_ids(self, dataset_ids: Sequence[str]) -> None:
        """Raises UserError `bad_dataset_ids`."""
        if not 1 <= len(dataset_ids) <= _MOST_DATASETS:
            _refuse("dataset_ids", f"Choose 1 to {_MOST_DATASETS} datasets; there are {len(dataset_ids)}.")
        for dataset_id in dataset_ids:
            if not _ID.fullmatch(dataset_id):
                _refuse("dataset_ids", f"{dataset_id[:60]!r} is no dataset's id.")
        twice = sorted({dataset_id for dataset_id in dataset_ids if dataset_ids.count(dataset_id) > 1})
        if twice:
            _refuse("dataset_ids", f"Name each dataset once; named more often: {', '.join(twice)}.")

    def requires(self, labels: Mapping[str, str]) -> None:
        """Raises UserError `bad_requires`."""
        if len(labels) > _MOST_REQUIREMENTS:
            _refuse("requires", f"A job may require {_MOST_REQUIREMENTS} labels at most; there are {len(labels)}.")
        for word in (*labels.keys(), *labels.values()):
            if not _LABEL.fullmatch(word):
                _refuse(
                    "requires", f"A label's name and value are 1 to 40 of a-z, 0-9, '.', '_' and '-'; {word!r} isn't."
                )

    def _kind(
        self, model: StartingModel, requires: Mapping[str, str], batch_on: Callable[[Accelerator], int]
    ) -> RunKind:
        """The best kind that a live trainer which takes jobs offers, with the batch that the job would have there; the one that
        is expected where there is none."""
        accelerators: tuple[Accelerator, ...] = ("gpu", "cpu")
        kinds = [RunKind(accelerator, batch_on(accelerator)) for accelerator in accelerators]
        live = (kind for kind in kinds if self.has_capacity(needs_of(model.key, *kind, requires)))
        return next(live, next(kind for kind in kinds if kind.accelerator == self._settings.expected_accelerator))

    def _work(self, steps: int, paces: Sequence[float], max_seconds: float) -> Work:
        return Work(
            remaining_steps=steps,
            step_seconds=paces,
            checkpoint_every=self._settings.checkpoint_every,
            max_seconds=max_seconds,
        )


def common_labels(datasets: Sequence[DatasetView]) -> list[str]:
    """The labels, sorted, that all datasets have. Raises UserError `labels_differ` that says which differ where."""
    wanted = sorted(label.name for label in datasets[0].labels)
    differences = []
    for dataset in datasets[1:]:
        names = {label.name for label in dataset.labels}
        missing, extra = sorted(set(wanted) - names), sorted(names - set(wanted))
        if missing or extra:
            differences.append({"dataset_id": dataset.id, "name": dataset.name, "missing": missing, "extra": extra})
    if differences:
        told = "; ".join(
            f"{d['name']} lacks {d['missing'] or 'nothing'} and adds {d['extra'] or 'nothing'}" for d in differences
        )
        raise UserError(
            "labels_differ",
            f"Datasets that are trained together must have the same labels. Compared with {datasets[0].name}: {told}.",
            "dataset_ids",
            details={"differences": differences},
        )
    return wanted


def _span(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return _count(minutes, "minute") if minutes < 90 else f"{minutes / 60:.1f} hours"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _refuse(field: str, message: str) -> NoReturn:
    raise UserError(f"bad_{field}", message, field)
