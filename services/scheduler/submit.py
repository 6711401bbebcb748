"""Submitting a job, anew, again or on top of another: claim, reserve, queue it, or say why not.

Owns the order of these steps and what is undone when one fails: claims on datasets and on a parent first, then the minutes,
then the job itself. Repeating a request (same Idempotency-Key) finds the job that the first one made.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

import msgspec

from services.scheduler import budget, orders
from services.scheduler.admission import admit
from services.scheduler.board import Board, needs_of
from services.scheduler.datasets import DatasetService
from services.scheduler.domain import Job, RunKind
from services.scheduler.figures import Figures, common_labels
from services.scheduler.reserve import Asker, Reservations
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import JobStore
from services.scheduler.teams import TeamStore
from shared.contract.api.jobs import JobRequest, MoreRequest, Plan, PlanRequest
from shared.contract.errors import IllegalTransition, KeyReused, NotFound, Stale, UserError
from shared.contract.events import DatasetSource
from shared.contract.jobs import TERMINAL, JobState
from shared.contract.views import DatasetView, JobView
from shared.runtime.auth import Principal
from shared.runtime.clock import Clock
from shared.runtime.locks import KeyedLocks


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request: what a job is made of, besides what its datasets say. `parent` is the model to train on from."""

    job_id: str
    who: Principal
    description: str
    starting_model: str
    dataset_ids: list[str]
    steps: int | None
    max_minutes: int | None
    when_room: bool
    requires: dict[str, str]
    fingerprint: str
    parent: Job | None = None


