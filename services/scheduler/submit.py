"""Submitting a job: check what was asked, claim the datasets, reserve the minutes, queue the job or say why not.

Owns the order of these steps and what is undone when one fails. Repeating a request (same Idempotency-Key) finds the job
that the first one made.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NoReturn

import msgspec

from services.scheduler import budget
from services.scheduler.admission import Refused, Room, admit
from services.scheduler.datasets import DatasetService
from services.scheduler.domain import Job
from services.scheduler.estimate import Work, seconds_per_step
from services.scheduler.plan import Trainer, WaitingJob, can_hold, is_live
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import JobStore, TeamStore, TrainerStore
from shared.contract import epochs
from shared.contract.api.jobs import JobRequest, Plan, PlanRequest
from shared.contract.errors import Retry, UserError
from shared.contract.events import DatasetSource
from shared.contract.jobs import JobState
from shared.contract.starting_models import STARTING_MODELS, Accelerator, StartingModel
from shared.contract.views import DatasetView, JobView
from shared.runtime.auth import Principal
from shared.runtime.clock import Clock
from shared.runtime.locks import KeyedLocks

LONGEST_DESCRIPTION = 30
_MOST_DATASETS = 20
_RESERVE_TRIES = 20


class Submissions:
    """Plans and submits. `changed` is called with each job that was queued."""

    def __init__(
        self,
        *,
        settings: SchedulerSettings,
        jobs: JobStore,
        trainers: TrainerStore,
        teams: TeamStore,
        datasets: DatasetService,
        clock: Clock,
        changed: Callable[[Job], None],
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._trainers = trainers
        self._teams = teams
        self._datasets = datasets
        self._clock = clock
        self._changed = changed
        # A request that is sent twice at once is handled twice in a row: the second finds what the first one made.
        self._under_way = KeyedLocks()

    async def plan(self, team: str, request: PlanRequest) -> Plan:
        """The figures for datasets, model and steps. Raises UserError as `submit` does; claims nothing."""
        model = self._model(request.starting_model)
        self._check_ids(request.dataset_ids)
        found = await self._datasets.look(team, request.dataset_ids)
        labels = common_labels(found)
        trainers = await self._trainers.all()
        minutes_left = (await self._teams.available(team, self._clock.now()))[0] / 60
        return await self._figures(model, found, labels, request.steps, trainers, minutes_left)

    async def submit(self, who: Principal, job_id: str, request: JobRequest) -> Job:
        """The new job, QUEUED or TRY_AGAIN_LATER. Raises UserError; then nothing is claimed, reserved or kept."""
        async with self._under_way.hold(job_id):
            return await self._submit(who, job_id, request)

    async def _submit(self, who: Principal, job_id: str, request: JobRequest) -> Job:
        fingerprint = hashlib.sha256(msgspec.json.encode(request)).hexdigest()
        existing = await self._jobs.find(job_id)
        if existing is not None:
            return _same(existing, fingerprint)
        model = self._model(request.starting_model)
        description = self._description(request.description)
        self._check_ids(request.dataset_ids)
        found = await self._datasets.claim(who.team, job_id, description, request.dataset_ids)
        try:
            job, refused = await self._decide(who, job_id, request, description, model, found, fingerprint)
            kept = await self._jobs.insert(job)
        except BaseException:
            # Nothing came of it: the datasets are free again (if this fails too, the cleaner finds the claim), unless
            # the same request, sent twice at once to two schedulers, made the job meanwhile.
            if await self._jobs.find(job_id) is None:
                await self._datasets.release(who.team, job_id)
            raise
        if refused is None:
            await self._teams.arrived(who.team, job_id)
        if not kept:
            winner = await self._jobs.find(job_id)
            assert winner is not None
            return _same(winner, fingerprint)
        self._changed(job)
        return job

    async def _decide(
        self,
        who: Principal,
        job_id: str,
        request: JobRequest,
        description: str,
        model: StartingModel,
        found: Sequence[DatasetView],
        fingerprint: str,
    ) -> tuple[Job, Refused | None]:
        labels = common_labels(found)
        trainers = await self._trainers.all()
        figures = await self._figures(model, found, labels, request.steps, trainers, 0.0)
        minutes = self._minutes(request.max_minutes, figures.default_max_minutes)
        now = self._clock.now()
        waiting = WaitingJob(
            id=job_id,
            team=who.team,
            queued_at=now,
            front=False,
            starting_model=model.key,
            accelerator=figures.accelerator,
        )
        refused = await self._reserve(who.team, waiting, minutes * 60, trainers, now)
        reserved = 0 if refused else minutes * 60
        view = JobView(
            id=job_id,
            team=who.team,
            version=1,
            state=JobState.TRY_AGAIN_LATER if refused else JobState.QUEUED,
            description=description,
            created_by=who.name,
            created_at=now,
            queued_at=None if refused else now,
            ended_at=now if refused else None,
            starting_model=model.key,
            dataset_ids=[dataset.id for dataset in found],
            dataset_names=[dataset.name for dataset in found],
            labels=labels,
            train_frames=figures.train_frames,
            eval_frames=figures.eval_frames,
            batch_size=figures.batch_size,
            steps_requested=figures.steps,
            steps_completed=0,
            max_seconds=minutes * 60,
            attempt=0,
            reason=refused.reason if refused else None,
            retry_after=now + timedelta(seconds=refused.retry_after) if refused else None,
            reserved_seconds=reserved,
            used_seconds=0 if refused else None,
            refunded_seconds=0 if refused else None,
        )
        job = Job(
            view=view,
            datasets=[
                DatasetSource(
                    id=d.id, name=d.name, prefix=d.prefix, train_frames=d.train_frames, eval_frames=d.eval_frames
                )
                for d in found
            ],
            accelerator=figures.accelerator,
            seed=zlib.crc32(job_id.encode()),
            checkpoint_every=self._settings.checkpoint_every,
            lease_seconds=self._settings.lease_seconds,
            max_attempts=self._settings.max_attempts,
            fingerprint=fingerprint,
            ledger=[] if refused else [budget.reservation(job_id, reserved, now)],
            to_release=refused is not None,
        )
        return job, refused

    async def _reserve(
        self, team: str, job: WaitingJob, seconds: int, trainers: Sequence[Trainer], now: datetime
    ) -> Refused | None:
        """Reserve the minutes if the job may queue; looks again where another submit of the team came between."""
        for _ in range(_RESERVE_TRIES):
            left, version = await self._teams.available(team, now, besides=job.id)
            room = Room(
                trainers=trainers,
                lease=timedelta(seconds=self._settings.lease_seconds),
                waiting=len(await self._jobs.waiting()),
                max_waiting=self._settings.max_queued,
                team_jobs=await self._jobs.count_alive(team),
                max_team_jobs=self._settings.max_team_jobs,
                balance_seconds=left,
                earliest_refund=await self._earliest_refund(team, now),
            )
            refused = admit(job, seconds, room, now)
            if refused is not None or await self._teams.reserve(team, job.id, seconds, now, version=version):
                return refused
        raise Retry(f"team {team} kept changing under {_RESERVE_TRIES} reservations")

    async def _earliest_refund(self, team: str, now: datetime) -> datetime | None:
        ends = [
            now + timedelta(seconds=job.view.max_seconds - job.view.stepping_seconds_before)
            for job in await self._jobs.active()
            if job.view.team == team
        ]
        return min(ends, default=None)

    async def _figures(
        self,
        model: StartingModel,
        found: Sequence[DatasetView],
        labels: list[str],
        steps: int | None,
        trainers: Sequence[Trainer],
        minutes_left: float,
    ) -> Plan:
        accelerator = self._accelerator(model, trainers)
        train_frames = sum(dataset.train_frames for dataset in found)
        batch_size = epochs.fitting_batch_size(model.batch_size[accelerator], train_frames)
        limits = self._settings
        recommended = epochs.recommended_steps(train_frames, batch_size, limits.min_steps, limits.max_steps)
        steps = self._steps(recommended if steps is None else steps)
        paces = await self._jobs.finished_paces(model.key, batch_size, accelerator)
        pace = seconds_per_step(model.key, batch_size, accelerator, paces)
        stepping = steps * pace
        work = Work(
            job_id="",
            remaining_steps=steps,
            seconds_per_step=pace,
            checkpoint_every=limits.checkpoint_every,
            max_seconds=stepping,
        )
        wall = work.seconds(1.0)
        per_epoch = epochs.steps_per_epoch(train_frames, batch_size)
        performed = epochs.epochs_of(steps, train_frames, batch_size)
        default_minutes = budget.default_max_minutes(stepping)
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
            default_max_minutes=min(default_minutes, limits.max_minutes),
            minutes_left=minutes_left,
            sentences=[
                f"Your data has {_count(train_frames, 'training picture')}.",
                f"Each step looks at {batch_size} of them: that is the batch size.",
                f"One epoch, a full pass over your data, takes {_count(per_epoch, 'step')}.",
                f"{steps:,} steps perform {_count(performed, 'epoch')}; {recommended:,} steps are recommended.",
                f"It will take about {_span(wall)} on a {accelerator.upper()} trainer. Only time spent on steps that are"
                " saved counts against your minutes.",
            ],
        )

    def _accelerator(self, model: StartingModel, trainers: Sequence[Trainer]) -> Accelerator:
        """The best kind that a live trainer offers."""
        lease, now = timedelta(seconds=self._settings.lease_seconds), self._clock.now()
        kinds: tuple[Accelerator, ...] = ("gpu", "cpu")
        for kind in kinds:
            probe = WaitingJob(id="", team="", queued_at=now, front=False, starting_model=model.key, accelerator=kind)
            if any(is_live(trainer, lease, now) and can_hold(trainer, probe) for trainer in trainers):
                return kind
        return "cpu"

    def _model(self, key: str) -> StartingModel:
        model = STARTING_MODELS.get(key)
        if model is None:
            _refuse("starting_model", f"There is no starting model {key!r}; there is: {', '.join(STARTING_MODELS)}.")
        return model

    def _steps(self, steps: int) -> int:
        lowest, highest = self._settings.min_steps, self._settings.max_steps
        if not lowest <= steps <= highest:
            _refuse("steps", f"The number of steps must be from {lowest:,} to {highest:,}; it is {steps:,}.")
        return steps

    def _minutes(self, minutes: int | None, default: int) -> int:
        if minutes is None:
            return default
        if not 1 <= minutes <= self._settings.max_minutes:
            _refuse(
                "max_minutes",
                f"The maximum training time must be from 1 to {self._settings.max_minutes} minutes; it is {minutes}.",
            )
        return minutes

    def _description(self, text: str) -> str:
        description = " ".join(text.split())
        if not 1 <= len(description) <= LONGEST_DESCRIPTION:
            _refuse(
                "description",
                f"The description must have 1 to {LONGEST_DESCRIPTION} characters; it has {len(description)}.",
            )
        if not description.isprintable():
            _refuse("description", f"The description must be printable text; it is {description!r}.")
        return description

    def _check_ids(self, dataset_ids: Sequence[str]) -> None:
        if not 1 <= len(dataset_ids) <= _MOST_DATASETS:
            _refuse("dataset_ids", f"Choose 1 to {_MOST_DATASETS} datasets; there are {len(dataset_ids)}.")
        twice = sorted({dataset_id for dataset_id in dataset_ids if dataset_ids.count(dataset_id) > 1})
        if twice:
            _refuse("dataset_ids", f"Name each dataset once; named more often: {', '.join(twice)}.")


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


def _same(job: Job, fingerprint: str) -> Job:
    if job.fingerprint != fingerprint:
        raise UserError(
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request. Send a new key with a new request.",
            "Idempotency-Key",
            status=422,
        )
    return job


def _span(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return _count(minutes, "minute") if minutes < 90 else f"{minutes / 60:.1f} hours"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _refuse(field: str, message: str) -> NoReturn:
    raise UserError(f"bad_{field}", message, field)
