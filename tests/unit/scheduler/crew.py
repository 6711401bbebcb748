"""Trainers that make no steps, on the broker in memory: what they say and do, the machine tells them, one move at a time.

The lease and the answer to an assignment are the real trainer's; checkpoints lie in a dictionary, as they would in the artifact
store. A trainer looks at its lease before whatever it does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from services.trainer.domain import MAP, Answer, Lease, answer_assign, stronger
from services.trainer.protocol import StopReason
from shared.contract.errors import Retry, Stale
from shared.contract.events import (
    HeldJob,
    JobAssign,
    JobStop,
    Message,
    ModelExported,
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
from shared.contract.starting_models import Accelerator
from shared.contract.topology import trainer_queue
from shared.contract.views import Reason
from shared.contract.wire import Envelope
from shared.runtime.deliveries import Handlers
from shared.runtime.metrics import Metrics
from tests.support.memory_bus import MemoryBus
from tests.unit.scheduler.plant import Plant

HEARTBEAT = 2.0
# What a step of a run takes, in seconds that are charged.
STEP_SECONDS = 0.7
Failure = Literal["stalled", "out_of_memory", "nan_loss", "child_crashed"]


class Point(NamedTuple):
    """A checkpoint."""

    step: int
    attempt: int
    seconds: float


@dataclass(eq=False)
class Attempt:
    """An attempt that a trainer holds. `unsaid` are facts that the broker has not taken yet."""

    job_id: str
    number: int
    team: str
    assign: JobAssign
    lease: Lease
    step: int = 0
    seconds: float = 0.0
    durable: Point | None = None
    begun: bool = False
    over: bool = False
    stop: StopReason | None = None
    unsaid: deque[Message] = field(default_factory=deque)


class Crew:
    """All trainers, what they saved, and what they said, so that it can be said again."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.trainers: list[Trainer] = []
        self.points: dict[str, list[Point]] = {}
        self.said: deque[Envelope] = deque(maxlen=30)
        # For how long the next fact is under way.
        self.late = 0.0
        self._names = itertools.count(1)
        self._ids = itertools.count(1)

    def join(self, slots: int, *, accelerator: Accelerator = "cpu", memory_bytes: int = 8 << 30) -> Trainer:
        """One more trainer; `memory_bytes` is a slot's."""
        trainer = Trainer(self, f"t{next(self._names)}", slots, accelerator, memory_bytes)
        self.trainers.append(trainer)
        return trainer

    def holder(self, name: str | None, job_id: str, attempt: int) -> Attempt | None:
        """That trainer's attempt, if it holds it with a lease that has not ended."""
        for trainer in self.trainers:
            held = trainer.held.get(job_id) if trainer.id == name and trainer.alive else None
            if held is not None and held.number == attempt and held.lease.left(self.plant.clock.monotonic()) > 0:
                return held
        return None

    def new_id(self) -> str:
        """A message's."""
        return f"m{next(self._ids)}"


