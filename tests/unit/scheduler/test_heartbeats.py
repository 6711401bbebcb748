"""What a trainer is told that says it holds a job: nothing, if it has just told that job's end itself."""

from __future__ import annotations

from typing import Any, cast

from services.scheduler import facts, orders
from services.scheduler.domain import Job
from services.scheduler.handlers import Facts
from services.scheduler.store import JobStore
from services.scheduler.trainers import TrainerStore
from shared.contract.events import HeldJob, JobStop, Message, TrainerHeartbeat
from shared.contract.wire import Envelope
from tests.support.memory_store import MemoryStore, Moment
from tests.unit.scheduler.rig import Clock
from tests.unit.scheduler.samples import NOW, after, ended, lost, preparing, queued, running, with_checkpoint
from tests.unit.scheduler.test_board import a_board, newer

GIBIBYTE = 1 << 30


class Bus:
    """Keeps what trainers are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str | None, Message]] = []

    async def command(self, _: str, envelope: Envelope) -> None:
        self.told.append((envelope.job_id, envelope.body))


async def test_a_job_that_its_trainer_has_ended_is_not_looked_up() -> None:
    memory, looks = MemoryStore(), 0

    async def count(moment: Moment, operation: str, _: str) -> None:
        nonlocal looks
        looks += moment == "before" and operation == "find_one"

    def envelope(body: Message, _: object) -> Envelope:
        return Envelope(id="m", time=NOW, source="t1", team="demo", body=body)

    board, bus, jobs = a_board(), Bus(), JobStore(memory.database(count), envelope)
    board.live = True
    handlers = Facts(
        jobs=jobs,
        trainers=TrainerStore(memory.database()),
        board=board,
        bus=cast(Any, bus),
        clock=cast(Any, Clock()),
        envelope=envelope,
        lease_seconds=25,
        changed=lambda _: None,
        room_changed=lambda: None,
    ).table()

    async def beat(job: Job) -> None:
        heartbeat = TrainerHeartbeat(
            trainer="t1", slots=1, accelerator="cpu", device="none", memory_bytes=GIBIBYTE, draining=False,
            held=[HeldJob(job_id=job.view.id, attempt=1)],
        )  # fmt: skip
        await handlers[TrainerHeartbeat](envelope(heartbeat, None))

    run = with_checkpoint(running(preparing(queued("a"))))
    for job in (run, newer(facts.ended(run, 1, ended("succeeded"), after(90)).job)):
        board.put(job)
        await beat(job)
        assert (looks, bus.told) == (0, [])
    # One that was given up as lost is to be let go, and so is one that nobody knows.
    again = preparing(queued("b"))
    board.put(again)
    board.put(newer(lost(again, after(60)).job))
    gone = orders.stop(queued("c"), after(50)).job
    for number, job in enumerate((again, gone), 1):
        await beat(job)
        assert looks == number
    assert bus.told == [(job_id, JobStop(reason="release")) for job_id in "bc"]
