"""What trainers say of a job, and what becomes of it: pure decisions over a job and a fact.

Owns the meaning of each fact. Facts raise Stale where they no longer apply; a fact also implies the ones before it, so that a
late `started` loses nothing. A failure with a known remedy is met with it once, and the job goes on.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from services.scheduler.domain import (
    MAP,
    Change,
    Job,
    avoiding,
    ended_by_its_trainer,
    fence,
    mark,
    noted,
    rest,
    through,
)
from shared.contract.errors import Retry, Stale
from shared.contract.events import (
    ModelExported,
    TrainingCheckpointed,
    TrainingEnded,
    TrainingNoticed,
    TrainingStarted,
    TrainingStopping,
)
from shared.contract.jobs import TERMINAL, JobState, Trigger
from shared.contract.views import CheckpointView, ExportView, Reason

_LOG_LINES = 200
_RATE_AFTER_NAN = 0.1


def started(job: Job, attempt: int, fact: TrainingStarted) -> Change:
    """The first step of this attempt is made."""
    fence(job, attempt)
    state = through(job, (Trigger.STARTED,)).state
    job = _walked_back(job, fact.resumed_from, fact.resumed_seconds, fact.resumed_prefix)
    view = replace(
        job.view,
        state=state,
        running_since=fact.at,
        stepping_seconds_before=fact.resumed_seconds,
        attempts=mark(job.view.attempts, started_at=fact.at, resumed_from=fact.resumed_from),
    )
    return Change(job=replace(job, view=view), cause=Trigger.STARTED, trigger=Trigger.STARTED)


def noticed(job: Job, attempt: int, fact: TrainingNoticed) -> Change:
    """Something for the user to know; the same notice is shown once."""
    fence(job, attempt)
    if any(notice.code == fact.notice.code for notice in job.view.notices):
        raise Stale(f"notice {fact.notice.code} is there already")
    view = replace(job.view, notices=[*job.view.notices, fact.notice])
    return Change(job=replace(job, view=view), cause="noticed")


def checkpointed(job: Job, attempt: int, fact: TrainingCheckpointed) -> Change:
    """A durable checkpoint: steps that can't be lost any more, and the most that can be charged.

    One that an attempt saved while it was being cut off is kept, too, as it has taken the place of the one before; it costs
    nothing. One of an earlier attempt, told by the next, is no sign of steps being made."""
    cut_off = _cut_off(job, attempt)
    if not cut_off:
        fence(job, attempt)
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
    own = fact.prefix.endswith(f"-a{attempt}")
    trigger = Trigger.STARTED if job.view.state is JobState.PREPARING and own else None
    view = through(job, (trigger,) if trigger else ())
    view = replace(
        view,
        checkpoint=checkpoint,
        steps_completed=fact.step,
        stepping_seconds_before=view.stepping_seconds_before if cut_off else fact.stepping_seconds,
        running_since=fact.saved_at if view.state is JobState.RUNNING else None,
    )
    # A job that makes durable progress may lose as many trainers again as a new one.
    return Change(job=replace(job, view=view, lost_attempts=0), cause="checkpointed", trigger=trigger)


def exported(job: Job, attempt: int, fact: ModelExported) -> Change:
    """The model's files can be downloaded: also where the attempt's end was heard first."""
    if not (job.view.state in TERMINAL and job.view.attempt == attempt and ended_by_its_trainer(job, attempt)):
        fence(job, attempt)
    if job.view.export is not None and job.view.export.prefix == fact.prefix:
        raise Stale("this export is known already")
    export = ExportView(step=fact.step, prefix=fact.prefix, files=fact.files, checks=fact.checks)
    return Change(job=replace(job, view=replace(job.view, export=export)), cause="exported")


def stopping(job: Job, attempt: int, fact: TrainingStopping) -> Change:
    """The trainer makes no further step. A drain is no stop: its end follows as `drained`, and however long the saving takes,
    what was asked is answered."""
    fence(job, attempt)
    if fact.reason == "drained":
        if job.answered:
            raise Stale("that is known")
        return Change(job=replace(job, answered=True), cause="stopping", silent=True)
    if fact.reason == "time_limit":
        path: tuple[Trigger, ...] = (Trigger.TIME_UP,)
        if job.view.state is JobState.PREPARING:
            path = (Trigger.STARTED, Trigger.TIME_UP)
        elif job.view.state is JobState.STOP_REQUESTED:
            path = (Trigger.STOPPING,)
    else:
        path = (Trigger.STOPPING,)
    view = replace(through(job, path), running_since=None)
    if fact.reason == "time_limit":
        view = replace(view, reason=_time_limit(job))
    return Change(job=replace(job, view=view), cause=path[-1], trigger=path[0])


def ended(job: Job, attempt: int, fact: TrainingEnded, now: datetime) -> Change:
    """The attempt is over: the job ends, or waits again after a drain. Raises Retry while a checkpoint that it counts on
    has not been heard of: the last steps would be lost, and with them what they are charged by."""
    fence(job, attempt)
    state = job.view.state
    heard = 0 if job.view.checkpoint is None else job.view.checkpoint.step
    if fact.checkpoint_step > heard:
        raise Retry(f"checkpoint {fact.checkpoint_step} has not been heard of, only {heard}")
    if fact.checkpoint_prefix is not None:
        # It may have ended between its look at the checkpoints and its first step.
        job = _walked_back(job, fact.checkpoint_step, fact.stepping_seconds, fact.checkpoint_prefix)
    if fact.log_tail or fact.outcome == "failed":
        # Whatever ends in good order has none, and leaves that of the failure before.
        job = replace(job, log_tail=fact.log_tail[-_LOG_LINES:], log_attempt=attempt)
    view = replace(
        job.view,
        log_lines=len(job.log_tail),
        attempts=mark(job.view.attempts, ended_at=now, outcome=fact.outcome, reason=fact.reason),
    )
    job = replace(job, view=view)
    if fact.outcome == "failed" and state in {JobState.PREPARING, JobState.RUNNING}:
        mended = _with_remedy(job, fact.reason)
        if mended is not None:
            changed = replace(mended, view=through(mended, (Trigger.REQUEUED,)))
            return Change(job=rest(changed, now), cause=Trigger.REQUEUED, trigger=Trigger.REQUEUED)
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
    view = replace(through(job, path), running_since=None)
    if view.state is not JobState.QUEUED:
        reason = fact.reason
        if Trigger.TIME_UP in path:
            reason = _time_limit(job)
        elif view.state in {JobState.STOPPED, JobState.CANCELED}:
            # Where a drain met the stop, it is the stop that ended the job.
            stopped = view.reason or Reason(code="user", message="Stopped on request.")
            reason = job.stop_reason or (stopped if fact.outcome == "drained" else reason)
        view = replace(view, reason=reason or view.reason)
    return Change(job=rest(replace(job, view=view), now), cause=path[-1], trigger=path[0])


def _cut_off(job: Job, attempt: int) -> bool:
    """Whether the job was stopped over the head of this attempt's trainer."""
    last = job.view.attempts[-1] if job.view.attempts else None
    enforced = last is not None and last.number == attempt and last.outcome == "enforced"
    return enforced and job.view.state is JobState.STOPPED