class Submissions:
    """Plans and submits. `changed` is called with each job that was written."""

    def __init__(
        self,
        *,
        settings: SchedulerSettings,
        jobs: JobStore,
        teams: TeamStore,
        board: Board,
        figures: Figures,
        reservations: Reservations,
        datasets: DatasetService,
        clock: Clock,
        changed: Callable[[Job], None],
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._teams = teams
        self._board = board
        self._figures = figures
        self._reservations = reservations
        self._datasets = datasets
        self._clock = clock
        self._changed = changed
        # A request that is sent twice at once is handled twice in a row: the second finds what the first one made.
        self._under_way = KeyedLocks()

    async def plan(self, who: Principal, request: PlanRequest) -> Plan:
        """The figures, the place in the queue and whether it would be refused. Raises UserError as `submit` does; claims
        nothing."""
        parent = None if request.parent_id is None else await self._parent(who.team, request.parent_id)
        model = self._figures.model(request.starting_model if parent is None else parent.view.starting_model)
        self._figures.requires(request.requires)
        dataset_ids = _together(parent, request.dataset_ids)
        self._figures.dataset_ids(dataset_ids)
        found = await self._datasets.look(who.team, dataset_ids)
        await self._board.refresh()
        plan = await self._figures.plan(
            model,
            found,
            _labels(found, parent),
            steps=request.steps,
            requires=request.requires,
        )
        seconds = 60 * self._figures.minutes(request.max_minutes, plan.default_max_minutes)
        work = await self._figures.work(plan, seconds)
        needs = needs_of(plan.starting_model, plan.accelerator, plan.batch_size, request.requires)
        job = self._figures.waiting_job("", who.team, needs, work)
        room, look = await self._reservations.room(job, Asker.of(who), work)
        plan = msgspec.structs.replace(plan, minutes_left=look.left / 60)
        refused = admit(job.needs, seconds, room, self._clock.now())
        if refused is not None:
            return msgspec.structs.replace(plan, refusal=refused.reason, retry_after_seconds=refused.retry_after)
        return msgspec.structs.replace(plan, place=await self._figures.place(job, work))

    async def submit(self, who: Principal, job_id: str, request: JobRequest) -> Job:
        """The new job, QUEUED or TRY_AGAIN_LATER. Raises UserError; then nothing is claimed, reserved or kept."""
        async with self._under_way.hold(job_id):
            fingerprint = _fingerprint(request)
            existing = await self._jobs.find(job_id)
            if existing is not None:
                return _same(existing, fingerprint)
            wanted = Wanted(
                job_id=job_id,
                who=who,
                description=self._figures.description(request.description),
                starting_model=self._figures.model(request.starting_model).key,
                dataset_ids=request.dataset_ids,
                steps=request.steps,
                max_minutes=request.max_minutes,
                when_room=request.when_room,
                requires=request.requires,
                fingerprint=fingerprint,
            )
            return await self._submit(wanted)

    async def more(self, who: Principal, parent_id: str, job_id: str, request: MoreRequest) -> Job:
        """A new job that trains a model more, on its own datasets and those named. Raises UserError as `submit` does, and where
        the parent can't be trained on from."""
        async with self._under_way.hold(job_id):
            fingerprint = _fingerprint(request, parent_id)
            existing = await self._jobs.find(job_id)
            if existing is not None:
                return _same(existing, fingerprint)
            description = self._figures.description(request.description)
            now = self._clock.now()
            parent = await self._jobs.decide(
                parent_id, lambda job: orders.claim_by_child(job, job_id, now), team=who.team
            )
            try:
                return await self._submit(
                    Wanted(
                        job_id=job_id,
                        who=who,
                        description=description,
                        starting_model=parent.view.starting_model,
                        dataset_ids=_together(parent, request.dataset_ids),
                        steps=request.steps,
                        max_minutes=request.max_minutes,
                        when_room=request.when_room,
                        requires=request.requires,
                        fingerprint=fingerprint,
                        parent=parent,
                    )
                )
            except BaseException:
                # The parent may be deleted again (if this fails too, the cleaner finds the claim).
                if await self._jobs.find(job_id) is None:
                    await self._jobs.decide(parent_id, lambda job: orders.release_child(job, job_id))
                raise

    async def retry(self, who: Principal, job_id: str, *, when_room: bool) -> Job:
        """Try a job again that had to be tried later: QUEUED now, or still TRY_AGAIN_LATER with what is the reason now."""
        async with self._under_way.hold(job_id):
            return await self._again(await self._jobs.get(who.team, job_id), who, when_room=when_room, approve=False)

    async def approve(self, who: Principal, job_id: str) -> Job:
        """A mentor lets a member's job pass the cap, now and whenever it is tried again. Raises IllegalTransition for one that
        doesn't have to be tried again."""
        async with self._under_way.hold(job_id):
            job = await self._jobs.get(who.team, job_id)
            if job.view.state is not JobState.TRY_AGAIN_LATER:
                raise IllegalTransition(job.view.state.value, "approve")
            return await self._again(job, who, when_room=job.view.when_room, approve=True)

    async def when_room(self, job: Job) -> Job | None:
        """Queue a job by itself if there is room; None where nothing changed."""
        async with self._under_way.hold(job.view.id):
            now = self._clock.now()
            fitted = await self._figures.refitted(job)
            refused = await self._reservations.again(fitted, Asker(job.view.created_by, _is_capped(job)))
            if refused is not None:
                reason = job.view.reason
                due = job.view.retry_after is not None and job.view.retry_after <= now
                if reason is not None and reason.code == refused.reason.code and not due:
                    return None
                decided = await self._jobs.decide(
                    job.view.id, lambda job: orders.refuse_again(job, refused, now, when_room=job.view.when_room)
                )
            else:
                decided = await self._admit(fitted, by=None, approved_by=None)
            self._changed(decided)
            return decided

    # --- steps -------------------------------------------------------------------------------------------------------

    async def _submit(self, wanted: Wanted) -> Job:
        self._figures.dataset_ids(wanted.dataset_ids)
        self._figures.requires(wanted.requires)
        team, job_id = wanted.who.team, wanted.job_id
        found = await self._datasets.claim(team, job_id, wanted.description, wanted.dataset_ids)
        try:
            job = await self._decide(wanted, found)
            kept = await self._jobs.insert(job)
        except BaseException:
            # Nothing came of it: the datasets are free again (if this fails too, the cleaner finds the claim), unless
            # the same request, sent twice at once to two schedulers, made the job meanwhile.
            if await self._jobs.find(job_id) is None:
                await self._teams.withdraw(team, job_id)
                await self._datasets.release(team, job_id)
            raise
        if not kept:
            await self._teams.withdraw(team, job_id)
            winner = await self._jobs.find(job_id)
            assert winner is not None
            return _same(winner, wanted.fingerprint)
        self._changed(job)
        return job

    async def _decide(self, wanted: Wanted, found: Sequence[DatasetView]) -> Job:
        parent, who = wanted.parent, wanted.who
        labels = _labels(found, parent)
        await self._board.refresh()
        plan = await self._figures.plan(
            self._figures.model(wanted.starting_model),
            found,
            labels,
            steps=wanted.steps,
            requires=wanted.requires,
        )
        seconds = 60 * self._figures.minutes(wanted.max_minutes, plan.default_max_minutes)
        work = await self._figures.work(plan, seconds)
        needs = needs_of(plan.starting_model, plan.accelerator, plan.batch_size, wanted.requires)
        waiting = self._figures.waiting_job(wanted.job_id, who.team, needs, work)
        refused = await self._reservations.reserve(waiting, Asker.of(who), work, seconds)
        if refused is not None and wanted.when_room:
            await self._check_room_for(who.team)
        now = self._clock.now()
        reserved = 0 if refused else seconds
        view = JobView(
            id=wanted.job_id,
            team=who.team,
            version=1,
            state=JobState.TRY_AGAIN_LATER if refused else JobState.QUEUED,
            description=wanted.description,
            created_by=who.name,
            created_at=now,
            queued_at=None if refused else now,
            ended_at=now if refused else None,
            starting_model=plan.starting_model,
            dataset_ids=[dataset.id for dataset in found],
            dataset_names=[dataset.name for dataset in found],
            labels=labels,
            train_frames=plan.train_frames,
            eval_frames=plan.eval_frames,
            batch_size=plan.batch_size,
            steps_requested=plan.steps,
            steps_completed=0,
            max_seconds=seconds,
            attempt=0,
            reason=refused.reason if refused else None,
            retry_after=None
            if refused is None or refused.retry_after is None
            else now + timedelta(seconds=refused.retry_after),
            reserved_seconds=reserved,
            used_seconds=0 if refused else None,
            refunded_seconds=0 if refused else None,
            when_room=wanted.when_room and refused is not None,
            requires=wanted.requires,
            parent_id=None if parent is None else parent.view.id,
            parent_description=None if parent is None else parent.view.description,
            previous_steps=0 if parent is None else parent.view.previous_steps + parent.view.steps_completed,
        )
        return Job(
            view=view,
            datasets=[
                DatasetSource(
                    id=d.id, name=d.name, prefix=d.prefix, train_frames=d.train_frames, eval_frames=d.eval_frames
                )
                for d in found
            ],
            accelerator=plan.accelerator,
            seed=zlib.crc32(wanted.job_id.encode()),
            checkpoint_every=self._settings.checkpoint_every,
            lease_seconds=self._settings.lease_seconds,
            max_attempts=self._settings.max_attempts,
            fingerprint=wanted.fingerprint,
            ledger=[] if refused else [budget.reservation(wanted.job_id, reserved, now)],
            init_prefix=None if parent is None or parent.view.checkpoint is None else parent.view.checkpoint.prefix,
            # A form sends the default that it showed: that is no choice.
            own_limit=seconds != 60 * plan.default_max_minutes,
            capped=not who.may("mentor"),
            to_release=refused is not None and not wanted.when_room,
        )

    async def _again(self, job: Job, who: Principal, *, when_room: bool, approve: bool) -> Job:
        """One more try at admission. The datasets are claimed again first: nobody has kept them, unless for `when_room`."""
        if job.view.state is not JobState.TRY_AGAIN_LATER:
            raise IllegalTransition(job.view.state.value, "retry")
        job_id, now = job.view.id, self._clock.now()
        if when_room and not job.view.when_room:
            await self._check_room_for(who.team)
        job = await self._jobs.decide(job_id, lambda job: orders.keep_claims(job, now), team=who.team)
        approved_by = who.name if _is_capped(job) and (approve or who.may("mentor")) else None
        fitted = await self._figures.refitted(job)
        try:
            await self._datasets.claim(job.view.team, job_id, job.view.description, job.view.dataset_ids)
            asker = Asker(job.view.created_by, _is_capped(job) and approved_by is None)
            refused = await self._reservations.again(fitted, asker)
        except BaseException:
            # Where this fails, too, the cleaner finds it.
            with suppress(Stale):
                await self._jobs.decide(job_id, orders.let_claims_go)
            raise
        if refused is None:
            decided = await self._admit(fitted, by=who.name, approved_by=approved_by)
        else:
            decided = await self._jobs.decide(
                job_id,
                lambda job: orders.refuse_again(job, refused, now, when_room=when_room, approved_by=approved_by),
                team=who.team,
            )
        self._changed(decided)
        return decided

    async def _admit(self, job: Job, *, by: str | None, approved_by: str | None) -> Job:
        """Queue a job whose minutes are announced, for the kind of trainer that it was fitted to."""
        now, seconds = self._clock.now(), job.view.max_seconds
        kind = RunKind(job.accelerator, job.view.batch_size)
        try:
            return await self._jobs.decide(
                job.view.id, lambda job: orders.admit(job, seconds, now, by=by, kind=kind, approved_by=approved_by)
            )
        except Stale as late:
            # Another scheduler admitted it in the meantime: that is what was asked for.
            await self._teams.withdraw(job.view.team, job.view.id)
            found = await self._jobs.find(job.view.id)
            if found is None or found.view.state in TERMINAL:
                raise IllegalTransition(JobState.TRY_AGAIN_LATER.value, "retry") from late
            return found

    async def _check_room_for(self, team: str) -> None:
        """Raises UserError where too many of the team's jobs wait for room already."""
        waiting, most = await self._jobs.count_for_room(team), self._settings.max_team_jobs
        if waiting >= most:
            raise UserError(
                "too_many_wait_for_room",
                f"{waiting} jobs of your team wait for room already; {most} is the limit. Let one of them be first.",
                "when_room",
                status=409,
            )

    async def _parent(self, team: str, job_id: str) -> Job:
        parent = await self._jobs.get(team, job_id)
        orders.claim_by_child(parent, "", self._clock.now())  # whether it could be claimed; nothing is
        return parent


def _is_capped(job: Job) -> bool:
    return job.capped and job.view.approved_by is None


def _together(parent: Job | None, dataset_ids: Sequence[str]) -> list[str]:
    return [*([] if parent is None else parent.view.dataset_ids), *dataset_ids]


def _labels(found: Sequence[DatasetView], parent: Job | None) -> list[str]:
    """The labels that all datasets have. Raises UserError `labels_differ`, also where they aren't the parent's."""
    labels = common_labels(found)
    if parent is not None and labels != parent.view.labels:
        raise UserError(
            "labels_differ",
            f"{parent.view.description} knows the labels {', '.join(parent.view.labels)}; the datasets have"
            f" {', '.join(labels)}. More training needs the same ones.",
            "dataset_ids",
        )
    return labels


def _fingerprint(request: JobRequest | MoreRequest, parent_id: str = "") -> str:
    return hashlib.sha256(parent_id.encode() + msgspec.json.encode(request)).hexdigest()


def _same(job: Job, fingerprint: str) -> Job:
    if job.fingerprint != fingerprint:
        raise KeyReused("request")
    if job.deleted_at is not None:
        raise NotFound("job", job.view.id)
    return job
