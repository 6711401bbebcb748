"""Random lives of a job: duplicated, reordered, zombie facts and a scheduler that crashes around any write.

The trainer side is modelled as messages in flight that may be delivered in any order, again, or much later; the scheduler
side is the real decisions behind the same guard as the database's (version). Whatever happens, the books are right.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from services.scheduler import budget, facts, orders
from services.scheduler.domain import Change, Job
from shared.contract.errors import IllegalTransition, Retry, Stale
from shared.contract.events import ModelExported, TrainingCheckpointed, TrainingEnded, TrainingStarted, TrainingStopping
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState
from tests.unit.scheduler.laws import STOPPED_SOON
from tests.unit.scheduler.samples import (
    RESERVED,
    after,
    checkpointed,
    ended,
    lost,
    preparing,
    queued,
    started,
    stopping,
)

Body = TrainingStarted | TrainingCheckpointed | TrainingStopping | TrainingEnded | ModelExported


def exported(attempt: int) -> ModelExported:
    return ModelExported(step=1, prefix=f"jobs/job-1/model-a{attempt}", files=[])


class Life(RuleBasedStateMachine):
    """One job, any number of trainers, some of them zombies."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.flight: list[tuple[int, Body]] = []
        self.terminal: Job | None = None
        self.durable = 0
        self.stopping = False

    @initialize()
    def submit(self) -> None:
        self.job = queued()

    def write(self, based_on: Job, change: Change) -> None:
        """The database's guard: nothing is written over a job that changed since."""
        if based_on.view.version != self.job.view.version:
            return
        self.job = replace(change.job, view=replace(change.job.view, version=self.job.view.version + 1))

    def tick(self) -> float:
        self.now += 1.0
        return self.now

    @precondition(lambda self: self.job.view.state is JobState.QUEUED)
    @rule()
    def assign(self) -> None:
        before = self.job.view.attempt
        self.job = preparing(self.job, trainer=f"t{before}")
        assert self.job.view.attempt == before + 1

    @precondition(lambda self: self.job.view.attempt > 0)
    @rule(data=st.data())
    def trainer_speaks(self, data: st.DataObject) -> None:
        """Any trainer that ever held the job says anything that such a trainer might say."""
        attempt = data.draw(st.integers(1, self.job.view.attempt))
        step = data.draw(st.integers(1, 200))
        bodies: list[Body] = [
            started(self.job.view.steps_completed + 1, self.job.view.steps_completed),
            checkpointed(step, step * 0.5),
            stopping("user"),
            stopping("time_limit"),
            ended("succeeded"),
            ended("stopped"),
            ended("failed"),
            ended("drained"),
            ended("succeeded", step, checkpoint=step),
            exported(attempt),
        ]
        body = data.draw(st.sampled_from(bodies))
        self.flight.append((attempt, body))

    @precondition(lambda self: self.flight)
    @rule(data=st.data(), again=st.booleans(), crash=st.booleans())
    def deliver(self, data: st.DataObject, again: bool, crash: bool) -> None:
        """In any order; `again` leaves the message for another delivery, `crash` decides and dies before the write."""
        index = data.draw(st.integers(0, len(self.flight) - 1))
        attempt, body = self.flight[index]
        if not (again or crash):
            del self.flight[index]
        seen = self.job
        try:
            match body:
                case TrainingStarted():
                    change = facts.started(seen, attempt, body)
                case TrainingCheckpointed():
                    change = facts.checkpointed(seen, attempt, body)
                case TrainingStopping():
                    change = facts.stopping(seen, attempt, body)
                case ModelExported():
                    change = facts.exported(seen, attempt, body)
                case TrainingEnded():
                    change = facts.ended(seen, attempt, body, after(self.tick()))
        except Stale:
            return
        except Retry:
            self.flight.append((attempt, body))
            return
        assert attempt == seen.view.attempt
        if not crash:
            self.write(seen, change)

    @precondition(lambda self: self.job.view.state in ASSIGNED)
    @rule()
    def lose(self) -> None:
        self.write(self.job, lost(self.job, after(self.tick())))

    @rule()
    def stop(self) -> None:
        seen = self.job
        try:
            change = orders.stop(seen, after(self.tick()))
        except IllegalTransition:
            assert seen.view.state in TERMINAL | {JobState.STOP_REQUESTED, JobState.STOPPING}
            return
        self.write(seen, change)

    @rule()
    def two_schedulers_at_once(self) -> None:
        """Both decide on the same job; the second write finds it changed."""
        seen = self.job
        try:
            first, second = orders.stop(seen, after(self.tick())), orders.stop(seen, after(self.tick()))
        except IllegalTransition:
            return
        self.write(seen, first)
        written = self.job
        self.write(seen, second)
        assert self.job is written

    @invariant()
    def the_books_are_right(self) -> None:
        job = self.job
        total = budget.balance(job.ledger)
        if job.view.state in TERMINAL:
            checkpoint = job.view.checkpoint
            paid = 0 if checkpoint is None else min(RESERVED, int(checkpoint.stepping_seconds))
            assert total == -paid == -(job.view.used_seconds or 0)
            assert job.view.refunded_seconds == RESERVED - paid
            assert [line.kind for line in job.ledger] == ["reserve", "refund", "use"]
        else:
            assert total == -RESERVED
            assert job.view.used_seconds is None

    @invariant()
    def an_end_is_an_end(self) -> None:
        if self.terminal is not None:
            # Only the export may still come: everything else stays as it was.
            plain = replace(self.job, view=replace(self.job.view, export=None, version=0))
            assert plain == replace(self.terminal, view=replace(self.terminal.view, export=None, version=0))
        if self.job.view.state in TERMINAL:
            self.terminal = self.job

    @invariant()
    def a_stop_is_kept(self) -> None:
        state = self.job.view.state
        assert not self.stopping or state in STOPPED_SOON | TERMINAL
        self.stopping = state in STOPPED_SOON

    @invariant()
    def fields_fit_the_state(self) -> None:
        view = self.job.view
        assert (view.trainer is not None) == (view.state in ASSIGNED)
        assert (view.ended_at is not None) == (view.state in TERMINAL)
        assert view.running_since is None or view.state in {JobState.RUNNING, JobState.STOP_REQUESTED}
        assert view.steps_completed == (0 if view.checkpoint is None else view.checkpoint.step)
        if view.state in {JobState.STOPPED, JobState.SUCCEEDED}:
            assert view.checkpoint is not None or view.state is JobState.SUCCEEDED
        if view.state in {JobState.CANCELED, JobState.FAILED}:
            assert view.state is JobState.FAILED or (view.reason is not None and view.checkpoint is None)

    @invariant()
    def steps_are_never_lost(self) -> None:
        assert self.job.view.steps_completed >= self.durable
        self.durable = self.job.view.steps_completed


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
