"""What people and the scheduler itself do with a job: pure decisions.

Owns assigning, losing, pausing, stopping, admitting and the like. A person's command in a state that doesn't allow it is
IllegalTransition; a planner's action that no longer fits is Stale.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from services.scheduler import budget
from services.scheduler.admission import Refused
from services.scheduler.domain import (
    PAUSABLE,
    Change,
    Child,
    Job,
    RunKind,
    avoiding,
    mark,
    noted,
    rest,
    through,
    with_reason,
)
from shared.contract.errors import IllegalTransition, NotFound, Retry, Stale, UserError
from shared.contract.events import JobAssign, JobStop
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState, Trigger, reconcile
from shared.contract.starting_models import STARTING_MODELS
from shared.contract.views import AttemptView, LedgerEntry, Reason

# --- the planner's -------------------------------------------------------------------------------------------------------


def assign(job: Job, trainer: str, now: datetime, *, lease_seconds: float | None = None, term: int = 0) -> Change:
    """Give a waiting job to a trainer: the next attempt. `lease_seconds` is what the scheduler goes by now, None for what it
    went by when the job was submitted. Raises Stale if it doesn't wait any more."""
    number = job.view.attempt + 1
    view = replace(
        through(job, (Trigger.ASSIGN,)),
        attempt=number,
        trainer=trainer,
        running_since=None,
        reason=None,
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
        lease_seconds=job.lease_seconds if lease_seconds is None else lease_seconds,
        known_step=0 if view.checkpoint is None else view.checkpoint.step,
        init_prefix=job.init_prefix,
        learning_rate_scale=view.learning_rate_scale,
    )
    changed = replace(job, view=view, front=False, assigned_at=now, answered=False, term=term)
    return Change(
        job=changed, cause=Trigger.ASSIGN, trigger=Trigger.ASSIGN, command=command, trainer=trainer, term=term
    )


def refit(job: Job, fitted: Job, now: datetime, *, term: int = 0) -> Change:
    """A waiting job is made over for the kind of trainer that there is: `fitted` is the job as it was looked at, so made over.
    What is reserved follows its maximum time. Raises Stale if it has changed since."""
    if job.view.version != fitted.view.version or job.view.state is not JobState.QUEUED:
        raise Stale("it has changed since it was looked at")
    before, after = job.accelerator.upper(), fitted.accelerator.upper()
    message = (
        f"No {before} trainer is there for it any more: the job now waits for a {after} trainer, with"
        f" {fitted.view.batch_size} pictures a step."
    )
    more, ledger = fitted.view.max_seconds - job.view.max_seconds, job.ledger
    if more:
        message += (
            f" Its maximum time is {fitted.view.max_seconds / 60:g} minutes now, not {job.view.max_seconds / 60:g}."
        )
        ledger = [*ledger, budget.adjustment(job.view.id, more, now)]
    view = replace(fitted.view, reason=None, reserved_seconds=job.view.reserved_seconds + more)
    view = noted(view, Reason(code="refitted", message=message))
    return Change(job=replace(fitted, view=view, ledger=ledger, term=term), cause="refitted", term=term)


def explain(job: Job, why: Reason | None, *, term: int = 0) -> Change:
    """Why a waiting job can't start, None where it can. Raises Stale if it doesn't wait any more or that is known."""
    if job.view.state is not JobState.QUEUED or job.view.reason == why:
        raise Stale("that is no news")
    return Change(job=replace(job, view=replace(job.view, reason=why), term=term), cause="explained", term=term)


