"""What must hold of a job in every state and of every write, and the real decisions behind the moves of the model.

For the model check: laws are checked here, not assumed; a law that doesn't hold is Broken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec.structs import replace

from services.scheduler import budget, facts, orders
from services.scheduler.domain import Change, Job, ended_by_its_trainer
from shared.contract.events import ModelExported
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState
from shared.contract.views import Reason
from tests.unit.scheduler.samples import NOW, RESERVED, checkpointed, ended, started, stopping

# Once a stop was accepted, the job ends: it never waits or runs again.
STOPPED_SOON = frozenset({JobState.STOP_REQUESTED, JobState.STOPPING})
# Of stepping, for a step of the model.
SECONDS = 40.7
_LAB_HOURS = Reason(code="lab_hours", message="The lab closes.")
_DIVERGED = Reason(code="nan_loss", message="The loss is not a number.")


class Broken(AssertionError):
    """A law doesn't hold."""


class Fact(NamedTuple):
    """What a trainer said: `step` is what it counts on, `how` an outcome, a reason, or whose checkpoint it is."""

    kind: str
    attempt: int
    step: int = 0
    how: str = ""

    def __str__(self) -> str:
        return " ".join([f"attempt {self.attempt}: {self.kind}", f"at step {self.step}", *filter(None, [self.how])])


def decided(job: Job, key: tuple[Any, ...]) -> Change:
    """The real decision. Raises what it raises."""
    attempt = job.view.attempt
    match key:
        case ("hear", Fact() as fact):
            return _heard(job, fact)
        case ("assign", trainer, term):
            return orders.assign(job, trainer, NOW, term=term)
        case ("lose", term):
            return orders.lost(job, attempt, NOW, term=term)
        case ("pause", term):
            return orders.pause(job, attempt, NOW, _LAB_HOURS, term=term)
        case ("enforce", term):
            return orders.enforce(job, attempt, NOW, term=term)
        case _:
            return orders.stop(job, NOW)


def _heard(job: Job, fact: Fact) -> Change:
    attempt, step = fact.attempt, fact.step
    match fact.kind:
        case "started":
            return facts.started(job, attempt, started(step + 1, step, step * SECONDS))
        case "checkpointed":
            maker = attempt if fact.how == "own" else 0
            saved = checkpointed(step, step * SECONDS)
            return facts.checkpointed(job, attempt, replace(saved, prefix=f"{saved.prefix[:-2]}a{maker}"))
        case "stopping":
            return facts.stopping(job, attempt, stopping(fact.how))
        case "exported":
            export = ModelExported(step=step, prefix=f"jobs/job-1/model-a{attempt}", files=[])
            return facts.exported(job, attempt, export)
        case _:
            diverged = fact.how == "nan_loss"
            prefix = checkpointed(step, 0).prefix if step else ""
            end = ended("failed" if diverged else fact.how, step, step * SECONDS, checkpoint=step, prefix=prefix)
            return facts.ended(job, attempt, replace(end, reason=_DIVERGED if diverged else None), NOW)


def check_job(job: Job, steps: int) -> None:
    """The books are right to the second, and the fields fit the state."""
    view, total = job.view, budget.balance(job.ledger)
    seconds = 0.0 if view.checkpoint is None else view.checkpoint.stepping_seconds
    if view.state in TERMINAL:
        paid = view.used_seconds or 0
        # What a trainer that was cut off saved in the end costs nothing.
        right = paid <= int(seconds) if cut_off(job) else paid == int(seconds)
        _require(right and total == -paid, f"{paid} of {seconds} s were charged, the books say {-total}")
        _require(view.refunded_seconds == RESERVED - paid, f"{view.refunded_seconds} s were given back")
        _require([line.kind for line in job.ledger] == ["reserve", "refund", "use"], "a settlement twice")
    else:
        _require(total == -RESERVED and view.used_seconds is None, "settled before its end")
        _require(orders.problem_of(job) is None, f"it contradicts itself: {orders.problem_of(job)}")
    _require(seconds == view.steps_completed * SECONDS, "seconds of other steps")
    _require((view.trainer is not None) == (view.state in ASSIGNED), f"{view.state} on {view.trainer}")
    _require((view.ended_at is not None) == (view.state in TERMINAL), f"{view.state}, ended {view.ended_at}")
    _require(view.state is not JobState.STOPPED or view.checkpoint is not None, "stopped without a checkpoint")
    _require(view.state is not JobState.CANCELED or view.checkpoint is None, "canceled with a checkpoint")
    _require(view.state is not JobState.SUCCEEDED or view.steps_completed == steps, "succeeded too early")


def check_write(before: Job, after: Job, key: tuple[Any, ...], *, again: bool) -> None:
    """`again`: the same message would be taken once more."""
    old, new = before.view, after.view
    fact: Fact | None = key[1] if key[0] == "hear" else None
    last_words = fact is not None and fact.kind == "checkpointed" and cut_off(before)
    if old.state in TERMINAL:
        _require(_result(before, last_words) == _result(after, last_words), f"{old.state} became {new.state}")
    _require(new.attempt == old.attempt + (key[0] == "assign"), f"attempt {new.attempt} after {old.attempt}")
    _require(old.state not in STOPPED_SOON or new.state in STOPPED_SOON | TERMINAL, "a stop was forgotten")
    _require(key[0] != "enforce" or not before.answered, "what its trainer had answered was cut short")
    _require(after.term >= before.term, "a scheduler that was replaced overruled its successor")
    if fact is None:
        _require(new.steps_completed == old.steps_completed, f"step {new.steps_completed} after {old.steps_completed}")
        return
    _require(fact.attempt == old.attempt, f"attempt {fact.attempt} was heard in attempt {old.attempt}")
    late_export = fact.kind == "exported" and ended_by_its_trainer(before, fact.attempt)
    _require(old.state in ASSIGNED or late_export or last_words, f"{fact.kind} was heard of a job that is {old.state}")
    _require(not again, "the same message counts twice")
    if fact.kind == "checkpointed":
        _require(new.steps_completed == fact.step > old.steps_completed, f"step {fact.step} again or back")
    elif fact.kind == "started":
        _require(new.steps_completed == min(fact.step, old.steps_completed), "steps lost")
    elif fact.kind == "ended":
        _require(new.steps_completed == fact.step, f"ended at checkpoint {fact.step}, not {new.steps_completed}")
    else:
        _require(new.steps_completed == old.steps_completed, "steps lost")


def cut_off(job: Job) -> bool:
    """Whether it was stopped over the head of its trainer, which may have saved something meanwhile."""
    view = job.view
    return view.state is JobState.STOPPED and bool(view.attempts) and view.attempts[-1].outcome == "enforced"


def _result(job: Job, last_words: bool) -> Job:
    """What doesn't change once a job has ended."""
    view = replace(job.view, export=None)
    if last_words:
        view = replace(view, checkpoint=None, steps_completed=0)
    return replace(job, view=view, lost_attempts=0)


def _require(holds: bool, law: str) -> None:
    if not holds:
        raise Broken(law)


def plain(job: Job) -> Job:
    """The job without what no decision looks at: when things happened, and what is said of them."""
    view = job.view
    attempts = [replace(attempt, started_at=None, resumed_from=None, reason=None) for attempt in view.attempts]
    for number, attempt in enumerate(attempts[:-1]):
        if attempt.outcome != "lost":
            attempts[number] = replace(attempt, outcome="over")
    view = replace(view, attempts=attempts, reason=None, running_since=None, stepping_seconds_before=0.0, notices=[])
    return replace(job, view=view, stop_requested_at=None, log_attempt=0, front=False)
