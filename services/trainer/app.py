"""The trainer's composition root: everything is built and joined here."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import uuid
from pathlib import Path

from aiohttp import web

from services.trainer.attempt import Tools
from services.trainer.data import DatasetCache
from services.trainer.domain import trainer_id
from services.trainer.ears import Ears
from services.trainer.handlers import CommandHandlers
from services.trainer.heartbeat import Heart
from services.trainer.holdings import Holdings
from services.trainer.machine import survey
from services.trainer.meter import METER_SECONDS, meter
from services.trainer.patience import Patience
from services.trainer.reporter import Reporter
from services.trainer.settings import TrainerSettings
from services.trainer.threads import abandonable
from shared.contract.events import TrainerPinged
from shared.contract.topology import trainer_queue
from shared.runtime.artifacts import Artifacts
from shared.runtime.service import Runtime

# How long an upload or a fetch is tried before the attempt fails.
_STORE_PATIENCE_SECONDS = 120.0


class WorkDirInUse(Exception):
    """Another trainer works in WORK_DIR."""


async def compose(runtime: Runtime[TrainerSettings], _: web.Application) -> None:
    """Build the trainer on `runtime`. It has the operational routes only."""
    settings, clock = runtime.settings, runtime.clock
    runtime.stack.callback(os.close, claim(settings.work_dir))
    machine = await abandonable(lambda: survey(slots=settings.slots, environ=os.environ))
    trainer = trainer_id(settings.trainer_name or socket.gethostname(), uuid.uuid4().hex[:6])
    runtime.log.info("trainer.named", trainer=trainer, device=machine.device, slots=len(machine.slots))

    artifacts = Artifacts(settings.artifacts_url)

    async def check_artifacts() -> None:
        await abandonable(artifacts.check)

    runtime.check("artifacts", check_artifacts)
    bus = await runtime.bus()
    reporter = Reporter(bus, trainer=trainer, clock=clock, new_id=lambda: uuid.uuid4().hex)
    patience = Patience(_STORE_PATIENCE_SECONDS, longest_call=settings.phase_seconds)
    tools = Tools(
        settings=settings,
        reporter=reporter,
        clock=clock,
        artifacts=artifacts,
        cache=DatasetCache(artifacts, settings.work_dir.absolute() / "cache", settings.cache_bytes, patience),
        patience=patience,
    )
    holdings = Holdings(tools, machine.slots, runtime.metrics)
    runtime.stack.callback(holdings.kill_all)
    ears = Ears(reporter, bus)
    gauge = meter(machine, os.environ, clock)
    heart = Heart(
        reporter,
        machine=machine,
        labels=settings.trainer_labels,
        reading=gauge.newest,
        clock=clock,
        started_at=clock.now(),
        seconds=settings.heartbeat_seconds,
        held=holdings.held,
        ears=ears,
        leave_early=runtime.stopping.set,
    )

    async def drain() -> None:
        holdings.draining = heart.draining = True
        holdings.changed()
        await holdings.drain(settings.drain_seconds)
        await heart.leave()

    runtime.on_drain(drain)
    runtime.duty("meter", gauge.look, seconds=METER_SECONDS)
    # The queue first: whoever hears a heartbeat may send a command.
    commands = CommandHandlers(holdings, reporter, heart.silent_for, runtime.stopping.set)
    await bus.consume(trainer_queue(trainer), {**commands.table(), TrainerPinged: ears.heard})
    runtime.duty("ping", ears.round, seconds=settings.heartbeat_seconds)
    holdings.changed = ears.changed = runtime.duty("heartbeat", heart.beat, seconds=settings.heartbeat_seconds).wake


def claim(work_dir: Path) -> int:
    """Make WORK_DIR ours alone and remove what a trainer that died left there; returns the lock's file descriptor.

    Raises WorkDirInUse, or OSError where the folder can't be made.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(work_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise WorkDirInUse(f"WORK_DIR {work_dir} is in use by another trainer: give each one its own") from error
    shutil.rmtree(work_dir / "jobs", ignore_errors=True)
    for leftover in (work_dir / "cache").rglob(".aside-*"):
        leftover.unlink()
    return descriptor