class Trainer:
    """One trainer. `alive` until it crashed or left; `reached` while it and the broker reach each other; `asleep` means that
    nothing of it runs."""

    def __init__(self, crew: Crew, name: str, slots: int, accelerator: Accelerator, memory_bytes: int) -> None:
        self.id, self.slots = name, slots
        self.accelerator, self.memory_bytes = accelerator, memory_bytes
        self.held: dict[str, Attempt] = {}
        self.alive, self.reached, self.asleep, self.draining = True, False, False, False
        self._crew, self._plant = crew, crew.plant
        self._over: dict[str, int] = {}
        self._bus = MemoryBus(crew.plant.broker, service=name, metrics=Metrics())
        self._flushing = asyncio.Lock()
        self._beating = asyncio.create_task(self._live())

    # --- what happens to it ----------------------------------------------------------------------------------------------

    async def crash(self) -> None:
        """Gone without a word, and its children with it."""
        self.alive = False
        self.held.clear()
        self._beating.cancel()
        await self._bus.close()

    async def part(self, *, asleep: bool) -> None:
        """Nobody hears it, it hears nobody; asleep, it doesn't know."""
        self.reached, self.asleep = False, asleep
        await self._bus.close()

    async def come_back(self) -> None:
        """It is awake and reaches the broker again."""
        self.asleep = False
        self._look()
        if self.alive and not self.reached:
            self.reached = True
            handlers: Handlers = {JobAssign: self._assign, JobStop: self._stop, TrainerDrain: self._drain}
            await self._bus.consume(trainer_queue(self.id), handlers)
            await self.beat()

    async def leave(self) -> None:
        """Hand everything back, then say goodbye and end."""
        if self.asleep or not self.alive:
            return
        self.draining = True
        for attempt in list(self.held.values()):
            attempt.stop = stronger(attempt.stop, "drained")
            await self.work(attempt)
        await self._goodbye()

    def failure(self) -> BaseException | None:
        """Why it lives no longer, where that is our own mistake."""
        ended = self._beating.done() and not self._beating.cancelled()
        return self._beating.exception() if ended else None

    # --- what it does ----------------------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """A heartbeat; one that the broker takes renews the leases of what it names."""
        self._look()
        if not self._can_speak():
            return
        held = list(self.held.values())
        sent = self._plant.clock.monotonic()
        heartbeat = TrainerHeartbeat(
            trainer=self.id,
            slots=self.slots,
            accelerator=self.accelerator,
            device="none",
            memory_bytes=self.memory_bytes,
            held=[HeldJob(job_id=attempt.job_id, attempt=attempt.number) for attempt in held],
            draining=self.draining,
        )
        await self._publish(self._envelope(heartbeat))
        for attempt in held:
            attempt.lease.renew(sent, self._plant.clock.monotonic())
        await self._flush()

    async def work(self, attempt: Attempt, *, failure: Failure | None = None) -> None:
        """The attempt's next step: begin, make steps up to a checkpoint, stop, or end."""
        self._look()
        if self.asleep or attempt.over or self.held.get(attempt.job_id) is not attempt:
            return
        if failure is not None:
            self._end(attempt, "failed", Reason(code=failure, message="It failed."))
        elif not attempt.begun:
            self._begin(attempt)
        elif attempt.stop is not None:
            attempt.unsaid.append(TrainingStopping(step=attempt.step, reason=attempt.stop))
            self._make_steps(attempt, 3)
            self._end(attempt, "drained" if attempt.stop == "drained" else "stopped")
        elif attempt.step >= attempt.assign.steps:
            prefix = f"jobs/{attempt.job_id}/model-a{attempt.number}"
            attempt.unsaid.append(ModelExported(step=attempt.step, prefix=prefix, files=[]))
            self._end(attempt, "succeeded")
        elif attempt.seconds + STEP_SECONDS > attempt.assign.max_stepping_seconds:
            attempt.unsaid.append(TrainingStopping(step=attempt.step, reason="time_limit"))
            self._end(attempt, "stopped")
        else:
            self._make_steps(attempt, attempt.assign.checkpoint_every)
        await self._flush()

    def _begin(self, attempt: Attempt) -> None:
        if attempt.stop is not None:
            self._end(attempt, "drained" if attempt.stop == "drained" else "stopped")
            return
        attempt.begun = True
        points = self._crew.points.get(attempt.job_id, [])
        newest = attempt.durable = max(points, default=None)
        if newest is not None:
            attempt.step, attempt.seconds = newest.step, newest.seconds
            if newest.step > attempt.assign.known_step:
                self._announce(attempt, newest)
        attempt.unsaid.append(
            TrainingStarted(
                trainer=self.id,
                step=attempt.step + 1,
                resumed_from=attempt.step,
                resumed_seconds=attempt.seconds,
                at=self._plant.clock.now(),
                resumed_prefix=None if newest is None else _prefix(attempt, newest),
            )
        )
        notice = Reason(code="random_backbone", message="No pretrained weights were found.")
        attempt.unsaid.append(TrainingNoticed(notice=notice))

    def _make_steps(self, attempt: Attempt, count: int) -> None:
        left = int((attempt.assign.max_stepping_seconds - attempt.seconds) / STEP_SECONDS)
        count = min(count, attempt.assign.steps - attempt.step, left)
        if count <= 0:
            return
        attempt.step += count
        attempt.seconds += count * STEP_SECONDS
        point = attempt.durable = Point(attempt.step, attempt.number, attempt.seconds)
        self._crew.points.setdefault(attempt.job_id, []).append(point)
        self._announce(attempt, point)

    def _announce(self, attempt: Attempt, point: Point) -> None:
        attempt.unsaid.append(
            TrainingCheckpointed(
                step=point.step,
                stepping_seconds=point.seconds,
                prefix=_prefix(attempt, point),
                saved_at=self._plant.clock.now(),
                training={},
                evaluation={MAP: 0.5},
                best=True,
            )
        )

    def _end(self, attempt: Attempt, outcome: str, reason: Reason | None = None) -> None:
        durable = attempt.durable
        known = attempt.assign.known_step if not attempt.begun else 0
        attempt.over = True
        attempt.unsaid.append(
            TrainingEnded(
                outcome=outcome,  # type: ignore[arg-type]
                step=attempt.step,
                checkpoint_step=known if durable is None else durable.step,
                stepping_seconds=attempt.seconds,
                reason=reason,
            )
        )

    # --- commands --------------------------------------------------------------------------------------------------------

    async def _assign(self, envelope: Envelope) -> None:
        self._look()
        assign, job_id, number = envelope.body, envelope.job_id, envelope.attempt
        assert isinstance(assign, JobAssign)
        assert job_id is not None
        assert number is not None
        held = self.held.get(job_id)
        answer = answer_assign(
            number,
            held=None if held is None else held.number,
            over=self._over.get(job_id),
            free_slots=self.slots - sum(not one.over for one in self.held.values()),
            draining=self.draining,
            unheard=False,
        )
        lease = Lease(assign.lease_seconds, self._plant.clock.monotonic())
        attempt = Attempt(job_id, number, envelope.team, assign, lease)
        match answer:
            case Answer.ACCEPT | Answer.REPLACE:
                self._forget(job_id)
                self.held[job_id] = attempt
                attempt.unsaid.append(TrainingAccepted(trainer=self.id))
                await self.beat()
            case Answer.ANNOUNCE_AGAIN:
                assert held is not None
                held.unsaid.append(TrainingAccepted(trainer=self.id))
            case Answer.REFUSE:
                known = assign.known_step
                end = TrainingEnded(outcome="drained", step=known, checkpoint_step=known, stepping_seconds=0.0)
                await self._publish(self._envelope(end, attempt))
                self._over[job_id] = max(number, self._over.get(job_id, 0))
            case Answer.STALE:
                raise Stale("it was here before")

    async def _stop(self, envelope: Envelope) -> None:
        self._look()
        assert isinstance(envelope.body, JobStop)
        attempt = self.held.get(envelope.job_id or "")
        if attempt is None or attempt.number != envelope.attempt:
            raise Stale("it is not held here")
        match envelope.body.reason:
            case "release":
                self._forget(attempt.job_id)
            case "user":
                attempt.stop = stronger(attempt.stop, "user")
            case "drain":
                attempt.stop = stronger(attempt.stop, "drained")

    async def _drain(self, _: Envelope) -> None:
        self.draining = True
        self._plant.later(self.leave())

    # --- how it speaks ---------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            if not self.asleep:
                try:
                    await self.beat()
                except Retry:
                    continue

    async def _flush(self) -> None:
        """Say what is unsaid, attempt by attempt in its order, while its lease holds."""
        async with self._flushing:
            for attempt in list(self.held.values()):
                while attempt.unsaid and self._can_speak():
                    await self._publish(self._envelope(attempt.unsaid[0], attempt))
                    attempt.unsaid.popleft()
                if attempt.over and not attempt.unsaid and self.held.get(attempt.job_id) is attempt:
                    self._forget(attempt.job_id)
        if self.draining:
            await self._goodbye()

    async def _goodbye(self) -> None:
        """Once nothing is held nor unsaid. Commands find no queue from then on."""
        if self.held or not self._can_speak():
            return
        self.alive = False
        await self._publish(self._envelope(TrainerGone(trainer=self.id)))
        self._plant.broker.remove(trainer_queue(self.id).name)
        self._beating.cancel()
        self._plant.later(self._bus.close())

    async def _publish(self, envelope: Envelope) -> None:
        crew = self._crew
        if envelope.job_id is not None:
            crew.said.append(envelope)
            if (after := self._plant.again()) is not None:
                self._plant.later(self._late(envelope, after))
            late, crew.late = crew.late, 0.0
            if late:
                self._plant.later(self._late(envelope, late))
                return
        await self._bus.publish(envelope)

    async def _late(self, envelope: Envelope, seconds: float) -> None:
        """On its way for so long; what is said meanwhile overtakes it."""
        await asyncio.sleep(seconds)
        while not self._plant.broker.is_up:
            await asyncio.sleep(1)
        await self._bus.publish(envelope)

    def _can_speak(self) -> bool:
        return self.alive and self.reached and not self.asleep and self._plant.broker.is_up

    def _look(self) -> None:
        """Let go of what was lost."""
        if self.asleep:
            return
        now = self._plant.clock.monotonic()
        for attempt in list(self.held.values()):
            if attempt.lease.left(now) <= 0:
                self._forget(attempt.job_id)

    def _forget(self, job_id: str) -> None:
        attempt = self.held.pop(job_id, None)
        if attempt is not None:
            self._over[job_id] = max(attempt.number, self._over.get(job_id, 0))

    def _envelope(self, body: Message, attempt: Attempt | None = None) -> Envelope:
        return Envelope(
            id=self._crew.new_id(),
            time=self._plant.clock.now(),
            source=self.id,
            team="" if attempt is None else attempt.team,
            body=body,
            job_id=None if attempt is None else attempt.job_id,
            attempt=None if attempt is None else attempt.number,
        )


def _prefix(attempt: Attempt, point: Point) -> str:
    return f"jobs/{attempt.job_id}/checkpoints/{point.step:08d}-a{point.attempt}"
