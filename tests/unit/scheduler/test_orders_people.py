"""What people do with a job: each order where it fits, and the refusal where it doesn't."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler import budget, facts, orders
from services.scheduler.domain import Child, Job, RunKind
from shared.contract.errors import IllegalTransition, NotFound, Retry, Stale, UserError
from shared.contract.events import JobStop
from shared.contract.jobs import TERMINAL, JobState, Trigger
from shared.contract.views import Reason
from tests.unit.scheduler.samples import (
    ALIVE,
    BUSY,
    RESERVED,
    WHY,
    after,
    done,
    in_state,
    lost,
    preparing,
    queued,
    running,
    started,
    tail,
    with_checkpoint,
)


def later(*, when_room: bool = False, **fields: object) -> Job:
    """A job that has to be tried again later: nothing is reserved."""
    job = in_state(queued(), JobState.TRY_AGAIN_LATER)
    view = replace(
        job.view,
        queued_at=None,
        ended_at=after(0),
        reason=BUSY.reason,
        retry_after=after(300),
        reserved_seconds=0,
        used_seconds=0,
        refunded_seconds=0,
        when_room=when_room,
    )
    return replace(job, view=view, ledger=[], to_release=not when_room, **fields)


# --- stop and delete -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [preparing, running])
def test_stop_asks_the_trainer(make: Callable[[], Job]) -> None:
    why = Reason(code="operator", message="Ended by an operator.")
    change = orders.stop(make(), after(20), why)
    assert (change.command, change.trainer, change.trigger) == (JobStop(reason="user"), "t1", Trigger.STOP)
    assert (change.job.stop_requested_at, change.job.stop_reason) == (after(20), why)
    assert tail(change.job) == (JobState.STOP_REQUESTED, -RESERVED, None, None)


def test_stop_of_a_waiting_job_ends_it_and_it_never_runs_after() -> None:
    fresh = orders.stop(queued(), after(20))
    assert (tail(fresh.job), fresh.command) == ((JobState.CANCELED, 0, 0, RESERVED), None)
    assert fresh.job.view.reason is not None
    assert fresh.job.view.reason.code == "user"
    ran = orders.stop(lost(with_checkpoint(running()), after(60)).job, after(70), WHY).job
    assert (tail(ran), ran.view.reason) == ((JobState.STOPPED, -50, 50, RESERVED - 50), WHY)
    for job in (fresh.job, ran):
        with pytest.raises(Stale):
            orders.assign(job, "t1", after(80))
        with pytest.raises(Stale):
            facts.started(job, job.view.attempt, started())


@pytest.mark.parametrize("state", sorted(frozenset(JobState) - {JobState.QUEUED, JobState.PREPARING, JobState.RUNNING}))
def test_what_is_ending_or_has_ended_is_not_stopped(state: JobState) -> None:
    with pytest.raises(IllegalTransition) as refused:
        orders.stop(in_state(running(), state), after(20))
    assert refused.value.details == {"state": state, "trigger": "stop"}


@pytest.mark.parametrize("why", [WHY, None])
def test_stop_of_one_that_would_queue_by_itself_takes_that_from_it(why: Reason | None) -> None:
    before = in_state(later(when_room=True), JobState.TRY_AGAIN_LATER)
    change = orders.stop(before, after(20), why)
    assert (change.job.view.state, change.job.view.when_room) == (JobState.TRY_AGAIN_LATER, False)
    assert (change.job.to_release, change.job.ledger, change.command) == (True, [], None)
    assert change.job.view.reason == (why or before.view.reason)
    with pytest.raises(IllegalTransition):
        orders.stop(change.job, after(21))


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_an_ended_job_is_deleted_with_its_lines_kept(state: JobState) -> None:
    before = in_state(later(when_room=True) if state is JobState.TRY_AGAIN_LATER else done(), state)
    job = orders.delete(before, after(100)).job
    assert (job.deleted_at, job.to_release, job.view.when_room) == (after(100), True, False)
    assert job.ledger == before.ledger


def test_a_job_that_has_not_ended_or_is_needed_is_not_deleted() -> None:
    for state in ALIVE:
        with pytest.raises(IllegalTransition):
            orders.delete(in_state(running(), state), after(100))
    with pytest.raises(UserError) as refused:
        orders.delete(orders.claim_by_child(done(), "job-2", after(100)).job, after(101))
    assert (refused.value.code, refused.value.status) == ("model_in_use", 409)


# --- trying again --------------------------------------------------------------------------------------------------------


def test_a_job_that_is_tried_again_queues_with_its_minutes() -> None:
    change = orders.admit(later(), 480, after(50), by="Ada", kind=RunKind("gpu", 32), approved_by="Ben")
    job, view = change.job, change.job.view
    assert (view.state, view.queued_at, view.ended_at, view.reason) == (JobState.QUEUED, after(50), None, None)
    assert (job.accelerator, view.batch_size, view.approved_by) == ("gpu", 32, "Ben")
    assert (budget.balance(job.ledger), view.reserved_seconds) == (-480, 480)
    assert (view.used_seconds, view.refunded_seconds, view.retry_after) == (None, None, None)
    assert (job.to_release, job.kept_at, view.notices) == (False, None, [])
    assert (change.cause, change.trigger) == (Trigger.ADMIT, Trigger.ADMIT)
    assert orders.problem_of(job) is None


def test_a_job_that_waited_for_room_queues_by_itself_and_says_so() -> None:
    approved = later(when_room=True)
    approved = replace(approved, view=replace(approved.view, approved_by="Ben"))
    job = orders.admit(approved, 600, after(50), by=None).job
    assert [notice.code for notice in job.view.notices] == ["room_appeared"]
    assert (job.view.when_room, job.view.approved_by) == (False, "Ben")
    assert (job.accelerator, job.view.batch_size) == ("cpu", 8)


@pytest.mark.parametrize(
    "job",
    [later(when_room=True, deleted_at=after(1)), later(releasing=True), later(when_room=False)],
    ids=["deleted", "being let go", "not waiting for room"],
)
def test_a_job_that_nobody_waits_for_does_not_queue(job: Job) -> None:
    with pytest.raises(Stale, match="nobody waits"):
        orders.admit(job, 600, after(50), by=None)


@pytest.mark.parametrize("state", sorted(frozenset(JobState) - {JobState.TRY_AGAIN_LATER}))
def test_only_a_job_that_must_be_tried_later_is_tried_again(state: JobState) -> None:
    job = in_state(running(), state)
    with pytest.raises(Stale):
        orders.admit(job, 600, after(50), by="Ada")
    with pytest.raises(IllegalTransition):
        orders.refuse_again(job, BUSY, after(50), when_room=False)
    with pytest.raises(IllegalTransition):
        orders.keep_claims(job, after(50))
    with pytest.raises(Stale):
        orders.let_claims_go(job)


@pytest.mark.parametrize("when_room", [True, False])
def test_a_second_refusal_says_what_is_the_reason_now(when_room: bool) -> None:
    kept = orders.keep_claims(later(), after(49)).job
    job = orders.refuse_again(kept, BUSY, after(50), when_room=when_room, approved_by="Ben").job
    assert (job.view.state, job.view.reason) == (JobState.TRY_AGAIN_LATER, BUSY.reason)
    assert job.view.retry_after == after(50) + timedelta(seconds=300)
    assert (job.view.when_room, job.to_release, job.kept_at) == (when_room, not when_room, None)
    assert job.view.approved_by == "Ben"
    never = orders.refuse_again(job, replace(BUSY, retry_after=None), after(51), when_room=when_room).job
    assert (never.view.retry_after, never.view.approved_by) == (None, "Ben")


def test_claims_are_kept_while_a_job_is_tried_and_let_go_when_nothing_comes_of_it() -> None:
    kept = orders.keep_claims(later(), after(50))
    assert (kept.job.to_release, kept.job.kept_at, kept.silent) == (False, after(50), True)
    gone = orders.let_claims_go(kept.job)
    assert (gone.job.to_release, gone.job.kept_at, gone.silent) == (True, None, True)
    with pytest.raises(Retry):
        orders.keep_claims(later(releasing=True), after(50))
    with pytest.raises(Stale, match="still needs"):
        orders.let_claims_go(later(when_room=True))


# --- priority and children -----------------------------------------------------------------------------------------------


def test_priority_is_for_jobs_that_have_not_ended() -> None:
    for state in ALIVE:
        assert orders.set_priority(in_state(running(), state), 5).job.view.priority == 5
    for state in TERMINAL:
        with pytest.raises(IllegalTransition):
            orders.set_priority(in_state(running(), state), 5)


def test_a_model_is_held_by_each_child_once_until_it_is_released() -> None:
    job = done()
    for child, at in (("job-2", 100), ("job-3", 101), ("job-2", 102)):
        job = orders.claim_by_child(job, child, after(at)).job
    assert job.children == [Child(id="job-3", at=after(101)), Child(id="job-2", at=after(102))]
    job = orders.release_child(job, "job-3").job
    assert [child.id for child in job.children] == ["job-2"]
    with pytest.raises(Stale, match="holds nothing"):
        orders.release_child(job, "job-3")


def test_only_an_ended_model_with_a_checkpoint_is_trained_on() -> None:
    for state in ALIVE:
        with pytest.raises(IllegalTransition):
            orders.claim_by_child(in_state(with_checkpoint(running()), state), "job-2", after(100))
    with pytest.raises(NotFound):
        orders.claim_by_child(orders.delete(done(), after(100)).job, "job-2", after(101))
    with pytest.raises(UserError) as refused:
        orders.claim_by_child(orders.stop(queued(), after(20)).job, "job-2", after(100))
    assert (refused.value.code, refused.value.status) == ("no_checkpoint", 409)
