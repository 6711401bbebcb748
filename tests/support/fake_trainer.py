"""A trainer that trains nothing, as a process (`python -m tests.support.fake_trainer`) or inside a test's.

Commands, lease, voice and heartbeat are the real trainer's own code; a step is a sleep, a checkpoint a small file. What it did
it writes into a journal, so that afterwards a test can tell which steps were made by whom and when. It can be told to repeat
facts and to be late with them, as a bad network makes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from aiohttp import web
from pydantic import Field

from services.trainer import domain
from services.trainer.domain import Lease, LeaseLost, Order
from services.trainer.ears import Ears
from services.trainer.handlers import CommandHandlers
from services.trainer.heartbeat import Heart
from services.trainer.holdings import Holdings
from services.trainer.machine import Machine, Slot
from services.trainer.meter import Reading
from services.trainer.protocol import StopReason
from services.trainer.reporter import Reporter, Voice
from shared.contract.errors import Retry, Stale
from shared.contract.events import (
    HeldJob,
    ModelExported,
    TrainerPinged,
    TrainingAccepted,
    TrainingCheckpointed,
    TrainingEnded,
    TrainingStarted,
    TrainingStopping,
)
from shared.contract.topology import trainer_queue
from shared.contract.wire import Envelope
from shared.runtime.bus import Bus, Handlers
from shared.runtime.clock import Clock
from shared.runtime.service import Runtime, run
from shared.runtime.settings import ServiceSettings
from tests.support.journals import Journal, Kind, Note, Point, Points

MEMORY = 8 << 30


class FakeSettings(ServiceSettings):
    """What it is told through its environment."""

    trainer_name: str = "fake"
    slots: int = 4
    heartbeat_seconds: float = 0.5
    fake_folder: Path | None = Field(
        default=None, description="checkpoints and journals of all; not set: neither is kept"
    )
    step_seconds: float = Field(default=0.004, description="what a step takes")
    step_charge: float = Field(default=0.25, description="what a step is said to take")
    burst: int = Field(default=5, description="steps between two looks at whether to stop")
    exports: bool = True
    repeats: float = Field(default=0.0, description="part of the facts that are said twice, the second time late")
    delay_seconds: float = Field(
        0.0, description="longest delay of a fact; a repetition comes up to five times as late"
    )
    seed: int = 0


class RestlessReporter(Reporter):
    """Late now and then, and says some things twice."""

    def __init__(self, bus: Bus, settings: FakeSettings, *, trainer: str, clock: Clock) -> None:
        super().__init__(bus, trainer=trainer, clock=clock, new_id=lambda: uuid.uuid4().hex)
        self._settings = settings
        self._random = random.Random(settings.seed)
        self._late: set[asyncio.Task[None]] = set()

    async def publish(self, envelope: Envelope) -> None:
        """See Reporter."""
        delay = self._settings.delay_seconds
        if delay:
            await asyncio.sleep(self._random.uniform(0, delay))
        await super().publish(envelope)
        if self._random.random() < self._settings.repeats:
            task = asyncio.create_task(self._again(envelope, self._random.uniform(0, 5 * delay)))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    def hush(self) -> None:
        """Say nothing again that was said."""
        for task in self._late:
            task.cancel()

    async def _again(self, envelope: Envelope, after: float) -> None:
        await asyncio.sleep(after)
        with contextlib.suppress(Retry):  # nobody waits for a repetition
            await super().publish(envelope)


class Attempt:
    """One attempt at a job; `run` is its whole life, as the real one's."""

    def __init__(self, order: Order, lease: Lease, yard: Yard) -> None:
        self.order = order
        self.lease = lease
        self.voice = Voice(yard.reporter, order, lease, yard.clock)
        self._yard = yard
        self._settings = yard.settings
        folder = yard.settings.fake_folder
        self._points = None if folder is None else Points(folder, order.job_id)
        self._stop: StopReason | None = None
        self._step = 0
        self._seconds = 0.0
        self._durable: Point | None = None

    def stop(self, reason: StopReason) -> None:
        """End in good order."""
        self._stop = domain.stronger(self._stop, reason)

    async def run(self) -> str:
        """Until the end was told, or the lease is lost; returns the outcome. Cancelled, it says nothing more."""
        outcome = "released"
        try:
            async with asyncio.TaskGroup() as group:
                guard = group.create_task(self._guard())
                try:
                    end = await self._work()
                finally:
                    self._yard.vacate(self)
                await self.voice.tell(end)
                outcome = end.outcome
                guard.cancel()
        except* LeaseLost:
            outcome = "fenced"
        finally:
            self.note("over", last=self._step, outcome=outcome)
        return outcome

    def note(self, kind: Kind, **fields: Any) -> None:
        """Write a line into the journal."""
        if self._yard.journal is not None:
            order, trainer = self.order, self._yard.reporter.trainer
            self._yard.journal.write(
                Note(kind=kind, trainer=trainer, job=order.job_id, attempt=order.attempt, **fields)
            )

    async def _guard(self) -> NoReturn:
        while True:
            now = self._yard.clock.monotonic()
            self.lease.require(now)
            await asyncio.sleep(self.lease.left(now))

    async def _work(self) -> TrainingEnded:
        assign = self.order.assign
        await self.voice.tell(TrainingAccepted(trainer=self._yard.reporter.trainer))
        if self._points is not None:
            self._durable = await asyncio.to_thread(self._points.newest)
        resumed = self._durable
        if resumed is not None:
            self._step, self._seconds = resumed.step, resumed.seconds
            if resumed.step > assign.known_step:
                await self._announce(resumed)
        self.note("begun", last=self._step)
        if (asked := self._asked()) is not None:
            return self._end("drained" if asked == "drained" else "stopped", asked)
        await self._train(resumed)
        if self._step >= assign.steps:
            if self._settings.exports:
                await self.voice.tell(ModelExported(step=self._step, prefix=self._prefix("model"), files=[]))
            return self._end("succeeded")
        reason: StopReason = self._asked() or "time_limit"
        await self.voice.tell(TrainingStopping(step=self._step, reason=reason))
        await self._save()
        return self._end("drained" if reason == "drained" else "stopped", reason)

    def _asked(self) -> StopReason | None:
        return self._stop

    async def _train(self, resumed: Point | None) -> None:
        """Steps and checkpoints until all are made, the time is up or a stop is asked for."""
        assign, at = self.order.assign, self._yard.clock.now()
        first = self._step + 1
        while self._step < assign.steps and self._stop is None:
            until_saved = assign.checkpoint_every - self._step % assign.checkpoint_every
            in_time = int((assign.max_stepping_seconds - self._seconds) / self._settings.step_charge)
            count = min(self._settings.burst, until_saved, assign.steps - self._step, in_time)
            if count <= 0:
                break
            begins = self._step + 1 == first
            await self._make(count)
            if begins:
                await self.voice.tell(
                    TrainingStarted(
                        trainer=self._yard.reporter.trainer,
                        step=first,
                        resumed_from=first - 1,
                        resumed_seconds=0.0 if resumed is None else resumed.seconds,
                        at=at,
                        resumed_prefix=None if resumed is None else self._prefix(f"{resumed.step}-a{resumed.attempt}"),
                    )
                )
            if self._step % assign.checkpoint_every == 0 or self._step == assign.steps:
                await self._save()

    async def _make(self, count: int) -> None:
        """Steps in a row; noted are those that were made, however it ends."""
        start, first, made = self._yard.clock.monotonic(), self._step + 1, 0
        try:
            if self._settings.step_seconds:
                await asyncio.sleep(count * self._settings.step_seconds)
            made = count
        finally:
            end = self._yard.clock.monotonic()
            if not made:
                made = min(count, int((end - start) / self._settings.step_seconds))
            if made:
                self._step += made
                self._seconds += made * self._settings.step_charge
                held = self.lease.left(end) > 0
                self.note("steps", first=first, last=self._step, start=start, end=end, held=held)

    async def _save(self) -> None:
        if self._step == (0 if self._durable is None else self._durable.step):
            return
        self.lease.require(self._yard.clock.monotonic())
        point = Point(
            step=self._step, attempt=self.order.attempt, seconds=self._seconds, saved_at=self._yard.clock.now()
        )
        if self._points is not None:
            await asyncio.to_thread(self._points.save, point)
        self._durable = point
        self.note("saved", last=point.step)
        if self._yard.journal is not None:
            await asyncio.to_thread(self._yard.journal.sync)
        await self._announce(point)

    async def _announce(self, point: Point) -> None:
        await self.voice.tell(
            TrainingCheckpointed(
                step=point.step,
                stepping_seconds=point.seconds,
                prefix=self._prefix(f"{point.step}-a{point.attempt}"),
                saved_at=point.saved_at,
                training={"Loss/total_loss": 1 / point.step},
                evaluation={domain.MAP: 1 - 1 / point.step},
                best=True,
            )
        )

    def _end(
        self, outcome: Literal["succeeded", "stopped", "drained"], reason: StopReason | None = None
    ) -> TrainingEnded:
        durable = self._durable
        return TrainingEnded(
            outcome=outcome,
            step=self._step,
            checkpoint_step=0 if durable is None else durable.step,
            stepping_seconds=0.0 if durable is None else durable.seconds,
            reason=None if reason is None else domain.stop_reason(reason),
        )

    def _prefix(self, name: str) -> str:
        return f"jobs/{self.order.job_id}/{name}"


