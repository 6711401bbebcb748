"""The life of one attempt at a job: announce, prepare, run the child, publish, say how it ended.

Owns the order of these and how each failure ends; the work of each is in preparation, supervisor, conversation, publisher and
reporter.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec
from msgspec import structs

from services.trainer import domain, machine
from services.trainer.checkpoints import Checkpoints
from services.trainer.conversation import Conversation, cancelled
from services.trainer.data import DatasetCache
from services.trainer.domain import Lease, LeaseLost, Order
from services.trainer.gallery import Gallery
from services.trainer.machine import Slot
from services.trainer.patience import Patience, StoreUnavailable
from services.trainer.preparation import BadDataset, BadParent, fetch_shards, find_resume, make_spec
from services.trainer.protocol import RunEnded, RunFailed, RunSpec, StopReason
from services.trainer.publisher import Publisher
from services.trainer.reporter import Reporter, Voice
from services.trainer.settings import TrainerSettings
from services.trainer.supervisor import BadChild, Child
from services.trainer.threads import abandonable
from services.trainer.watchdog import Watchdog
from shared.contract.events import TrainingAccepted, TrainingEnded
from shared.contract.views import Reason
from shared.runtime import log
from shared.runtime.artifacts import Artifacts
from shared.runtime.clock import Clock

# A child that has said its last word, or closed its pipe, has this long to exit.
_EXIT_SECONDS = 15.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every attempt of this trainer works with."""

    settings: TrainerSettings
    reporter: Reporter
    clock: Clock
    artifacts: Artifacts
    cache: DatasetCache
    patience: Patience


