"""What may become of a job: pure decisions over a job and a fact or a command.

Owns the rules of the job's life (state table, fencing by attempt, minutes, attempts). No clock, no ids, no I/O: `now` comes in,
a `Change` goes out, and the store applies it only if the job is still the one that was decided on. Facts raise Stale where
they no longer apply; a fact also implies the ones before it, so that a late `started` loses nothing.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec.structs import replace

from services.scheduler import budget
from shared.contract.errors import IllegalTransition, Retry, Stale
from shared.contract.events import (
    DatasetSource,
    JobAssign,
    JobStop,
    ModelExported,
    TrainingCheckpointed,
    TrainingEnded,
    TrainingNoticed,
    TrainingStarted,
    TrainingStopping,
)
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState, Situation, Trigger, step
from shared.contract.starting_models import Accelerator
from shared.contract.views import AttemptView, CheckpointView, ExportView, JobView, LedgerEntry, Reason

MAP = "DetectionBoxes_Precision/mAP"
_LOG_LINES = 200


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the scheduler keeps it: what everybody may see (`view`) and what only the scheduler needs.

    `front` puts it before the jobs that have not run yet; `lost_attempts` counts trainers that vanished with it.
    """

    view: JobView
    datasets: list[DatasetSource]
    accelerator: Accelerator
    seed: int
    checkpoint_every: int
    lease_seconds: float
    max_attempts: int
    fingerprint: str
    front: bool = False
    lost_attempts: int = 0
    assigned_at: datetime | None = None
    stop_requested_at: datetime | None = None
    ledger: list[LedgerEntry] = []
    log_tail: list[str] = []
    deleted_at: datetime | None = None
    # What the job held outside this document (claims on datasets, artifacts) is to be let go by the cleaner.
    to_release: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A decision: the job afterwards, why, the transition that guards the write (None: no change of state), and a command
    to the job's trainer."""

    job: Job
    cause: str
    trigger: Trigger | None = None
    command: JobAssign | JobStop | None = None
    trainer: str | None = None

    @property
    def settles(self) -> bool:
        """Whether the team's minutes change with it."""
        return self.job.view.state in TERMINAL


def assign(job: Job, trainer: str, now: datetime) -> Change:
    """Give a waiting job to a trainer: the next attempt. Raises Stale if it doesn't wait any more."""
    state = step(job.view.state, Trigger.ASSIGN, _situation(job))
    number = job.view.attempt + 1
    view = replace(
        job.view,
        state=state,
        attempt=number,
        trainer=trainer,
        running_since=None,
        attempts=[*job.view.attempts, AttemptView(number=number, trainer=trainer, assigned_at=now)],
    )
    command = JobAssign(
        starting_model=view.starting_model,
        datasets=job.datasets,
        labels=view.labels,
        batch_size=view.batch_size,
        steps=view.steps_requested,
        checkpoint_every=job.checkpoint_every,
        max_stepping_seconds=float(view.max_seconds),
        seed=job.seed,
        lease_seconds=job.lease_seconds,
        known_step=0 if view.checkpoint is None else view.checkpoint.step,
    )
    changed = replace(job, view=view, front=False, assigned_at=now)
    return Change(job=changed, cause=Trigger.ASSIGN, trigger=Trigger.ASSIGN, command=command, trainer=trainer)


def started(job: Job, attempt: int, fact: TrainingStarted) -> Change:
    """The first step of this attempt is made."""
    _fence(job, attempt)
    state = step(job.view.state, Trigger.STARTED, _situation(job))
    job = _walked_back(job, fact)
    view = replace(
        job.view,
        state=state,
        running_since=fact.at,
        stepping_seconds_before=fact.resumed_seconds,
        attempts=_mark(job.view.attempts, started_at=fact.at, resumed_from=fact.resumed_from),
    )
    return Change(job=replace(job, view=view), cause=Trigger.STARTED, trigger=Trigger.STARTED)


def noticed(job: Job, attempt: int, fact: TrainingNoticed) -> Change:
    """Something for the user to know; the same notice is shown once."""
    _fence(job, attempt)
    if any(notice.code == fact.notice.code for notice in job.view.notices):
        raise Stale(f"notice {fact.notice.code} is there already")
    view = replace(job.view, notices=[*job.view.notices, fact.notice])
    return Change(job=replace(job, view=view), cause="noticed")


