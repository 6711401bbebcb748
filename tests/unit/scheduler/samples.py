"""Jobs, trainers and facts for the scheduler's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from services.scheduler import budget, domain, facts, orders
from services.scheduler.admission import Refused
from services.scheduler.domain import Change, Job
from services.scheduler.plan import Trainer
from shared.contract.events import (
    DatasetSource,
    Message,
    TrainingCheckpointed,
    TrainingEnded,
    TrainingStarted,
    TrainingStopping,
)
from shared.contract.jobs import TERMINAL, JobState
from shared.contract.starting_models import DEFAULT_STARTING_MODEL
from shared.contract.views import JobView, Reason
from shared.contract.wire import Envelope

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RESERVED = 600
ALIVE = frozenset(JobState) - TERMINAL
# Why a planner pauses, and an admission refuses.
WHY = Reason(code="lab_hours", message="The lab closes.")
BUSY = Refused(reason=Reason(code="queue_full", message="The queue is full."), retry_after=300)


def after(seconds: float) -> datetime:
    """`seconds` after NOW."""
    return NOW + timedelta(seconds=seconds)


def about(body: Message, job: Job) -> Envelope:
    """What is said about a job."""
    return Envelope(id="m", time=NOW, source="test", team=job.view.team, body=body, job_id=job.view.id)


def queued(job_id: str = "job-1", team: str = "demo", *, at: datetime = NOW, max_attempts: int = 3) -> Job:
    """A job that waits, with 10 minutes reserved."""
    view = JobView(
        id=job_id,
        team=team,
        version=1,
        state=JobState.QUEUED,
        description="Balls",
        created_by="Ada",
        created_at=at,
        queued_at=at,
        starting_model=DEFAULT_STARTING_MODEL,
        dataset_ids=["data-1"],
        dataset_names=["Field"],
        labels=["ball", "cube"],
        train_frames=120,
        eval_frames=30,
        batch_size=8,
        steps_requested=200,
        steps_completed=0,
        max_seconds=RESERVED,
        attempt=0,
        reserved_seconds=RESERVED,
    )
    return Job(
        view=view,
        datasets=[DatasetSource(id="data-1", name="Field", prefix="datasets/data-1", train_frames=120, eval_frames=30)],
        accelerator="cpu",
        seed=1,
        checkpoint_every=100,
        lease_seconds=25,
        max_attempts=max_attempts,
        fingerprint="f",
        ledger=[budget.reservation(job_id, RESERVED, at)],
    )


def preparing(job: Job | None = None, trainer: str = "t1") -> Job:
    """A job that a trainer was just given."""
    return orders.assign(job or queued(), trainer, after(1)).job


def running(job: Job | None = None) -> Job:
    """A job whose trainer makes steps."""
    held = job or preparing()
    return facts.started(held, held.view.attempt, started()).job


def with_checkpoint(job: Job, step: int = 100, seconds: float = 50.5) -> Job:
    """The job after a durable checkpoint."""
    return facts.checkpointed(job, job.view.attempt, checkpointed(step, seconds)).job


def lost(job: Job, at: datetime) -> Change:
    """The attempt in force is over: its trainer is silent."""
    return orders.lost(job, job.view.attempt, at)


def in_state(job: Job, state: JobState) -> Job:
    """The same job, put into a state."""
    return replace(job, view=replace(job.view, state=state))


def started(step: int = 1, resumed_from: int = 0, resumed_seconds: float = 0.0) -> TrainingStarted:
    return TrainingStarted(
        trainer="t1", step=step, resumed_from=resumed_from, resumed_seconds=resumed_seconds, at=after(10)
    )


def checkpointed(step: int, seconds: float, value: float = 0.4, *, best: bool = True) -> TrainingCheckpointed:
    return TrainingCheckpointed(
        step=step,
        stepping_seconds=seconds,
        prefix=f"jobs/job-1/checkpoints/{step:08d}-a1",
        saved_at=after(10 + seconds),
        training={"Loss/total_loss": 1.5},
        evaluation={domain.MAP: value},
        best=best,
    )


def stopping(reason: str = "user", step: int = 120) -> TrainingStopping:
    return TrainingStopping(step=step, reason=reason)  # type: ignore[arg-type]


def ended(
    outcome: str, step: int = 120, seconds: float = 60.0, *, checkpoint: int = 0, prefix: str | None = None
) -> TrainingEnded:
    """An end; `checkpoint` is the step of the last durable checkpoint that the trainer knows of, and `prefix` where it is."""
    return TrainingEnded(
        outcome=outcome,  # type: ignore[arg-type]
        step=step,
        checkpoint_step=checkpoint,
        stepping_seconds=seconds,
        checkpoint_prefix=prefix,
    )


def done(step: int = 200) -> Job:
    """A job that has made all its steps."""
    return facts.ended(with_checkpoint(running(), step), 1, ended("succeeded", step), after(99)).job


def tail(job: Job) -> tuple[JobState, int, int | None, int | None]:
    """State, sum of its lines, and what it used and gave back."""
    return job.view.state, budget.balance(job.ledger), job.view.used_seconds, job.view.refunded_seconds


def trainer(name: str = "t1", **fields: object) -> Trainer:
    """A live CPU trainer with one slot."""
    plain = Trainer(id=name, slots=1, accelerator="cpu", device="CPU", memory_bytes=24 << 30, seen_at=NOW)
    return replace(plain, **fields)
