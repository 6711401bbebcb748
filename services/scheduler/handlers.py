"""Facts from trainers: load, decide, store. One entry a type in `table()`.

Owns nothing but the wiring; what a fact means is domain.py's, and a fact of an older attempt is Stale there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from msgspec.structs import replace

from services.scheduler import domain, facts
from services.scheduler.board import Board
from services.scheduler.domain import Change, Job
from services.scheduler.plan import Lease, Trainer
from services.scheduler.store import JobStore
from services.scheduler.trainers import TrainerStore, merged_leases
from shared.contract import topology
from shared.contract.errors import NotFound, Reject, Stale
from shared.contract.events import (
    JobStop,
    Message,
    ModelExported,
    SchedulerWrote,
    TrainerDrain,
    TrainerGone,
    TrainerHeartbeat,
    TrainingAccepted,
    TrainingCheckpointed,
    TrainingEnded,
    TrainingNoticed,
    TrainingStarted,
    TrainingStopping,
)
from shared.contract.jobs import JobState
from shared.contract.wire import Envelope
from shared.runtime.bus import Bus, Handler, Handlers, Unroutable
from shared.runtime.clock import Clock

B = TypeVar("B")
# A stop that was sent but not answered is sent again with the heartbeats after so many seconds.
_REPEAT_STOP_SECONDS = 5.0
# A trainer's word for an assignment that it has no room for.
NO_SLOT = "no_slot"
# Heartbeats go to the store once in this part of a lease, and after so many seconds where other jobs are held.
_KEEP_EVERY, _KEEP_CHANGES_EVERY = 0.25, 1.0


class Facts:
    """Handles what trainers say. `changed` is called after each write and `room_changed` when a trainer came, let go of a
    job or drains, so that planning looks again."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        trainers: TrainerStore,
        board: Board,
        bus: Bus,
        clock: Clock,
        envelope: Callable[[Message, str], Envelope],
        lease_seconds: float,
        changed: Callable[[Job], None],
        room_changed: Callable[[], None],
    ) -> None:
        self._jobs = jobs
        self._trainers = trainers
        self._board = board
        self._bus = bus
        self._clock = clock
        self._envelope = envelope
        self._lease_seconds = lease_seconds
        self._changed = changed
        self._room_changed = room_changed
        self._kept: dict[str, Trainer] = {}

    def table(self) -> Handlers:
        """The handler of each type."""
        return {
            TrainerHeartbeat: self._heard,
            TrainerGone: self._gone,
            SchedulerWrote: self._wrote,
            TrainingAccepted: self._accepted,
            TrainingStarted: self._job(TrainingStarted, facts.started),
            TrainingNoticed: self._job(TrainingNoticed, facts.noticed),
            TrainingCheckpointed: self._job(TrainingCheckpointed, facts.checkpointed),
            TrainingStopping: self._job(TrainingStopping, facts.stopping),
            ModelExported: self._job(ModelExported, facts.exported),
            TrainingEnded: self._job(TrainingEnded, self._ended),
        }

    def _job(self, kind: type[B], decide: Callable[[Job, int, B], Change]) -> Handler:
        async def handle(envelope: Envelope) -> None:
            body = envelope.body
            if envelope.job_id is None or envelope.attempt is None or not isinstance(body, kind):
                raise Reject(f"{envelope.type} without a job id or an attempt")
            attempt = envelope.attempt
            try:
                known = self._board.find(envelope.job_id)
                job = await self._jobs.decide(envelope.job_id, lambda job: decide(job, attempt, body), known=known)
            except NotFound as error:
                raise Reject(f"{envelope.type} about an unknown job {envelope.job_id}") from error
            self._changed(job)
            if isinstance(body, TrainingEnded) and body.reason is not None and body.reason.code == NO_SLOT:
                self._board.full(envelope.source)

        return handle

    def _ended(self, job: Job, attempt: int, fact: TrainingEnded) -> Change:
        return facts.ended(job, attempt, fact, self._clock.now())

    async def _accepted(self, envelope: Envelope) -> None:
        """The heartbeat that follows carries the lease; accepting changes nothing that a user sees."""
        raise Stale("the lease begins with the heartbeat")

    async def _heard(self, envelope: Envelope) -> None:
        fact = envelope.body
        assert isinstance(fact, TrainerHeartbeat)
        if not self._board.live:
            # In hand since before another scheduler took over: what it says of then is no news now.
            raise Stale("another scheduler hears the trainers")
        now = self._clock.now()
        known = self._board.trainers.get(fact.trainer) or await self._trainers.get(fact.trainer)
        if known is not None and known.gone:
            raise Stale("a heartbeat from before the goodbye")
        held = [Lease(job_id=job.job_id, attempt=job.attempt, seen_at=now) for job in fact.held]
        trainer = Trainer(
            id=fact.trainer,
            slots=fact.slots,
            accelerator=fact.accelerator,
            device=fact.device,
            memory_bytes=fact.memory_bytes,
            seen_at=now,
            draining=fact.draining,
            leases=merged_leases(() if known is None else known.leases, held, now, self._lease_seconds),
            labels=fact.labels,
            started_at=fact.started_at,
            utilization=fact.utilization,
            memory_used_bytes=fact.memory_used_bytes,
            drain_asked=known is not None and known.drain_asked,
        )
        self._board.heard(trainer)
        if self._worth_keeping(trainer):
            await self._trainers.put(trainer)
            self._kept = {known: kept for known, kept in self._kept.items() if known in self._board.trainers}
            self._kept[trainer.id] = trainer
        if known is None or len(known.leases) != len(trainer.leases) or known.draining != trainer.draining:
            self._room_changed()
        for lease in held:
            await self._answer(fact.trainer, lease)
        if trainer.drain_asked and not trainer.draining:
            # It was asked while it couldn't be reached.
            await self._send(trainer.id, self._envelope(TrainerDrain(), ""))

    def _worth_keeping(self, trainer: Trainer) -> bool:
        """Whether the store is to know of this heartbeat: others read there who lives and holds what, within part of a
        lease."""
        kept = self._kept.get(trainer.id)
        if kept is None or (kept.draining, kept.slots) != (trainer.draining, trainer.slots):
            return True
        leases, known = ({(lease.job_id, lease.attempt) for lease in one.leases} for one in (trainer, kept))
        every = min(self._lease_seconds * _KEEP_EVERY, self._lease_seconds if leases == known else _KEEP_CHANGES_EVERY)
        return trainer.seen_at - kept.seen_at > timedelta(seconds=every)

    async def _answer(self, trainer: str, lease: Lease) -> None:
        """Tell a trainer that holds what it shouldn't to let go, and one that hasn't heard of a stop to stop."""
        job = self._board.recall(lease.job_id)
        if job is not None and domain.ended_by_its_trainer(job, lease.attempt):
            return
        if job is None or not domain.holds(job, lease.attempt, trainer):
            job = await self._jobs.find(lease.job_id)
        if job is None or not domain.holds(job, lease.attempt, trainer):
            if job is None or not domain.ended_by_its_trainer(job, lease.attempt):
                await self._tell(trainer, lease, JobStop(reason="release"), job)
            return
        if job.view.state is JobState.STOP_REQUESTED and self._overdue(job.stop_requested_at, lease):
            await self._tell(trainer, lease, JobStop(reason="user"), job)
        elif job.view.state in domain.PAUSABLE and not job.answered and self._overdue(job.pause_requested_at, lease):
            await self._tell(trainer, lease, JobStop(reason="drain"), job)

    @staticmethod
    def _overdue(asked: datetime | None, lease: Lease) -> bool:
        return asked is not None and (lease.seen_at - asked).total_seconds() > _REPEAT_STOP_SECONDS

    async def _tell(self, trainer: str, lease: Lease, command: JobStop, job: Job | None) -> None:
        """About the attempt that the trainer believes in, which may not be the one in force, nor known here at all."""
        about = replace(
            self._envelope(command, job.view.team if job else ""), job_id=lease.job_id, attempt=lease.attempt
        )
        await self._send(trainer, about)

    async def _send(self, trainer: str, command: Envelope) -> None:
        try:
            await self._bus.command(topology.trainer_queue(trainer).name, command)
        except Unroutable as error:
            raise Stale(f"{trainer} is gone") from error

    async def _gone(self, envelope: Envelope) -> None:
        fact = envelope.body
        assert isinstance(fact, TrainerGone)
        known = await self._trainers.get(fact.trainer)
        if known is None:
            raise Stale("never heard of")
        gone = replace(known, gone=True, seen_at=self._clock.now())
        self._board.heard(gone)
        await self._trainers.put(gone)

    async def _wrote(self, envelope: Envelope) -> None:
        """A scheduler that doesn't plan has written a job: look at it."""
        fact = envelope.body
        assert isinstance(fact, SchedulerWrote)
        job = await self._jobs.find(fact.job_id)
        if job is None:
            raise Stale(f"no job {fact.job_id}")
        self._changed(job)