class Yard:
    """The attempts of one trainer and its slots: all that the real trainer's handlers and heartbeat ask of its Holdings."""

    def __init__(self, reporter: RestlessReporter, clock: Clock, settings: FakeSettings) -> None:
        self.reporter = reporter
        self.clock = clock
        self.settings = settings
        folder = settings.fake_folder
        self.journal = None if folder is None else Journal(folder / "journal" / reporter.trainer)
        self.draining = False
        self.changed: Callable[[], None] = lambda: None
        self._held: dict[str, Attempt] = {}
        self._tasks: dict[Attempt, asyncio.Task[str]] = {}
        self._seated: set[Attempt] = set()
        self._over: dict[str, int] = {}

    @property
    def free_slots(self) -> int:
        return self.settings.slots - len(self._seated)

    def held(self) -> list[tuple[HeldJob, Lease]]:
        now = self.clock.monotonic()
        return [
            (HeldJob(job_id=job_id, attempt=attempt.order.attempt), attempt.lease)
            for job_id, attempt in self._held.items()
            if attempt.lease.left(now) > 0
        ]

    def attempt_of(self, job_id: str) -> Attempt | None:
        return self._held.get(job_id)

    def last_over(self, job_id: str) -> int | None:
        return self._over.get(job_id)

    def begin(self, order: Order) -> None:
        attempt = Attempt(order, Lease(order.assign.lease_seconds, self.clock.monotonic()), self)
        self._seated.add(attempt)
        self._held[order.job_id] = attempt
        task = self._tasks[attempt] = asyncio.create_task(attempt.run())
        task.add_done_callback(partial(self._forget, attempt))
        self.changed()

    def stop(self, job_id: str, attempt: int, reason: StopReason) -> None:
        self._find(job_id, attempt).stop(reason)

    async def release(self, job_id: str, attempt: int) -> None:
        await self._drop([self._find(job_id, attempt)])

    def remember_over(self, order: Order) -> None:
        self._over[order.job_id] = max(order.attempt, self._over.get(order.job_id, 0))

    def vacate(self, attempt: Attempt) -> None:
        self._seated.discard(attempt)

    async def drain(self, seconds: float) -> None:
        self.draining = True
        self.changed()
        for attempt in self._held.values():
            attempt.stop("drained")
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        await self._drop(list(self._held.values()))

    def _find(self, job_id: str, attempt: int) -> Attempt:
        found = self._held.get(job_id)
        if found is None or found.order.attempt != attempt:
            raise Stale(f"attempt {attempt} of job {job_id} is not held here")
        return found

    async def _drop(self, attempts: list[Attempt]) -> None:
        tasks = [self._tasks[attempt] for attempt in attempts]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, attempt: Attempt, task: asyncio.Task[str]) -> None:
        self.vacate(attempt)
        del self._held[attempt.order.job_id]
        del self._tasks[attempt]
        self.remember_over(attempt.order)
        self.changed()
        if not task.cancelled():
            task.result()  # what went wrong must be seen