def checkpointed(job: Job, attempt: int, fact: TrainingCheckpointed) -> Change:
    """A durable checkpoint: steps that can't be lost any more, and the most that can be charged."""
    _fence(job, attempt)
    last = job.view.checkpoint
    value = fact.evaluation.get(MAP)
    # One that was told before its evaluation is told again with it.
    completes = last is not None and fact.step == last.step and last.map is None and value is not None
    if last is not None and fact.step <= last.step and not completes:
        raise Stale(f"checkpoint {fact.step} is not after {last.step}")
    best_step, best_map = (None, None) if last is None else (last.best_step, last.best_map)
    if fact.best and value is not None:
        best_step, best_map = fact.step, value
    checkpoint = CheckpointView(
        step=fact.step,
        stepping_seconds=fact.stepping_seconds,
        saved_at=fact.saved_at,
        prefix=fact.prefix,
        map=value,
        best_step=best_step,
        best_map=best_map,
    )
    trigger = Trigger.STARTED if job.view.state is JobState.PREPARING else None
    view = _through(job, (trigger,) if trigger else ())
    view = replace(
        view,
        checkpoint=checkpoint,
        steps_completed=fact.step,
        stepping_seconds_before=fact.stepping_seconds,
        running_since=fact.saved_at if view.state is JobState.RUNNING else None,
    )
    # A job that makes durable progress may lose as many trainers again as a new one.
    return Change(job=replace(job, view=view, lost_attempts=0), cause="checkpointed", trigger=trigger)


def exported(job: Job, attempt: int, fact: ModelExported) -> Change:
    """The model's files can be downloaded: also where the attempt's end was heard first."""
    if not (job.view.state in TERMINAL and job.view.attempt == attempt and ended_by_its_trainer(job, attempt)):
        _fence(job, attempt)
    if job.view.export is not None and job.view.export.prefix == fact.prefix:
        raise Stale("this export is known already")
    export = ExportView(step=fact.step, prefix=fact.prefix, files=fact.files, checks=fact.checks)
    return Change(job=replace(job, view=replace(job.view, export=export)), cause="exported")


def stopping(job: Job, attempt: int, fact: TrainingStopping) -> Change:
    """The trainer makes no further step. A drain is no stop: its end follows as `drained`."""
    _fence(job, attempt)
    if fact.reason == "drained":
        raise Stale("a drain changes nothing until it ended")
    if fact.reason == "time_limit":
        path: tuple[Trigger, ...] = (Trigger.TIME_UP,)
        if job.view.state is JobState.PREPARING:
            path = (Trigger.STARTED, Trigger.TIME_UP)
        elif job.view.state is JobState.STOP_REQUESTED:
            path = (Trigger.STOPPING,)
    else:
        path = (Trigger.STOPPING,)
    view = replace(_through(job, path), running_since=None)
    if fact.reason == "time_limit":
        view = replace(view, reason=_time_limit(job))
    return Change(job=replace(job, view=view), cause=path[-1], trigger=path[0])


def ended(job: Job, attempt: int, fact: TrainingEnded, now: datetime) -> Change:
    """The attempt is over: the job ends, or waits again after a drain. Raises Retry while a checkpoint that it counts on
    has not been heard of: the last steps would be lost, and with them what they are charged by."""
    _fence(job, attempt)
    state = job.view.state
    heard = 0 if job.view.checkpoint is None else job.view.checkpoint.step
    if fact.checkpoint_step > heard:
        raise Retry(f"checkpoint {fact.checkpoint_step} has not been heard of, only {heard}")
    path: tuple[Trigger, ...]
    match fact.outcome:
        case "succeeded":
            path = (Trigger.STARTED, Trigger.SUCCEEDED) if state is JobState.PREPARING else (Trigger.SUCCEEDED,)
        case "failed":
            path = (Trigger.FAILED,)
        case "drained":
            path = (Trigger.DRAINED,)
        case "stopped" if state is JobState.PREPARING:
            path = (Trigger.STARTED, Trigger.TIME_UP, Trigger.STOPPED)
        case "stopped" if state is JobState.RUNNING:
            path = (Trigger.TIME_UP, Trigger.STOPPED)
        case "stopped":
            path = (Trigger.STOPPED,)
    view = replace(_through(job, path, attempts_left=True), running_since=None)
    if view.state is not JobState.QUEUED:
        reason = _time_limit(job) if Trigger.TIME_UP in path else fact.reason
        view = _with_reason(replace(view, reason=reason or view.reason))
    view = replace(view, attempts=_mark(view.attempts, ended_at=now, outcome=fact.outcome))
    changed = replace(job, view=view, log_tail=fact.log_tail[-_LOG_LINES:])
    return Change(job=_rest(changed, now), cause=path[-1], trigger=path[0])


def lost(job: Job, now: datetime) -> Change:
    """The trainer's lease is over: the job waits again at the front, or ends where it was to be stopped anyway or has
    lost too many trainers."""
    losses = job.lost_attempts + 1
    job = replace(job, lost_attempts=losses)
    view = _through(job, (Trigger.LOST,), attempts_left=losses < job.max_attempts)
    view = replace(view, running_since=None, attempts=_mark(view.attempts, ended_at=now, outcome="lost"))
    if view.state is JobState.FAILED:
        view = replace(
            view,
            reason=Reason(
                code="trainers_lost",
                message=f"{losses} trainers in a row vanished while they held this job, without a checkpoint between.",
                remedy="Ask whoever runs the trainers whether they ran out of memory; a smaller model may help.",
            ),
        )
    view = _with_reason(view)
    return Change(job=_rest(replace(job, view=view), now), cause=Trigger.LOST, trigger=Trigger.LOST)