def lost(job: Job, attempt: int, now: datetime, *, term: int = 0, seen: int | None = None) -> Change:
    """The trainer's lease is over: the job waits again at the front, or ends where it was to be stopped anyway or has
    lost too many trainers. Raises Stale where it isn't in the version in which it was `seen` (None: any) any more: whatever
    its trainer said since is a sign of life."""
    _in_force(job, attempt)
    _unchanged(job, seen)
    losses = job.lost_attempts + 1
    # Its last heartbeat may be newer than its word about this job: not back to it while there is another.
    job = replace(job, lost_attempts=losses, avoid=avoiding(job, job.view.trainer), term=term)
    view = through(job, (Trigger.LOST,), attempts_left=losses < job.max_attempts)
    view = replace(view, running_since=None, attempts=mark(view.attempts, ended_at=now, outcome="lost"))
    if view.state is JobState.FAILED:
        view = replace(
            view,
            reason=Reason(
                code="trainers_lost",
                message=f"{losses} trainers in a row vanished while they held this job, without a checkpoint between.",
                remedy="Ask whoever runs the trainers whether they ran out of memory; a smaller model may help.",
            ),
        )
    elif view.state in TERMINAL and job.stop_reason is not None:
        view = replace(view, reason=job.stop_reason)
    return Change(job=rest(replace(job, view=view), now), cause=Trigger.LOST, trigger=Trigger.LOST, term=term)


def pause(job: Job, attempt: int, now: datetime, why: Reason, *, term: int = 0) -> Change:
    """Ask the trainer for a final checkpoint and the job back: it goes on later. The state changes when the trainer has done
    so."""
    _in_force(job, attempt)
    if job.view.state not in PAUSABLE or job.pause_requested_at is not None:
        raise Stale(f"a job that is {job.view.state} is not to be paused (again)")
    changed = replace(job, view=noted(job.view, why), pause_requested_at=now, term=term)
    return Change(job=changed, cause="pause", command=JobStop(reason="drain"), trainer=job.view.trainer, term=term)


def enforce(job: Job, attempt: int, now: datetime, *, term: int = 0, seen: int | None = None) -> Change:
    """A stop or a pause that was left unanswered for a lease: the trainer is told to kill the child. What is durable by now
    is what the job ends with, or goes on from. Raises Stale where it was answered, or is in another version than was `seen`
    (None: any): what was asked may have been asked anew."""
    _in_force(job, attempt)
    _unchanged(job, seen)
    if job.answered:
        raise Stale("what was asked is answered: the final checkpoint is being saved")
    trainer = job.view.trainer
    if job.view.state is JobState.STOP_REQUESTED:
        trigger = Trigger.ENFORCED
    elif job.view.state in PAUSABLE and job.pause_requested_at is not None:
        trigger = Trigger.DRAINED
    else:
        raise Stale(f"nothing is asked of a job that is {job.view.state}")
    view = through(job, (trigger,))
    view = replace(view, attempts=mark(view.attempts, ended_at=now, outcome="enforced"))
    if view.state in TERMINAL:
        view = replace(view, reason=job.stop_reason or view.reason or _unanswered())
    changed = rest(replace(job, view=view, term=term), now)
    return Change(
        job=changed, cause=trigger, trigger=trigger, command=JobStop(reason="release"), trainer=trainer, term=term
    )


def inconsistent(job: Job, problem: str, *, term: int = 0) -> Change:
    """The job contradicts itself: nothing more is done with it until it is reconciled."""
    view = replace(
        through(job, (Trigger.INCONSISTENT,)),
        trainer=None,
        running_since=None,
        reason=Reason(
            code="inconsistent",
            message=f"Trainyard found an inconsistency in its own records: {problem}.",
            remedy="Nothing more is charged. Whoever runs this installation can queue the job again or end it.",
        ),
    )
    changed = replace(job, view=view, term=term)
    return Change(job=changed, cause=Trigger.INCONSISTENT, trigger=Trigger.INCONSISTENT, term=term)


def problem_of(job: Job) -> str | None:
    """What contradicts itself in a job that has not ended; None for a sound one."""
    view = job.view
    if view.state in TERMINAL or view.state is JobState.STATE_UNSPECIFIED:
        return None
    if view.state in ASSIGNED and (view.trainer is None or job.assigned_at is None or not view.attempts):
        return f"it is {view.state}, but on no trainer"
    if view.starting_model not in STARTING_MODELS:
        return f"nobody knows its starting model {view.starting_model!r}"
    if view.state is JobState.QUEUED and view.queued_at is None:
        return "it waits, but since when isn't known"
    if -budget.balance(job.ledger) != view.reserved_seconds:
        return f"its ledger holds {-budget.balance(job.ledger)} s, but {view.reserved_seconds} s are reserved"
    return None


