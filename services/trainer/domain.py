"""The trainer's rules: pure decisions over values, no clock, no uuid, no I/O.

Owns what a command is answered with, the lease, the order in which checkpoints are resumed from and which of them are kept,
and the sentences that say why an attempt ended.
"""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Collection, Iterable, Mapping
from enum import Enum, auto

import msgspec

from services.trainer.protocol import Phase, StopReason
from shared.contract.errors import Stale
from shared.contract.events import JobAssign
from shared.contract.views import Reason

MAP = "DetectionBoxes_Precision/mAP"
_NAME_LENGTH = 40
_CHECKPOINT = re.compile(r"(\d{8,})-a(\d+)")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class LeaseLost(Stale):
    """No heartbeat was confirmed for as long as the lease: the job may be somebody else's, so nothing is said or written."""


class Lease:
    """How long an attempt may go on without a confirmed heartbeat. Times are monotonic seconds.

    Once lost it stays lost: a process that slept through its lease must not renew it with its first breath.
    """

    def __init__(self, seconds: float, now: float) -> None:
        self.seconds = seconds
        self._renewed = now
        self._lost = False

    def left(self, now: float) -> float:
        """Seconds until the lease ends, 0 once it has."""
        if self._lost or now - self._renewed >= self.seconds:
            self._lost = True
            return 0.0
        return self.seconds - (now - self._renewed)

    def renew(self, sent: float, now: float) -> None:
        """A heartbeat sent at `sent` was confirmed at `now`. It counts from when it was sent: it is read later than that."""
        if self.left(now) > 0:
            self._renewed = max(self._renewed, sent)

    def require(self, now: float) -> None:
        """Raises LeaseLost unless the lease still holds."""
        if self.left(now) <= 0:
            raise LeaseLost(f"no heartbeat was confirmed for {self.seconds:g} s")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a job as it was assigned to us, and whom to name when we speak of it."""

    job_id: str
    attempt: int
    team: str
    assign: JobAssign
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


class Answer(Enum):
    """What to do about a JobAssign."""

    ACCEPT = auto()
    ANNOUNCE_AGAIN = auto()
    REPLACE = auto()
    REFUSE = auto()
    STALE = auto()


def answer_assign(
    attempt: int, *, held: int | None, over: int | None, free_slots: int, draining: bool, unheard: bool
) -> Answer:
    """`held` and `over` are the attempts at the same job that we hold and that were the last to end here, if any; `unheard`
    tells that no heartbeat of ours was confirmed for a lease: the assignment may be of old, and the job somebody else's.

    A newer attempt than the held one means that the old one was given up: it makes way and leaves its slot.
    """
    if over is not None and attempt <= over:
        return Answer.STALE
    if held is not None and attempt <= held:
        return Answer.ANNOUNCE_AGAIN if attempt == held else Answer.STALE
    if draining or unheard:
        return Answer.REFUSE
    if held is not None:
        return Answer.REPLACE
    return Answer.ACCEPT if free_slots > 0 else Answer.REFUSE


def stronger(asked: StopReason | None, reason: StopReason) -> StopReason:
    """The reason to stop for when a second one comes: a drain wins, as the machine goes away."""
    return reason if asked is None or reason == "drained" else asked


def trainer_id(name: str, suffix: str) -> str:
    """`name` in lower case, anything but letters, digits and hyphens replaced, and the suffix of this process."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_NAME_LENGTH].rstrip("-")
    return f"{cleaned or 'trainer'}-{suffix}"


def is_job_id(text: str) -> bool:
    """Whether `text` can be part of a path."""
    return _JOB_ID.fullmatch(text) is not None


# --- checkpoints -------------------------------------------------------------------------------------------------------


