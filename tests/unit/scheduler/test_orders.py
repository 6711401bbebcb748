"""What the planner does with a job: each order where it fits, and the refusal where it doesn't."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from services.scheduler import budget, facts, orders
from services.scheduler.domain import Change, Job
from shared.contract.errors import IllegalTransition, Stale
from shared.contract.events import JobAssign, JobStop
from shared.contract.jobs import ASSIGNED, TERMINAL, TRANSITIONS, JobState, Trigger
from shared.contract.views import LedgerEntry, Reason
from tests.unit.scheduler.model_store import RecordingStore
from tests.unit.scheduler.samples import (
    RESERVED,
    WHY,
    after,
    checkpointed,
    done,
    in_state,
    lost,
    preparing,
    queued,
    running,
    stopping,
    tail,
    with_checkpoint,
)


def stop_requested(job: Job | None = None) -> Job:
    return orders.stop(job or running(), after(20)).job


def paused(job: Job | None = None) -> Job:
    return orders.pause(job or running(), 1, after(20), WHY).job


# --- assign --------------------------------------------------------------------------------------------------------------


def test_an_assignment_names_the_attempt_and_what_it_goes_on_from() -> None:
    halved = queued()
    halved = replace(
        halved, view=replace(halved.view, batch_size=4, learning_rate_scale=0.1), init_prefix="jobs/parent/1"
    )
    change = orders.assign(halved, "t1", after(1), lease_seconds=9.0, term=7)
    assert isinstance(change.command, JobAssign)
    assert (change.command.batch_size, change.command.learning_rate_scale) == (4, 0.1)
    assert (change.command.init_prefix, change.command.lease_seconds) == ("jobs/parent/1", 9.0)
    assert (change.trigger, change.term, change.job.term) == (Trigger.ASSIGN, 7, 7)
    assert change.job.assigned_at == after(1)
    assert [(one.number, one.trainer) for one in change.job.view.attempts] == [(1, "t1")]


def test_an_assignment_without_a_lease_of_its_own_takes_the_jobs() -> None:
    command = orders.assign(queued(), "t1", after(1)).command
    assert isinstance(command, JobAssign)
    assert command.lease_seconds == queued().lease_seconds


def test_an_assignment_begins_with_nothing_answered_and_no_longer_in_front() -> None:
    answered = facts.stopping(paused(), 1, stopping("drained")).job
    assert answered.answered
    again = orders.assign(replace(lost(answered, after(60)).job, answered=True), "t2", after(61)).job
    assert not again.answered
    assert not again.front
    assert again.pause_requested_at is None


@pytest.mark.parametrize("state", sorted(frozenset(JobState) - {JobState.QUEUED}))
def test_what_does_not_wait_is_not_assigned(state: JobState) -> None:
    with pytest.raises(Stale):
        orders.assign(in_state(queued(), state), "t1", after(1))


# --- lost ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [preparing, running, lambda: with_checkpoint(running())])
def test_a_lost_job_waits_again_in_front_with_all_that_is_reserved(make: Callable[[], Job]) -> None:
    change = orders.lost(make(), 1, after(60), term=3)
    job, view = change.job, change.job.view
    assert (view.state, job.front, view.queued_at, view.trainer) == (JobState.QUEUED, True, after(60), None)
    assert (job.lost_attempts, job.avoid, job.term, change.command) == (1, ["t1"], 3, None)
    assert (view.attempts[-1].outcome, view.attempts[-1].ended_at) == ("lost", after(60))
    assert (budget.balance(job.ledger), view.used_seconds) == (-RESERVED, None)


def test_the_last_trainer_that_a_job_may_lose_fails_it_with_what_it_has() -> None:
    job = replace(with_checkpoint(running()), max_attempts=1)
    job = orders.lost(job, 1, after(60)).job
    assert tail(job) == (JobState.FAILED, -50, 50, RESERVED - 50)
    assert job.view.reason is not None
    assert job.view.reason.code == "trainers_lost"
    assert job.view.ended_at == after(60)


def test_losing_what_was_to_be_stopped_ends_it_for_the_reason_it_was_stopped_for() -> None:
    why = Reason(code="operator", message="Ended by an operator: it is late.")
    asked = orders.stop(with_checkpoint(running()), after(20), why).job
    job = orders.lost(asked, 1, after(60)).job
    assert tail(job) == (JobState.STOPPED, -50, 50, RESERVED - 50)
    assert job.view.reason == why
    nothing = orders.lost(stop_requested(), 1, after(60)).job
    assert tail(nothing) == (JobState.CANCELED, 0, 0, RESERVED)
    assert nothing.view.reason is not None
    assert nothing.view.reason.code == "no_checkpoint"
    answered = orders.lost(facts.stopping(asked, 1, stopping()).job, 1, after(60)).job
    assert answered.view.state is JobState.STOPPED


@pytest.mark.parametrize("attempt", [0, 2])
def test_only_the_attempt_in_force_is_lost(attempt: int) -> None:
    with pytest.raises(Stale, match="in force"):
        orders.lost(running(), attempt, after(60))


@pytest.mark.parametrize("state", sorted(frozenset(JobState) - ASSIGNED))
def test_a_job_that_nobody_holds_is_not_lost(state: JobState) -> None:
    with pytest.raises(Stale):
        orders.lost(in_state(running(), state), 1, after(60))


# --- pause and enforce ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [preparing, running])
def test_a_pause_asks_the_trainer_and_leaves_the_state(make: Callable[[], Job]) -> None:
    before = make()
    change = orders.pause(before, 1, after(20), WHY, term=2)
    assert (change.command, change.trainer, change.trigger, change.term) == (JobStop(reason="drain"), "t1", None, 2)
    assert (change.job.view.state, change.job.pause_requested_at) == (before.view.state, after(20))
    assert change.job.view.notices == [WHY]
    again = orders.pause(orders.assign(lost(change.job, after(60)).job, "t2", after(61)).job, 2, after(90), WHY)
    assert again.job.view.notices == [WHY]


def test_a_pause_is_asked_once_and_of_nobody_else() -> None:
    with pytest.raises(Stale, match="again"):
        orders.pause(paused(), 1, after(21), WHY)
    with pytest.raises(Stale, match="in force"):
        orders.pause(running(), 2, after(20), WHY)
    for state in frozenset(JobState) - {JobState.PREPARING, JobState.RUNNING}:
        with pytest.raises(Stale):
            orders.pause(in_state(running(), state), 1, after(20), WHY)


def test_an_unanswered_stop_is_enforced_with_what_is_durable() -> None:
    change = orders.enforce(stop_requested(with_checkpoint(running())), 1, after(60), term=4)
    assert (change.command, change.trainer, change.term) == (JobStop(reason="release"), "t1", 4)
    assert (change.trigger, change.job.view.attempts[-1].outcome) == (Trigger.ENFORCED, "enforced")
    assert tail(change.job) == (JobState.STOPPED, -50, 50, RESERVED - 50)
    assert change.job.view.reason is not None
    assert "cut off" in change.job.view.reason.message
    assert change.job.stop_requested_at is None
    assert tail(orders.enforce(stop_requested(), 1, after(60)).job) == (JobState.CANCELED, 0, 0, RESERVED)


def test_an_enforced_stop_says_what_it_was_stopped_for() -> None:
    why = Reason(code="operator", message="Ended by an operator: it is late.")
    assert orders.enforce(orders.stop(running(), after(20), why).job, 1, after(60)).job.view.reason == why


def test_an_unanswered_pause_is_enforced_and_goes_on_later() -> None:
    change = orders.enforce(paused(with_checkpoint(running())), 1, after(60))
    job = change.job
    assert (change.command, change.trigger) == (JobStop(reason="release"), Trigger.DRAINED)
    assert (job.view.state, job.front, job.pause_requested_at) == (JobState.QUEUED, True, None)
    assert (job.view.attempts[-1].outcome, job.lost_attempts) == ("enforced", 0)
    assert (job.view.steps_completed, budget.balance(job.ledger)) == (100, -RESERVED)


def test_what_was_not_asked_is_not_enforced() -> None:
    for job in (preparing(), running(), queued(), done(), facts.stopping(stop_requested(), 1, stopping()).job):
        with pytest.raises(Stale):
            orders.enforce(job, job.view.attempt, after(60))
    with pytest.raises(Stale, match="in force"):
        orders.enforce(stop_requested(), 2, after(60))


def test_what_is_answered_by_now_is_not_enforced() -> None:
    """The trainer saves its final checkpoint, which may take longer than a lease."""
    answered = facts.stopping(paused(), 1, stopping("drained")).job
    for job in (answered, orders.stop(answered, after(30)).job):
        with pytest.raises(Stale, match="answered"):
            orders.enforce(job, 1, after(60))


@pytest.mark.parametrize("order", [orders.lost, orders.enforce])
def test_a_job_that_changed_since_it_was_planned_on_is_neither_lost_nor_cut_off(order: Callable[..., Change]) -> None:
    planned = stop_requested()
    seen = planned.view.version
    assert order(planned, 1, after(60), seen=seen).job.view.state is JobState.CANCELED
    with pytest.raises(Stale, match=f"version {seen} was planned on"):
        order(_with(with_checkpoint(planned), version=seen + 1), 1, after(60), seen=seen)


# --- inconsistent, problem_of, resolve -----------------------------------------------------------------------------------


def test_sound_jobs_have_no_problem() -> None:
    for job in (
        queued(),
        preparing(),
        running(),
        stop_requested(),
        paused(),
        done(),
        lost(running(), after(60)).job,
    ):
        assert orders.problem_of(job) is None


PROBLEMS: list[tuple[Callable[[], Job], str]] = [
    (lambda: replace(running(), assigned_at=None), "on no trainer"),
    (lambda: _with(running(), trainer=None), "on no trainer"),
    (lambda: _with(running(), attempts=[]), "on no trainer"),
    (lambda: _with(queued(), starting_model="yolo"), "starting model 'yolo'"),
    (lambda: _with(queued(), queued_at=None), "since when"),
    (lambda: replace(queued(), ledger=[]), f"holds 0 s, but {RESERVED} s are reserved"),
    (lambda: _with(running(), reserved_seconds=1), f"holds {RESERVED} s, but 1 s are reserved"),
]


@pytest.mark.parametrize(("make", "words"), PROBLEMS)
def test_a_job_that_contradicts_itself_is_taken_out(make: Callable[[], Job], words: str) -> None:
    job = make()
    problem = orders.problem_of(job)
    assert problem is not None
    assert words in problem
    change = orders.inconsistent(job, problem, term=5)
    view = change.job.view
    assert (view.state, view.trainer, view.running_since) == (JobState.STATE_UNSPECIFIED, None, None)
    assert (change.trigger, change.term, change.command) == (Trigger.INCONSISTENT, 5, None)
    assert view.reason is not None
    assert problem in view.reason.message
    assert orders.problem_of(change.job) is None


@pytest.mark.parametrize("state", sorted(TERMINAL | {JobState.STATE_UNSPECIFIED}))
def test_a_job_that_has_ended_or_was_taken_out_is_not_taken_out_again(state: JobState) -> None:
    assert orders.problem_of(replace(in_state(running(), state), ledger=[])) is None
    with pytest.raises(Stale):
        orders.inconsistent(in_state(running(), state), "it is odd")


@pytest.mark.parametrize("surplus", [-100, 0, 100])
@pytest.mark.parametrize("make", [queued, running, lambda: with_checkpoint(running())])
def test_the_way_out_puts_the_books_right(make: Callable[[], Job], surplus: int) -> None:
    sound = make()
    odd = LedgerEntry(kind="reserve", seconds=-surplus, at=after(0), job_id="job-1")
    lines = [*sound.ledger, odd] if surplus else sound.ledger
    condemned = orders.inconsistent(replace(sound, ledger=lines), "it is odd").job
    on = orders.resolve(condemned, JobState.QUEUED, after(70)).job
    assert (tail(on), on.view.reason, on.front) == ((JobState.QUEUED, -RESERVED, None, None), None, True)
    assert orders.problem_of(on) is None
    assert all(attempt.ended_at is not None for attempt in on.view.attempts)
    over = orders.resolve(condemned, JobState.FAILED, after(70)).job
    used = 0 if over.view.checkpoint is None else 50
    assert tail(over) == (JobState.FAILED, -used, used, RESERVED - used)
    assert over.view.reason is not None


@pytest.mark.parametrize("state", sorted(frozenset(JobState) - {JobState.STATE_UNSPECIFIED}))
def test_only_what_was_taken_out_needs_a_way_out(state: JobState) -> None:
    with pytest.raises(IllegalTransition) as refused:
        orders.resolve(in_state(running(), state), JobState.QUEUED, after(70))
    assert refused.value.details["state"] == state


# --- all of them ---------------------------------------------------------------------------------------------------------

PLANNED: list[Callable[[], Change]] = [
    lambda: orders.assign(queued(), "t1", after(1), term=9),
    lambda: orders.lost(running(), 1, after(60), term=9),
    lambda: orders.pause(running(), 1, after(20), WHY, term=9),
    lambda: orders.enforce(stop_requested(), 1, after(60), term=9),
    lambda: orders.inconsistent(running(), "it is odd", term=9),
]


@pytest.mark.parametrize("order", PLANNED)
def test_what_a_planner_orders_carries_its_term_into_the_write_and_the_job(order: Callable[[], Change]) -> None:
    change = order()
    assert (change.term, change.job.term) == (9, 9)


def test_what_people_order_carries_no_term() -> None:
    for change in (
        orders.stop(running(), after(20)),
        orders.set_priority(running(), 1),
        orders.delete(done(), after(99)),
    ):
        assert change.term is None


def _with(job: Job, **fields: object) -> Job:
    return replace(job, view=replace(job.view, **fields))


# --- what the store is asked ---------------------------------------------------------------------------------------------


def test_a_write_is_guarded_by_version_attempt_state_and_term() -> None:
    """Each part on its own would do on most days: so no test of what happens would miss one."""
    job = _with(replace(stop_requested(), term=3), version=7)
    written = RecordingStore().write(job, orders.enforce(job, 1, after(60), term=4))
    assert written.guard == {
        "_id": "job-1",
        "view.version": 7,
        "view.attempt": 1,
        "view.state": {"$in": ["STOP_REQUESTED"]},
        "term": {"$not": {"$gt": 4}},
    }


@pytest.mark.parametrize("trigger", sorted({row.trigger for row in TRANSITIONS} - {Trigger.RECONCILED}))
def test_a_transition_is_written_only_where_it_may_leave_from(trigger: Trigger) -> None:
    job = queued()
    guard = RecordingStore().write(job, Change(job=job, cause=trigger, trigger=trigger)).guard
    assert guard["view.state"] == {"$in": sorted({row.source for row in TRANSITIONS if row.trigger is trigger})}
    assert "term" not in guard


def test_a_write_that_changes_no_state_asks_for_none() -> None:
    told = facts.checkpointed(running(), 1, checkpointed(100, 50.5))
    guard = RecordingStore().write(running(), told).guard
    assert guard == {"_id": "job-1", "view.version": 1, "view.attempt": 1}