# --- people's ------------------------------------------------------------------------------------------------------------


def stop(job: Job, now: datetime, why: Reason | None = None) -> Change:
    """Somebody presses stop. One that would queue by itself once there is room stays where it is, and doesn't. Raises
    IllegalTransition (409) for a job that is ending or has ended."""
    if job.view.state is JobState.TRY_AGAIN_LATER and job.view.when_room:
        view = replace(job.view, when_room=False, reason=why or job.view.reason)
        return Change(job=replace(job, view=view, to_release=True, kept_at=None), cause="given_up")
    view = through(job, (Trigger.STOP,))
    if view.state is JobState.STOP_REQUESTED:
        changed = replace(job, view=view, stop_requested_at=now, stop_reason=why)
        return Change(
            job=changed,
            cause=Trigger.STOP,
            trigger=Trigger.STOP,
            command=JobStop(reason="user"),
            trainer=job.view.trainer,
        )
    reason = why or Reason(code="user", message="Stopped by a member of the team while it waited.")
    changed = rest(replace(job, view=replace(view, reason=reason)), now)
    return Change(job=changed, cause=Trigger.STOP, trigger=Trigger.STOP)


def delete(job: Job, now: datetime) -> Change:
    """Take an ended job off the team's list; its ledger lines stay. Raises IllegalTransition for one that hasn't ended, and
    UserError `model_in_use` for one that others are trained on from."""
    if job.view.state not in TERMINAL:
        raise IllegalTransition(job.view.state.value, "delete")
    if job.children:
        raise UserError("model_in_use", "Other models were trained on from this one.", status=409)
    view = replace(job.view, when_room=False)
    return Change(job=replace(job, view=view, deleted_at=now, to_release=True), cause="deleted")


def admit(
    job: Job,
    reserve_seconds: int,
    now: datetime,
    *,
    by: str | None,
    kind: RunKind | None = None,
    approved_by: str | None = None,
) -> Change:
    """Queue a job that had to try again later, on what there is now; `by` is who asked for it, None where room appeared for
    one that waited for it. Raises Stale for one that was deleted or given up in the meantime."""
    if job.deleted_at is not None or job.releasing or (by is None and not job.view.when_room):
        raise Stale("nobody waits for it any more")
    view = replace(
        through(job, (Trigger.ADMIT,)),
        batch_size=job.view.batch_size if kind is None else kind.batch_size,
        queued_at=now,
        ended_at=None,
        reason=None,
        retry_after=None,
        max_seconds=reserve_seconds,
        reserved_seconds=reserve_seconds,
        used_seconds=None,
        refunded_seconds=None,
        when_room=False,
        approved_by=approved_by or job.view.approved_by,
    )
    if by is None:
        view = noted(
            view, Reason(code="room_appeared", message="There was room: the job queued by itself, as it was told to.")
        )
    line = budget.reservation(view.id, reserve_seconds, now)
    changed = replace(
        job,
        view=view,
        accelerator=job.accelerator if kind is None else kind.accelerator,
        ledger=[*job.ledger, line],
        to_release=False,
        kept_at=None,
    )
    return Change(job=changed, cause=Trigger.ADMIT, trigger=Trigger.ADMIT)


def refuse_again(
    job: Job, refused: Refused, now: datetime, *, when_room: bool, approved_by: str | None = None
) -> Change:
    """It still has to try again later, with what is the reason now; an approval is kept for the next try."""
    if job.view.state is not JobState.TRY_AGAIN_LATER:
        raise IllegalTransition(job.view.state.value, "retry")
    retry_at = None if refused.retry_after is None else now + timedelta(seconds=refused.retry_after)
    view = replace(
        job.view,
        reason=refused.reason,
        retry_after=retry_at,
        when_room=when_room,
        approved_by=approved_by or job.view.approved_by,
    )
    return Change(job=replace(job, view=view, to_release=not when_room, kept_at=None), cause="refused")