class CheckpointName(msgspec.Struct, frozen=True, order=True):
    """A checkpoint's folder. The attempt is part of it: a fenced-off trainer can't write where its successor writes."""

    step: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.step:08d}-a{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> CheckpointName | None:
        """The name that a folder has, None for any other folder."""
        match = _CHECKPOINT.fullmatch(text)
        return cls(int(match[1]), int(match[2])) if match else None


class Best(msgspec.Struct, frozen=True):
    """The checkpoint with the highest mAP so far."""

    name: CheckpointName
    map: float


def resume_order(folders: Iterable[str]) -> list[CheckpointName]:
    """Where to look for a checkpoint to resume from: the most steps first, and of those the latest attempt."""
    names = (CheckpointName.parse(folder) for folder in folders)
    return sorted((name for name in names if name is not None), reverse=True)


def map_of(evaluation: Mapping[str, float]) -> float | None:
    """The mAP that checkpoints are compared by, None where it wasn't measured."""
    value = evaluation.get(MAP)
    return value if value is not None and math.isfinite(value) else None


def better(best: Best | None, name: CheckpointName, evaluation: Mapping[str, float]) -> Best | None:
    """The best one after `name` was evaluated. An equal mAP doesn't win: the earlier one was announced as best."""
    value = map_of(evaluation)
    if value is None or (best is not None and value <= best.map):
        return best
    return Best(name, value)


def best_of(maps: Mapping[CheckpointName, float | None], readable: Collection[CheckpointName]) -> Best | None:
    """The best among checkpoints of earlier attempts that are still there and can be read."""
    best: Best | None = None
    for name in sorted(maps):
        if name in readable:
            value = maps[name]
            best = better(best, name, {} if value is None else {MAP: value})
    return best


def to_delete(
    there: Iterable[CheckpointName], *, latest: CheckpointName, best: Best | None, attempt: int
) -> list[CheckpointName]:
    """All but the latest and the best, oldest first; never one of a later attempt, should we be the ones who are late."""
    kept = {latest} if best is None else {latest, best.name}
    return sorted(name for name in there if name not in kept and name.attempt <= attempt)


# --- why an attempt ended ----------------------------------------------------------------------------------------------

_STOP_SENTENCES: dict[StopReason, str] = {
    "user": "Stopped on request.",
    "time_limit": "The maximum training time was used up.",
    "drained": "The trainer handed the job back with what it had reached; it goes on from there.",
}
_PHASES: dict[Phase, str] = {
    "preparing": "preparing",
    "stepping": "making steps",
    "saving": "saving a checkpoint",
    "evaluating": "evaluating a checkpoint",
    "exporting": "exporting the model",
}
_REMEDIES = {
    "out_of_memory": "Try again. If it happens again, use a trainer with more memory or a smaller starting model.",
    "nan_loss": "Check the labelled boxes for mistakes, then try again.",
    "bad_data": "Check the datasets of this job, import them again if need be.",
    "bad_dataset": "Import the dataset again and start a new job.",
    "bad_checkpoint": "Start a new job. If this one was to train a model more, choose another model or none.",
    "stalled": "Try again. If it happens again, show the log, which ends with where the program was, to whoever runs this "
    "installation: the trainer's disk or accelerator may be at fault.",
    "artifacts_unavailable": "Try again later. If it happens again, tell whoever runs this installation.",
}
_REMEDY = "Try again. If it fails again, show the log to whoever runs this installation."


def stop_reason(reason: StopReason) -> Reason:
    """Why an attempt ended early, in good order."""
    return Reason(code=reason, message=_STOP_SENTENCES[reason])


def failure(code: str, message: str) -> Reason:
    """Why an attempt failed, with what to do about it."""
    return Reason(code=code, message=message, remedy=_REMEDIES.get(code, _REMEDY))


def crash(status: int, *, memory_kills: int) -> Reason:
    """Why a child ended without a word. `status` is its exit status (negative: the signal that ended it), `memory_kills`
    how many processes around us the kernel has killed for want of memory since the child began."""
    if status == -signal.SIGKILL:
        sure = "The training process ran out of memory: the operating system ended it."
        likely = "The training process was killed from outside; most often that is for want of memory."
        return failure("out_of_memory", sure if memory_kills > 0 else likely)
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return failure("child_crashed", f"The training process crashed ({name}).")
    return failure("child_crashed", f"The training process ended unexpectedly with exit status {status}.")


def stalled(phase: Phase, *, seconds: float, step: int) -> Reason:
    """Why a child was ended that made no headway: for `seconds` in `phase`, with `step` reached."""
    if phase == "stepping":
        what = f"made no step for {seconds:.0f} s after step {step}"
    else:
        what = f"was {_PHASES[phase]} for {seconds:.0f} s without headway, at step {step},"
    return failure("stalled", f"The training process {what} and was ended.")


def refusal(*, draining: bool, unheard: bool) -> Reason:
    """Why an assignment was handed back at once."""
    why = "is being shut down" if draining else "was out of reach for a while" if unheard else "has no free slot"
    return Reason(code="no_slot", message=f"The trainer {why}; the job goes on elsewhere.")
