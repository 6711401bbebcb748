"""What trainers say where it is not the plain course of things: late, cut off, of an earlier attempt, met by a remedy."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.scheduler import facts, orders
from services.scheduler.domain import Job
from shared.contract.errors import Stale
from shared.contract.events import TrainingCheckpointed, TrainingEnded
from shared.contract.jobs import JobState
from shared.contract.views import Reason
from tests.unit.scheduler.samples import (
    after,
    checkpointed,
    ended,
    lost,
    preparing,
    queued,
    running,
    started,
    stopping,
    with_checkpoint,
)


def of_attempt(fact: TrainingCheckpointed, attempt: int) -> TrainingCheckpointed:
    return replace(fact, prefix=f"jobs/job-1/checkpoints/{fact.step:08d}-a{attempt}")


def failed(code: str, step: int = 0) -> TrainingEnded:
    return replace(ended("failed", step), reason=Reason(code=code, message="It went wrong."))


def test_a_checkpoint_that_an_earlier_attempt_left_is_no_sign_of_steps_being_made() -> None:
    second = preparing(lost(running(), after(40)).job, "t2")
    told = facts.checkpointed(second, 2, of_attempt(checkpointed(100, 50.0), 1))
    assert (told.trigger, told.job.view.state, told.job.view.running_since) == (None, JobState.PREPARING, None)
    assert told.job.view.steps_completed == 100
    begun = facts.started(told.job, 2, started(101, 100, 50.0)).job.view
    assert (begun.state, begun.attempts[-1].resumed_from) == (JobState.RUNNING, 100)


def cut_off(job: Job) -> Job:
    return orders.enforce(orders.stop(job, after(60)).job, job.view.attempt, after(90)).job


def test_a_checkpoint_saved_while_its_attempt_was_cut_off_is_kept_and_costs_nothing() -> None:
    job = cut_off(with_checkpoint(running(), 100, 50.5))
    assert (job.view.state, job.view.used_seconds) == (JobState.STOPPED, 50)
    late = facts.checkpointed(job, 1, checkpointed(150, 75.0))
    view = late.job.view
    assert (view.state, view.steps_completed, view.used_seconds, view.running_since) == (
        JobState.STOPPED,
        150,
        50,
        None,
    )
    assert late.job.ledger == job.ledger
    assert late.trigger is None
    with pytest.raises(Stale):
        facts.checkpointed(late.job, 2, checkpointed(200, 90.0))


def test_nothing_is_added_to_a_job_that_ended_without_a_checkpoint_or_in_order() -> None:
    with pytest.raises(Stale):
        facts.checkpointed(cut_off(running()), 1, checkpointed(100, 50.0))
    done = facts.ended(with_checkpoint(running()), 1, ended("succeeded"), after(99)).job
    with pytest.raises(Stale):
        facts.checkpointed(done, 1, checkpointed(200, 90.0))


def test_a_stop_that_a_drain_met_ends_the_job_as_a_stop() -> None:
    drained = replace(ended("drained"), reason=Reason(code="drained", message="It goes on elsewhere."))
    asked = orders.stop(with_checkpoint(running()), after(60)).job
    view = facts.ended(asked, 1, drained, after(70)).job.view
    assert (view.state, view.reason and view.reason.code) == (JobState.STOPPED, "user")
    why = Reason(code="operator", message="Ended by an operator: power cut")
    by_operator = orders.stop(with_checkpoint(running()), after(60), why).job
    assert facts.ended(by_operator, 1, drained, after(70)).job.view.reason == why
    limited = facts.stopping(with_checkpoint(running()), 1, stopping("time_limit")).job
    reason = facts.ended(limited, 1, drained, after(70)).job.view.reason
    assert reason is not None
    assert reason.code == "time_limit"


@pytest.mark.parametrize("code", ["out_of_memory", "nan_loss", "stalled", "artifacts_unavailable"])
def test_a_remedy_is_used_once_and_never_where_the_job_was_to_end(code: str) -> None:
    again = facts.ended(with_checkpoint(running()), 1, failed(code), after(70)).job
    assert (again.view.state, again.front, again.remedies) == (JobState.QUEUED, True, [code])
    assert again.view.reason is None
    assert again.view.attempts[-1].reason is not None
    resumed = facts.started(preparing(again), 2, started(101, 100, 50.5)).job
    second = facts.ended(resumed, 2, failed(code, 100), after(90)).job
    assert (second.view.state, second.view.used_seconds) == (JobState.FAILED, 50)
    stopping_job = orders.stop(running(), after(60)).job
    assert facts.ended(stopping_job, 1, failed(code), after(70)).job.view.state is JobState.FAILED


def test_what_a_remedy_changes() -> None:
    job = with_checkpoint(running())
    half = facts.ended(job, 1, failed("out_of_memory"), after(70)).job
    assert half.view.batch_size == 4
    assert "8 pictures didn't fit" in half.view.notices[-1].message
    assert "from step 100" in half.view.notices[-1].message
    slow = facts.ended(running(), 1, failed("nan_loss"), after(70)).job
    assert slow.view.learning_rate_scale == pytest.approx(0.1)
    assert "from the start" in slow.view.notices[-1].message
    for code in ("stalled", "artifacts_unavailable"):
        assert facts.ended(job, 1, failed(code), after(70)).job.avoid == ["t1"]
    # One picture a step can't be halved, and an unknown failure has no remedy.
    tiny = replace(job, view=replace(job.view, batch_size=1))
    assert facts.ended(tiny, 1, failed("out_of_memory"), after(70)).job.view.state is JobState.FAILED
    assert facts.ended(job, 1, failed("bad_data"), after(70)).job.view.state is JobState.FAILED


def test_only_so_many_trainers_are_avoided() -> None:
    job = queued()
    for number in range(8):
        job = lost(preparing(replace(job, lost_attempts=0), f"t{number}"), after(number)).job
    assert job.avoid == ["t3", "t4", "t5", "t6", "t7"]


def test_a_later_attempts_word_is_not_mixed_up_with_a_cut_off_ones() -> None:
    job = cut_off(with_checkpoint(running()))
    with pytest.raises(Stale):
        facts.ended(job, 1, ended("stopped"), after(95))
    with pytest.raises(Stale):
        facts.started(job, 1, started())


@pytest.mark.parametrize("outcome", ["drained", "stopped", "succeeded"])
def test_the_log_of_a_failure_outlives_the_ends_that_have_none(outcome: str) -> None:
    crash = replace(failed("stalled"), log_tail=["it hung here"])
    again = running(preparing(facts.ended(running(), 1, crash, after(70)).job))
    job = facts.ended(again, 2, ended(outcome), after(90)).job
    assert (job.log_tail, job.log_attempt, job.view.log_lines) == (["it hung here"], 1, 1)
    # The next failure's own takes its place, be it empty.
    job = facts.ended(again, 2, failed("bad_data"), after(90)).job
    assert (job.log_tail, job.log_attempt, job.view.log_lines) == ([], 2, 0)


class TestAnEndBeforeTheFirstStep:
    """The latest checkpoint is damaged; the attempt found an earlier one, or none, and was stopped before it made a step."""

    JOB = preparing(lost(with_checkpoint(running(), 200, 100.5), after(140)).job, "t2")

    @pytest.mark.parametrize("stop", [True, False])
    def test_it_leaves_the_job_with_what_can_be_read(self, stop: bool) -> None:
        job = orders.stop(self.JOB, after(150)).job if stop else self.JOB
        end = ended(
            "stopped" if stop else "failed", 100, 50.5, checkpoint=100, prefix="jobs/job-1/checkpoints/00000100-a1"
        )
        view = facts.ended(job, 2, end, after(160)).job.view
        assert view.state is (JobState.STOPPED if stop else JobState.FAILED)
        assert view.checkpoint is not None
        assert (view.checkpoint.step, view.checkpoint.prefix) == (100, "jobs/job-1/checkpoints/00000100-a1")
        assert (view.steps_completed, view.used_seconds) == (100, 50)

    def test_with_none_that_can_be_read_it_costs_nothing(self) -> None:
        end = ended("stopped", 0, 0.0, checkpoint=0, prefix="")
        view = facts.ended(orders.stop(self.JOB, after(150)).job, 2, end, after(160)).job.view
        assert (view.state, view.checkpoint, view.steps_completed, view.used_seconds) == (JobState.CANCELED, None, 0, 0)

    def test_one_that_had_not_looked_changes_nothing(self) -> None:
        view = facts.ended(self.JOB, 2, ended("drained", 0, 0.0), after(160)).job.view
        assert (view.state, view.steps_completed, view.checkpoint) == (JobState.QUEUED, 200, self.JOB.view.checkpoint)