def _with_remedy(job: Job, reason: Reason | None) -> Job | None:
    """The job as it is to be tried again after a failure with a known remedy, None where there is none or it was tried
    before."""
    if reason is None or reason.code in job.remedies:
        return None
    view, at = job.view, _resume_point(job)
    match reason.code:
        case "stalled":
            trainer = view.trainer or ""
            message = (
                f"Trainer {trainer} made no more steps and was stopped. The job goes on {at}, elsewhere if it can."
            )
            job = replace(job, avoid=avoiding(job, view.trainer))
        case "artifacts_unavailable":
            # One trainer's network may be at fault, or the store is back by the time the job's turn comes.
            message = (
                f"Trainer {view.trainer} couldn't reach the artifact store. The job goes on {at}, elsewhere if it can."
            )
            job = replace(job, avoid=avoiding(job, view.trainer))
        case "out_of_memory" if view.batch_size >= 2:
            half = view.batch_size // 2
            message = f"A batch of {view.batch_size} pictures didn't fit into memory. The job goes on {at} with {half} a step."
            view = replace(view, batch_size=half)
        case "nan_loss":
            scale = view.learning_rate_scale * _RATE_AFTER_NAN
            message = f"The loss stopped being a number. The job goes on {at} with a tenth of the learning rate."
            view = replace(view, learning_rate_scale=scale)
        case _:
            return None
    view = noted(view, Reason(code=f"{reason.code}_retried", message=message))
    return replace(job, view=view, remedies=[*job.remedies, reason.code])


def _resume_point(job: Job) -> str:
    return "from the start" if job.view.checkpoint is None else f"from step {job.view.checkpoint.step}"


def _walked_back(job: Job, step: int, seconds: float, prefix: str | None) -> Job:
    """The job with the checkpoint that the trainer could really read, where a later one proved damaged: the one of `step`,
    after `seconds` of stepping, under `prefix` (None: where the later one was)."""
    last = job.view.checkpoint
    if last is None or step >= last.step:
        return job
    earlier = None
    best_kept = last.best_step is not None and last.best_step <= step
    if step > 0:
        earlier = CheckpointView(
            step=step,
            stepping_seconds=seconds,
            saved_at=last.saved_at,
            prefix=prefix or last.prefix,
            map=last.best_map if last.best_step == step else None,
            best_step=last.best_step if best_kept else None,
            best_map=last.best_map if best_kept else None,
        )
    view = replace(job.view, checkpoint=earlier, steps_completed=step, stepping_seconds_before=seconds)
    return replace(job, view=view)


def _time_limit(job: Job) -> Reason:
    minutes = job.view.max_seconds / 60
    return Reason(
        code="time_limit",
        message=f"The maximum training time of {minutes:g} minutes was reached before all steps were made.",
        remedy="Train it more, with a longer maximum time or fewer steps.",
    )