def set_priority(job: Job, priority: int) -> Change:
    """An operator's class for a job that hasn't ended. Raises IllegalTransition for one that has."""
    if job.view.state in TERMINAL:
        raise IllegalTransition(job.view.state.value, "priority")
    return Change(job=replace(job, view=replace(job.view, priority=priority)), cause="priority")


def keep_claims(job: Job, now: datetime) -> Change:
    """Before a job is tried again: what it holds is not to be let go. Raises Retry while the cleaner is doing so."""
    if job.view.state is not JobState.TRY_AGAIN_LATER:
        raise IllegalTransition(job.view.state.value, "retry")
    if job.releasing:
        raise Retry("the job's claims are being let go just now")
    return Change(job=replace(job, to_release=False, kept_at=now), cause="kept", silent=True)


def let_claims_go(job: Job) -> Change:
    """The try came to nothing: what it holds may go again, unless it waits for room."""
    if job.view.state is not JobState.TRY_AGAIN_LATER or job.view.when_room:
        raise Stale("it still needs what it holds")
    return Change(job=replace(job, to_release=True, kept_at=None), cause="kept", silent=True)


def claim_by_child(job: Job, child_id: str, now: datetime) -> Change:
    """A job is going to train on from this one. Raises NotFound for one that was deleted, IllegalTransition for one that runs,
    UserError `no_checkpoint`."""
    if job.deleted_at is not None:
        raise NotFound("job", job.view.id)
    if job.view.state not in TERMINAL:
        raise IllegalTransition(job.view.state.value, "more_training")
    if job.view.checkpoint is None:
        raise UserError("no_checkpoint", "This model has no checkpoint to train on from.", status=409)
    others = [child for child in job.children if child.id != child_id]
    return Change(job=replace(job, children=[*others, Child(id=child_id, at=now)]), cause="claimed", silent=True)


def release_child(job: Job, child_id: str) -> Change:
    """The child is gone. Raises Stale if it held nothing."""
    others = [child for child in job.children if child.id != child_id]
    if len(others) == len(job.children):
        raise Stale(f"{child_id} holds nothing of {job.view.id}")
    return Change(job=replace(job, children=others), cause="unclaimed", silent=True)


def resolve(job: Job, target: JobState, now: datetime) -> Change:
    """The way out of STATE_UNSPECIFIED: QUEUED goes on from the last checkpoint, FAILED is settled. Raises IllegalTransition.

    A ledger line makes good what the reservation lacks or holds too much, so that the books are right either way."""
    view = replace(job.view, state=reconcile(job.view.state, target))
    missing = -budget.balance(job.ledger) - view.reserved_seconds
    ledger = list(job.ledger)
    if missing:
        ledger.append(
            LedgerEntry(kind="refund", seconds=missing, at=now, job_id=view.id, note="correction of an inconsistency")
        )
    if target is JobState.QUEUED:
        view = replace(view, reason=None)
    view = replace(view, attempts=_closed(view.attempts, now))
    changed = rest(replace(job, view=with_reason(view), ledger=ledger), now)
    return Change(job=changed, cause=Trigger.RECONCILED, trigger=Trigger.RECONCILED)


def _closed(attempts: list[AttemptView], now: datetime) -> list[AttemptView]:
    if attempts and attempts[-1].ended_at is None:
        return mark(attempts, ended_at=now, outcome="lost")
    return attempts


def _in_force(job: Job, attempt: int) -> None:
    if job.view.attempt != attempt:
        raise Stale(f"attempt {attempt} is over: {job.view.attempt} is in force")


def _unchanged(job: Job, seen: int | None) -> None:
    if seen is not None and job.view.version != seen:
        raise Stale(f"version {seen} was planned on, and it is version {job.view.version} by now")


def _unanswered() -> Reason:
    return Reason(code="user", message="Stopped on request. The trainer did not answer in time and was cut off.")