class Attempt:
    """One attempt. `run` is its whole life; `on_idle` is called once its child is gone, before its end is told."""

    def __init__(
        self, order: Order, slot: Slot, lease: Lease, tools: Tools, on_idle: Callable[[Attempt], None]
    ) -> None:
        self.order = order
        self.slot = slot
        self.lease = lease
        self.voice = Voice(tools.reporter, order, lease, tools.clock)
        self._tools = tools
        self._on_idle = on_idle
        self._checkpoints = Checkpoints(tools.artifacts, order.job_id, order.attempt)
        self._gallery = Gallery(tools.artifacts, order.job_id, order.attempt)
        self._publisher = Publisher(
            order,
            trainer=tools.reporter.trainer,
            voice=self.voice,
            lease=lease,
            clock=tools.clock,
            artifacts=tools.artifacts,
            checkpoints=self._checkpoints,
            gallery=self._gallery,
            patience=tools.patience,
        )
        self._folder = tools.settings.work_dir.absolute() / "jobs" / f"{order.job_id}-a{order.attempt}"
        self._held = AsyncExitStack()
        self._stop: StopReason | None = None
        self._stop_asked = asyncio.Event()
        self._child: Child | None = None
        self._conversation: Conversation | None = None
        self._cut = False
        # Until the store has told, what the scheduler has heard of earlier attempts is all that is known.
        self._reached = self._durable = order.assign.known_step
        self._looked = False
        self._log = log.get("attempt")

    def stop(self, reason: StopReason) -> None:
        """End in good order: with a final checkpoint where steps were made."""
        self._stop = domain.stronger(self._stop, reason)
        self._stop_asked.set()
        if self._conversation is not None:
            self._conversation.stop(self._stop)

    def cut(self) -> None:
        """The time for a good end is over: kill the child; what is durable by now is what the next attempt begins from."""
        self._cut = True
        self.kill()

    async def hand_back(self) -> None:
        """Say that it was drained, after it was cancelled because even that took too long. What counts is what was announced:
        the next attempt looks for what was saved since. Raises LeaseLost, and Stale where its end was told."""
        told = self._publisher.announced
        end = self._end("drained", reason=domain.stop_reason("drained"))
        if told is None:
            known = self.order.assign.known_step
            end = structs.replace(end, checkpoint_step=known, stepping_seconds=0.0)
        else:
            end = structs.replace(end, checkpoint_step=told.step, stepping_seconds=told.stepping_seconds)
        await self.voice.tell(structs.replace(end, checkpoint_prefix=None))

    def kill(self) -> None:
        """Kill the child, if there is one."""
        if self._child is not None:
            self._child.kill()

    async def run(self) -> str:
        """Until the end was told, or the lease is lost; returns the outcome (`fenced` for a lost lease). Cancelled, it kills
        the child and says nothing."""
        outcome = "fenced"
        try:
            async with asyncio.TaskGroup() as group:
                guard = group.create_task(self._guard())
                try:
                    end = await self._work()
                finally:
                    await self._clear()
                    self._on_idle(self)
                await self.voice.tell(end)
                outcome = end.outcome
                guard.cancel()
        except* LeaseLost as lost:
            self._log.warning("attempt.fenced", why=str(lost.exceptions[0]))
        return outcome

    async def _guard(self) -> NoReturn:
        """Raises LeaseLost the moment that the lease ends."""
        while True:
            now = self._tools.clock.monotonic()
            self.lease.require(now)
            await asyncio.sleep(self.lease.left(now))

    async def _work(self) -> TrainingEnded:
        """Everything up to the fact that it ended."""
        try:
            await self.voice.tell(TrainingAccepted(trainer=self._tools.reporter.trainer))
            return await self._train()
        except LeaseLost:
            raise
        except BadDataset as error:
            reason = domain.failure("bad_dataset", str(error))
        except BadParent as error:
            reason = domain.failure("bad_checkpoint", str(error))
        except StoreUnavailable as error:
            reason = domain.failure("artifacts_unavailable", f"The artifact store can't be used: {error}.")
        except BadChild as error:
            reason = domain.failure("child_crashed", f"The training process broke its protocol: {error}.")
        except Exception:  # noqa: BLE001 - a fault of ours must end the attempt, not hold its slot
            self._log.exception("attempt.failed")
            reason = domain.failure("internal_error", "The trainer made a mistake; it has been logged.")
        tail = self._child.log_tail() if self._child is not None else []
        await self._publisher.close()
        return self._end("failed", reason=reason, log_tail=tail)

    async def _train(self) -> TrainingEnded:
        spec = await self._prepare()
        if spec is None:
            assert self._stop is not None
            return self._end("drained" if self._stop == "drained" else "stopped", reason=domain.stop_reason(self._stop))
        spec_file = await abandonable(lambda: _write_spec(spec, self._folder))
        kills = machine.memory_kills()
        settings = self._tools.settings
        child = self._child = Child.start(
            settings.child_module,
            spec_file,
            {**os.environ, **self.slot.environment},
        )
        self._log.info("child.started", pid=child.pid, resumed_from=spec.resume_step, slot=self.slot.index)
        conversation = self._conversation = Conversation(
            child,
            step=spec.resume_step,
            publisher=self._publisher,
            voice=self.voice,
            watchdog=Watchdog(
                stall_seconds=settings.stall_seconds, phase_seconds=settings.phase_seconds, step=spec.resume_step
            ),
            clock=self._tools.clock,
        )
        if self._stop is not None:
            conversation.stop(self._stop)
        last = await conversation.follow()
        status = await child.finish(_EXIT_SECONDS)
        await self._publisher.close()
        match last:
            case RunEnded():
                return self._end(last.outcome, reason=None if last.reason is None else domain.stop_reason(last.reason))
            case RunFailed():
                return self._end("failed", reason=domain.failure(last.code, last.message), log_tail=child.log_tail())
            case None if self._cut:
                return self._end("drained", reason=domain.stop_reason("drained"))
            case None if (stall := conversation.stall) is not None:
                reason = domain.stalled(stall.phase, seconds=stall.seconds, step=stall.step)
                return self._end("failed", reason=reason, log_tail=child.log_tail())
            case None:
                reason = domain.crash(status, memory_kills=machine.memory_kills() - kills)
                self._log.error("child.crashed", status=status, code=reason.code)
                return self._end("failed", reason=reason, log_tail=child.log_tail())

    async def _prepare(self) -> RunSpec | None:
        """Find out where to go on and fetch what is needed; None if a stop is asked for before that is done."""
        resume = await self._unless_stopped(
            find_resume(self._checkpoints, self._gallery, self._folder / "resume", self._tools.patience)
        )
        if resume is None:
            return None
        self._reached = self._durable = 0 if resume.checkpoint is None else resume.checkpoint.step
        self._looked = True
        # To its end, stop or no stop: the attempt's own end must not name a checkpoint that nobody has heard of.
        await self._publisher.resume(resume)
        shards = await self._unless_stopped(fetch_shards(self.order, self._tools.cache, self._held, resume))
        if shards is None:
            return None
        return make_spec(
            self.order, shards, resume, slot=self.slot, work_dir=self._folder / "run", settings=self._tools.settings
        )

    async def _unless_stopped(self, work: Awaitable[T]) -> T | None:
        """What `work` gives, None if a stop is asked for before it is done."""
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop_asked.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() and not stopping.done() else None
        finally:
            await cancelled([working, stopping])

    async def _clear(self) -> None:
        """No process, no files, no claim on the cache is left."""
        if self._child is not None:
            self._child.kill()
            await self._child.finish(_EXIT_SECONDS)
        await self._held.aclose()
        await abandonable(lambda: shutil.rmtree(self._folder, ignore_errors=True))

    def _end(self, outcome: str, *, reason: Reason | None = None, log_tail: Sequence[str] = ()) -> TrainingEnded:
        durable = self._publisher.durable
        checkpoint_step = self._durable if durable is None else durable.step
        prefix = self._checkpoints.prefix(durable.name) if durable is not None else "" if self._looked else None
        reached = self._reached if self._conversation is None else self._conversation.step
        return TrainingEnded(
            outcome=outcome,  # type: ignore[arg-type]
            step=max(reached, checkpoint_step),
            checkpoint_step=checkpoint_step,
            stepping_seconds=0.0 if durable is None else durable.stepping_seconds,
            reason=reason,
            log_tail=list(log_tail),
            checkpoint_prefix=prefix,
        )


def _write_spec(spec: RunSpec, folder: Path) -> Path:
    Path(spec.work_dir).mkdir(parents=True, exist_ok=True)
    path = folder / "spec.json"
    path.write_bytes(msgspec.json.encode(spec))
    return path