class FakeTrainer:
    """All of it on a bus; `leave` is what an operator's drain begins."""

    def __init__(self, settings: FakeSettings, bus: Bus, clock: Clock, leave: Callable[[], None]) -> None:
        self.id = f"{settings.trainer_name}-{uuid.uuid4().hex[:6]}"
        reporter = RestlessReporter(bus, settings, trainer=self.id, clock=clock)
        self.yard = Yard(reporter, clock, settings)
        slots = [Slot(index, None, 1) for index in range(settings.slots)]
        self.ears = Ears(reporter, bus)
        self.heart = Heart(
            reporter,
            machine=Machine(accelerator="cpu", device="fake", memory_bytes=MEMORY, slots=slots),
            labels={},
            reading=Reading,
            clock=clock,
            started_at=clock.now(),
            seconds=settings.heartbeat_seconds,
            held=self.yard.held,
            ears=self.ears,
            leave_early=leave,
        )
        commands = CommandHandlers(cast(Holdings, self.yard), reporter, self.heart.silent_for, leave)
        self.handlers: Handlers = {**commands.table(), TrainerPinged: self.ears.heard}

    async def drain(self, seconds: float) -> None:
        """Hand everything back and say goodbye."""
        self.heart.draining = True
        await self.yard.drain(seconds)
        await self.heart.leave()
        self.yard.reporter.hush()


async def compose(runtime: Runtime[FakeSettings], _: web.Application) -> None:
    """The process."""
    settings = runtime.settings
    bus = await runtime.bus()
    trainer = FakeTrainer(settings, bus, runtime.clock, runtime.stopping.set)
    runtime.on_drain(partial(trainer.drain, settings.drain_seconds))
    await bus.consume(trainer_queue(trainer.id), trainer.handlers)
    runtime.duty("ping", trainer.ears.round, seconds=settings.heartbeat_seconds)
    beating = runtime.duty("heartbeat", trainer.heart.beat, seconds=settings.heartbeat_seconds)
    trainer.yard.changed = trainer.ears.changed = beating.wake


if __name__ == "__main__":
    sys.exit(run("fake-trainer", FakeSettings, compose))