def stop(job: Job, now: datetime) -> Change:
    """The user presses stop. Raises IllegalTransition (409) for a job that is ending or has ended."""
    state = step(job.view.state, Trigger.STOP, _situation(job))
    view = replace(job.view, state=state)
    if state is JobState.STOP_REQUESTED:
        changed = replace(job, view=view, stop_requested_at=now)
        command, trainer = JobStop(reason="user"), job.view.trainer
        return Change(job=changed, cause=Trigger.STOP, trigger=Trigger.STOP, command=command, trainer=trainer)
    reason = Reason(code="user", message="Stopped by a member of the team while it waited.")
    changed = _rest(replace(job, view=replace(view, reason=reason)), now)
    return Change(job=changed, cause=Trigger.STOP, trigger=Trigger.STOP)


def delete(job: Job, now: datetime) -> Change:
    """Take an ended job off the team's list; its ledger lines stay. Raises IllegalTransition for one that hasn't ended."""
    if job.view.state not in TERMINAL:
        raise IllegalTransition(job.view.state.value, "delete")
    return Change(job=replace(job, deleted_at=now, to_release=True), cause="deleted")


def holds(job: Job, attempt: int, trainer: str) -> bool:
    """Whether that trainer's attempt is the one in force."""
    return job.view.state in ASSIGNED and job.view.attempt == attempt and job.view.trainer == trainer


def ended_by_its_trainer(job: Job, attempt: int) -> bool:
    """Whether the trainer itself told the end of this attempt: a heartbeat from just before needs no answer. One that was
    given up as lost was not, and its trainer must be told to let go."""
    last = job.view.attempts[-1] if job.view.attempts else None
    return last is not None and last.number == attempt and last.outcome not in (None, "lost")


def _fence(job: Job, attempt: int) -> None:
    if attempt != job.view.attempt:
        raise Stale(f"attempt {attempt} is over: {job.view.attempt} is in force")
    if job.view.state not in ASSIGNED:
        raise Stale(f"no trainer holds a job that is {job.view.state}")


def _through(job: Job, path: tuple[Trigger, ...], *, attempts_left: bool = True) -> JobView:
    """The view after each trigger of `path`."""
    situation = Situation(has_checkpoint=job.view.checkpoint is not None, attempts_left=attempts_left)
    state = job.view.state
    for trigger in path:
        state = step(state, trigger, situation)
    return replace(job.view, state=state)


def _rest(job: Job, now: datetime) -> Job:
    """What follows from where the job came to rest: back at the front of the queue, or settled."""
    view = job.view
    if view.state is JobState.QUEUED:
        return replace(job, front=True, assigned_at=None, view=replace(view, queued_at=now, trainer=None))
    if view.state not in TERMINAL or view.used_seconds is not None:
        return job
    stepping = 0.0 if view.checkpoint is None else view.checkpoint.stepping_seconds
    used = budget.used_seconds(stepping, view.reserved_seconds)
    lines = budget.settlement(view.id, view.reserved_seconds, used, now)
    view = replace(view, ended_at=now, trainer=None, used_seconds=used, refunded_seconds=view.reserved_seconds - used)
    return replace(job, view=view, assigned_at=None, ledger=[*job.ledger, *lines])


def _situation(job: Job) -> Situation:
    return Situation(has_checkpoint=job.view.checkpoint is not None, attempts_left=True)


def _mark(attempts: list[AttemptView], **fields: object) -> list[AttemptView]:
    """The attempts with fields set on the last one."""
    return [*attempts[:-1], replace(attempts[-1], **fields)] if attempts else attempts


def _walked_back(job: Job, fact: TrainingStarted) -> Job:
    """The job with the checkpoint that the trainer could really read, where a later one proved damaged."""
    last = job.view.checkpoint
    if last is None or fact.resumed_from >= last.step:
        return job
    earlier = None
    best_kept = last.best_step is not None and last.best_step <= fact.resumed_from
    if fact.resumed_from > 0:
        earlier = CheckpointView(
            step=fact.resumed_from,
            stepping_seconds=fact.resumed_seconds,
            saved_at=last.saved_at,
            prefix=fact.resumed_prefix or last.prefix,
            map=last.best_map if last.best_step == fact.resumed_from else None,
            best_step=last.best_step if best_kept else None,
            best_map=last.best_map if best_kept else None,
        )
    return replace(job, view=replace(job.view, checkpoint=earlier, steps_completed=fact.resumed_from))


def _time_limit(job: Job) -> Reason:
    minutes = job.view.max_seconds / 60
    return Reason(
        code="time_limit",
        message=f"The maximum training time of {minutes:g} minutes was reached before all steps were made.",
        remedy="Train it more, with a longer maximum time or fewer steps.",
    )


def _with_reason(view: JobView) -> JobView:
    """A canceled job always says why nothing came of it."""
    if view.state is not JobState.CANCELED or view.reason is not None:
        return view
    message = "Ended before a first checkpoint was saved. Nothing was charged."
    return replace(view, reason=Reason(code="no_checkpoint", message=message))
