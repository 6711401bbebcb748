"""A trainer in the model: what it does next and what it answers to a command, as values.

Its rule for assignments is the trainer's own (services/trainer/domain.py); the rest follows services/trainer/attempt.py, with a
checkpoint for a step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal, NamedTuple

from services.trainer.domain import Answer, answer_assign
from shared.contract.jobs import ASSIGNED
from shared.contract.views import JobView
from tests.unit.scheduler.laws import Broken, Fact

# What nobody wants to happen.
MISHAPS = frozenset({"crashes or hears nothing for a lease", "fails", "diverges", "is out of time"})


class Command(NamedTuple):
    """What the scheduler told a trainer: `how` is a stop's reason, `known` the step that an assignment names."""

    kind: str
    trainer: int
    attempt: int
    how: str = ""
    known: int = 0

    def __str__(self) -> str:
        more = f"from step {self.known}" if self.kind == "assign" else f"({self.how})"
        return f"{self.kind} attempt {self.attempt} {more}"


class Held(NamedTuple):
    """An attempt on a trainer. `step` is the last durable one that it knows of; `late` one that was begun after the scheduler
    had given it up; `lease` is false once it ended, where the trainer doesn't look."""

    attempt: int
    phase: Literal["preparing", "ready", "stepping", "saved", "stopping"]
    step: int
    stop: str = ""
    late: bool = False
    lease: bool = True


class Trainer(NamedTuple):
    """`over` is the newest attempt that ended here."""

    held: Held | None = None
    over: int = 0


class Work(NamedTuple):
    """What an attempt may do next, what its trainer is afterwards, what it says and what it stores."""

    what: str
    after: Trainer
    said: tuple[Fact, ...] = ()
    stored: int = 0


def obey(trainer: Trainer, command: Command, view: JobView, without: Collection[str]) -> Trainer:
    """The trainer after a command. `view` is the job as the scheduler has it by then, of which the trainer knows nothing."""
    held = trainer.held
    if command.kind == "assign":
        answer = answer_assign(
            command.attempt,
            held=None if held is None else held.attempt,
            over=None if "memory" in without else trainer.over or None,
            free_slots=int(held is None),
            draining=False,
            unheard=False,
        )
        if answer not in (Answer.ACCEPT, Answer.REPLACE):
            return trainer
        if command.attempt <= trainer.over:
            raise Broken(f"attempt {command.attempt} begins again where it is over")
        late = view.attempt != command.attempt or view.state not in ASSIGNED
        over = trainer.over if held is None else max(trainer.over, held.attempt)
        return Trainer(Held(command.attempt, "preparing", command.known, late=late), over)
    if held is None or held.attempt != command.attempt:
        return trainer
    if command.how == "release":
        return _let_go(trainer, held)
    reason = "drained" if command.how == "drain" else held.stop or "user"
    return trainer._replace(held=held._replace(stop=reason))


def work(trainer: Trainer, stored: int, *, steps: int, failures: bool, without: Collection[str]) -> Iterator[Work]:
    """All that may happen to the attempt next, where the artifact store's newest checkpoint is that of step `stored`."""
    held = trainer.held
    if held is None:
        return
    attempt, step = held.attempt, held.step

    def on(**fields: Any) -> Trainer:
        return trainer._replace(held=held._replace(**fields))

    def end(what: str, outcome: str) -> Work:
        told = (Fact("exported", attempt, step),) if outcome in ("succeeded", "stopped") and step else ()
        return Work(what, _let_go(trainer, held), (*told, Fact("ended", attempt, step, outcome)))

    stopped = "drained" if held.stop == "drained" else "stopped"
    if held.lease:
        # Asleep or cut off: the first thing that it does then is to look at its lease. A crash is the same to the others.
        unaware = on(lease=False) if "lease" in without else _let_go(trainer, held)
        yield Work("crashes or hears nothing for a lease", unaware)
    match held.phase:
        case "preparing" if held.stop:
            yield end("ends", stopped)
        case "preparing" if stored > step:
            found = (Fact("checkpointed", attempt, stored, "found"),)
            yield Work("finds a checkpoint", on(phase="ready", step=stored), found)
        case "preparing" if stored < step:
            yield Work("finds it damaged", on(phase="ready", step=stored))
        case "ready" if held.stop:
            yield end("ends", stopped)
        case "preparing" | "ready":
            yield Work("starts", on(phase="stepping"), (Fact("started", attempt, step),))
        case "stepping" if held.stop:
            yield Work("stops", on(phase="stopping"), (Fact("stopping", attempt, 0, held.stop),))
        case "stepping" if step == steps:
            yield end("ends", "succeeded")
        case "stepping":
            yield Work("saves", on(phase="saved", step=step + 1), (), step + 1)
        case "saved":
            yield Work("tells", on(phase="stepping"), (Fact("checkpointed", attempt, step, "own"),))
        case "stopping":
            yield end("ends", stopped)
    if failures and held.phase in ("preparing", "stepping"):
        yield end("fails", "failed")
        yield end("diverges", "nan_loss")
        if held.phase == "stepping":
            time_up = (Fact("stopping", attempt, 0, "time_limit"),)
            yield Work("is out of time", on(phase="stopping", stop="time_limit"), time_up)


def _let_go(trainer: Trainer, held: Held) -> Trainer:
    return trainer._replace(held=None, over=max(trainer.over, held.attempt))
