"""The rules of a job's life: fencing, order of facts, minutes, what the user is told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.scheduler import budget, domain, facts, orders
from services.scheduler.domain import Job
from shared.contract.errors import IllegalTransition, Retry, Stale
from shared.contract.events import JobAssign, JobStop, ModelExported, TrainingNoticed
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState
from shared.contract.views import ExportedFile, Reason
from tests.unit.scheduler.samples import (
    RESERVED,
    after,
    checkpointed,
    ended,
    in_state,
    lost,
    preparing,
    queued,
    running,
    started,
    stopping,
    with_checkpoint,
)


def test_assigning_raises_the_attempt_and_sends_all_that_a_trainer_needs() -> None:
    change = orders.assign(queued(), "t1", after(1))
    assert change.job.view.state is JobState.PREPARING
    assert (change.job.view.attempt, change.job.view.trainer, change.trainer) == (1, "t1", "t1")
    assert isinstance(change.command, JobAssign)
    assert (change.command.steps, change.command.known_step, change.command.max_stepping_seconds) == (200, 0, 600.0)
    again = lost(with_checkpoint(running(change.job)), after(90)).job
    second = orders.assign(again, "t2", after(91))
    assert isinstance(second.command, JobAssign)
    assert (second.job.view.attempt, second.command.known_step) == (2, 100)


def test_only_a_waiting_job_is_assigned() -> None:
    for state in JobState:
        if state is not JobState.QUEUED:
            with pytest.raises(Stale):
                orders.assign(in_state(queued(), state), "t1", after(1))


@pytest.mark.parametrize("attempt", [0, 2])
def test_a_fact_of_another_attempt_is_stale(attempt: int) -> None:
    job = running()
    with pytest.raises(Stale, match="attempt"):
        facts.started(job, attempt, started())
    with pytest.raises(Stale, match="attempt"):
        facts.checkpointed(job, attempt, checkpointed(100, 50))
    with pytest.raises(Stale, match="attempt"):
        facts.stopping(job, attempt, stopping())
    with pytest.raises(Stale, match="attempt"):
        facts.ended(job, attempt, ended("succeeded"), after(1))
    with pytest.raises(Stale, match="attempt"):
        facts.noticed(job, attempt, TrainingNoticed(notice=Reason(code="c", message="m")))
    with pytest.raises(Stale, match="attempt"):
        facts.exported(job, attempt, ModelExported(step=1, prefix="p", files=[]))


@pytest.mark.parametrize("state", sorted(set(JobState) - ASSIGNED))
def test_a_fact_about_a_job_that_no_trainer_holds_is_stale(state: JobState) -> None:
    job = in_state(running(), state)
    with pytest.raises(Stale):
        facts.ended(job, 1, ended("succeeded"), after(1))


def test_success_charges_whole_seconds_of_the_last_checkpoint_and_gives_the_rest_back() -> None:
    job = with_checkpoint(running(), 200, 123.9)
    done = facts.ended(job, 1, ended("succeeded", 200), after(200)).job
    view = done.view
    assert (view.state, view.used_seconds, view.refunded_seconds) == (JobState.SUCCEEDED, 123, RESERVED - 123)
    assert budget.balance(done.ledger) == -123
    assert [line.kind for line in done.ledger] == ["reserve", "refund", "use"]
    assert (view.ended_at, view.trainer, view.running_since) == (after(200), None, None)


def test_never_more_than_reserved_is_charged() -> None:
    done = facts.ended(with_checkpoint(running(), 200, RESERVED + 1.7), 1, ended("succeeded"), after(700)).job
    assert (done.view.used_seconds, done.view.refunded_seconds) == (RESERVED, 0)


@pytest.mark.parametrize("outcome", ["failed", "stopped"])
def test_a_run_without_a_checkpoint_costs_nothing(outcome: str) -> None:
    job = orders.stop(running(), after(20)).job if outcome == "stopped" else running()
    done = facts.ended(job, 1, ended(outcome, 3), after(30)).job
    assert done.view.state is (JobState.FAILED if outcome == "failed" else JobState.CANCELED)
    assert (done.view.used_seconds, budget.balance(done.ledger)) == (0, 0)
    assert done.view.state is JobState.FAILED or done.view.reason is not None


def test_a_checkpoint_implies_that_steps_are_made() -> None:
    change = facts.checkpointed(preparing(), 1, checkpointed(100, 50))
    assert change.job.view.state is JobState.RUNNING
    with pytest.raises(Stale):
        facts.started(change.job, 1, started())


@pytest.mark.parametrize("step", [50, 100])
def test_a_checkpoint_that_is_not_newer_is_stale(step: int) -> None:
    job = with_checkpoint(running(), 100)
    with pytest.raises(Stale, match="not after"):
        facts.checkpointed(job, 1, checkpointed(step, 60))


def test_the_best_checkpoint_is_remembered_with_its_map() -> None:
    job = with_checkpoint(running(), 100)
    worse = facts.checkpointed(job, 1, checkpointed(200, 90, 0.3, best=False)).job.view.checkpoint
    assert worse is not None
    assert (worse.step, worse.map, worse.best_step, worse.best_map) == (200, 0.3, 100, 0.4)


def test_a_checkpoint_told_before_its_evaluation_is_completed_by_it() -> None:
    early = replace(checkpointed(100, 50.5, best=False), evaluation={})
    job = facts.checkpointed(running(), 1, early).job
    assert job.view.checkpoint is not None
    assert job.view.checkpoint.map is None
    told = facts.checkpointed(job, 1, checkpointed(100, 50.5)).job
    assert told.view.checkpoint is not None
    assert (told.view.checkpoint.map, told.view.checkpoint.best_step) == (0.4, 100)
    with pytest.raises(Stale):
        facts.checkpointed(told, 1, checkpointed(100, 50.5))


@pytest.mark.parametrize(("resumed_from", "best"), [(100, 100), (150, 100), (0, None)])
def test_a_damaged_checkpoint_is_taken_back_and_not_charged(resumed_from: int, best: int | None) -> None:
    job = with_checkpoint(running(), 100, 50.0)
    job = facts.checkpointed(job, 1, checkpointed(200, 100.0, 0.3, best=False)).job
    job = preparing(lost(job, after(200)).job, "t2")
    job = facts.started(job, 2, started(resumed_from + 1, resumed_from, resumed_from / 2)).job
    found = job.view.checkpoint
    assert job.view.steps_completed == resumed_from
    assert (found.step if found else 0) == resumed_from
    assert (found.best_step if found else None) == best
    done = facts.ended(job, 2, ended("failed", resumed_from + 5), after(300)).job
    assert done.view.used_seconds == resumed_from // 2


def test_ends_that_overtook_the_facts_before_them() -> None:
    assert facts.ended(preparing(), 1, ended("succeeded"), after(9)).job.view.state is JobState.SUCCEEDED
    limited = facts.ended(with_checkpoint(running()), 1, ended("stopped"), after(9)).job.view
    assert (limited.state, limited.reason and limited.reason.code) == (JobState.STOPPED, "time_limit")
    at_once = facts.ended(with_checkpoint(preparing()), 1, ended("stopped"), after(9)).job.view
    assert at_once.state is JobState.STOPPED


def test_the_time_limit_without_a_checkpoint_cancels_with_a_full_refund_and_says_why() -> None:
    job = facts.stopping(running(), 1, stopping("time_limit")).job
    assert job.view.state is JobState.STOPPING
    view = facts.ended(job, 1, ended("stopped", 2), after(700)).job.view
    assert (view.state, view.refunded_seconds) == (JobState.CANCELED, RESERVED)
    assert view.reason is not None
    assert view.reason.code == "time_limit"
    assert "10 minutes" in view.reason.message


def test_a_late_time_limit_after_a_stop_only_confirms_the_stop() -> None:
    job = orders.stop(running(), after(20)).job
    assert facts.stopping(job, 1, stopping("time_limit")).job.view.state is JobState.STOPPING
    from_preparing = facts.stopping(preparing(), 1, stopping("time_limit")).job
    assert from_preparing.view.state is JobState.STOPPING


def test_stop_while_waiting_ends_at_once_and_while_running_asks_the_trainer() -> None:
    waiting = orders.stop(queued(), after(5))
    assert (waiting.job.view.state, waiting.command) == (JobState.CANCELED, None)
    assert waiting.job.view.refunded_seconds == RESERVED
    asked = orders.stop(running(), after(20))
    assert asked.job.view.state is JobState.STOP_REQUESTED
    assert (asked.command, asked.trainer) == (JobStop(reason="user"), "t1")
    requeued = lost(with_checkpoint(running()), after(90)).job
    stopped = orders.stop(requeued, after(95)).job.view
    assert (stopped.state, stopped.used_seconds) == (JobState.STOPPED, 50)


@pytest.mark.parametrize("state", sorted(TERMINAL | {JobState.STOP_REQUESTED, JobState.STOPPING}))
def test_stop_where_nothing_can_be_stopped_is_refused_with_the_state(state: JobState) -> None:
    with pytest.raises(IllegalTransition) as refused:
        orders.stop(in_state(running(), state), after(1))
    assert refused.value.details["state"] == state
    assert refused.value.status == 409


def test_a_stop_that_was_answered_ends_stopped() -> None:
    job = with_checkpoint(orders.stop(running(), after(20)).job, 37, 20.2)
    job = facts.stopping(job, 1, stopping("user", 37)).job
    view = facts.ended(job, 1, ended("stopped", 37), after(30)).job.view
    assert (view.state, view.steps_completed, view.used_seconds) == (JobState.STOPPED, 37, 20)


def test_a_lost_trainer_puts_the_job_back_in_front_with_its_checkpoint() -> None:
    job = lost(with_checkpoint(running()), after(90)).job
    assert (job.view.state, job.front, job.view.trainer, job.assigned_at) == (JobState.QUEUED, True, None, None)
    assert job.view.attempts[-1].outcome == "lost"
    assert job.view.checkpoint is not None
    assert budget.balance(job.ledger) == -RESERVED


def test_losing_too_many_trainers_fails_with_a_reason_but_a_checkpoint_starts_the_count_anew() -> None:
    job = queued(max_attempts=2)
    job = lost(preparing(job), after(30)).job
    job = with_checkpoint(running(preparing(job)))
    job = lost(job, after(60)).job
    assert job.view.state is JobState.QUEUED
    job = lost(preparing(job), after(90)).job
    assert job.view.state is JobState.FAILED
    assert job.view.reason is not None
    assert job.view.reason.code == "trainers_lost"
    assert job.view.used_seconds == 50


def test_a_drain_costs_no_attempt() -> None:
    job = queued(max_attempts=1)
    for _ in range(5):
        job = facts.ended(running(preparing(job)), job.view.attempt + 1, ended("drained"), after(40)).job
        assert (job.view.state, job.front) == (JobState.QUEUED, True)
    told = facts.stopping(running(preparing(job)), job.view.attempt + 1, stopping("drained"))
    assert (told.silent, told.trigger, told.job.answered) == (True, None, True)
    with pytest.raises(Stale):
        facts.stopping(told.job, told.job.view.attempt, stopping("drained"))


def test_a_lost_trainer_while_stopping_ends_the_job() -> None:
    asked = orders.stop(with_checkpoint(running()), after(60)).job
    assert lost(asked, after(90)).job.view.state is JobState.STOPPED
    empty = orders.stop(running(), after(60)).job
    view = lost(empty, after(90)).job.view
    assert (view.state, view.refunded_seconds) == (JobState.CANCELED, RESERVED)


def test_notices_and_exports_are_kept_once() -> None:
    notice = TrainingNoticed(notice=Reason(code="random_backbone", message="No pretrained weights were found."))
    job = facts.noticed(running(), 1, notice).job
    assert [n.code for n in job.view.notices] == ["random_backbone"]
    with pytest.raises(Stale):
        facts.noticed(job, 1, notice)
    export = ModelExported(
        step=200, prefix="jobs/job-1/model-a1", files=[ExportedFile(format="float32", name="m", bytes=1, sha256="0")]
    )
    job = facts.exported(job, 1, export).job
    assert job.view.export is not None
    with pytest.raises(Stale):
        facts.exported(job, 1, export)


def test_an_end_waits_for_the_checkpoint_that_it_counts_on() -> None:
    job = running()
    with pytest.raises(Retry, match="checkpoint 200 has not been heard of"):
        facts.ended(job, 1, ended("succeeded", 200, checkpoint=200), after(90))
    job = with_checkpoint(job, 200, 80.0)
    done = facts.ended(job, 1, ended("succeeded", 200, checkpoint=200), after(90)).job
    assert (done.view.state, done.view.used_seconds) == (JobState.SUCCEEDED, 80)


def test_an_export_that_is_heard_after_the_end_is_kept_but_a_zombies_is_not() -> None:
    export = ModelExported(step=200, prefix="jobs/job-1/model-a1", files=[])
    done = facts.ended(with_checkpoint(running(), 200), 1, ended("succeeded", 200), after(90)).job
    kept = facts.exported(done, 1, export).job
    assert kept.view.export is not None
    assert kept.view.state is JobState.SUCCEEDED
    assert kept.ledger == done.ledger
    given_up = lost(with_checkpoint(orders.stop(running(), after(1)).job), after(90)).job
    assert given_up.view.state is JobState.STOPPED
    with pytest.raises(Stale):
        facts.exported(given_up, 1, export)


def test_only_the_trainer_of_a_lost_attempt_is_told_to_let_go() -> None:
    given_up = lost(running(), after(90)).job
    assert not domain.ended_by_its_trainer(given_up, 1)
    drained = facts.ended(running(), 1, ended("drained"), after(90)).job
    assert domain.ended_by_its_trainer(drained, 1)
    assert not domain.ended_by_its_trainer(preparing(drained), 1)
    assert not domain.ended_by_its_trainer(queued(), 1)


def test_only_an_ended_job_can_be_deleted() -> None:
    with pytest.raises(IllegalTransition):
        orders.delete(running(), after(1))
    gone: Job = orders.delete(in_state(running(), JobState.FAILED), after(1)).job
    assert gone.to_release
    assert gone.deleted_at == after(1)


def test_who_holds_a_job() -> None:
    job = running()
    assert domain.holds(job, 1, "t1")
    assert not domain.holds(job, 2, "t1")
    assert not domain.holds(job, 1, "t2")
    assert not domain.holds(replace(job, view=replace(job.view, state=JobState.QUEUED)), 1, "t1")
