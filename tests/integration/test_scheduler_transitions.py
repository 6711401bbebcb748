"""Every row of the state table, by a real scheduler through its API and the bus: none is there that can't happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from shared.contract.jobs import TRANSITIONS, Guard, JobState, Transition, Trigger
from shared.contract.views import Reason
from shared.runtime.mongo import Store
from tests.support.scheduling import Platform, ScriptedTrainer, open_platform
from tests.support.waiting import until

_SIDE_BY_SIDE = 12


class Row:
    """One row, driven: a job of its own, on trainers that only it may use."""

    def __init__(self, platform: Platform, database: Any, dataset: str, number: int, row: Transition) -> None:
        self.platform, self.database, self.dataset, self.row = platform, database, dataset, row
        self.label = f"row-{number}"
        self.job_id = ""
        self.attempt = 0
        # The job that has the only slot while this one waits.
        self.in_front = ""
        self.trainer: ScriptedTrainer
        self.stack = AsyncExitStack()

    async def drive(self) -> None:
        """Reach the source, pull the trigger, see the target."""
        async with self.stack:
            await self._reach()
            seen = len(self.platform.causes(self.job_id))
            await self._pull()
            found = await self.platform.job(
                self.job_id,
                lambda change: change.trigger == self.row.trigger and change.job.state == self.row.target,
                30,
            )
            assert self.row.trigger in self.platform.causes(self.job_id)[seen:], found
            if self.row.target is JobState.STATE_UNSPECIFIED:
                await self._reconcile()

    # --- to the source -----------------------------------------------------------------------------------------------

    async def _reach(self) -> None:
        source, checkpoint = self.row.source, self.row.guard is Guard.HAS_CHECKPOINT
        if source is JobState.TRY_AGAIN_LATER:
            _, content = await self.platform.submit(self.dataset, requires={"row": self.label})
            self.job_id = content["job"]["id"]
            assert content["job"]["state"] == source
            return
        await self._new_trainer()
        await until(self._known)
        if source is JobState.QUEUED and not checkpoint:
            self.in_front = await self.platform.queued(self.dataset, requires={"row": self.label})
            await self.trainer.holds(self.in_front)
        self.job_id = await self.platform.queued(self.dataset, requires={"row": self.label})
        if source is JobState.QUEUED and not checkpoint:
            return
        await self._assigned()
        if self.row.guard is Guard.ATTEMPTS_USED_UP:
            await self.trainer.silence()
            await self._new_trainer()
            await self._assigned()
        if source is JobState.PREPARING:
            return
        await self.trainer.started(self.job_id, self.attempt)
        await self.platform.in_state(self.job_id, "RUNNING", self.attempt)
        if checkpoint:
            await self.trainer.checkpointed(self.job_id, self.attempt, 20, 10.5)
            await self.platform.job(self.job_id, lambda change: change.job.steps_completed == 20)
        if source is JobState.QUEUED:
            self.trainer.fields["draining"] = True
            await self.trainer.ended(self.job_id, self.attempt, "drained", 20, 10.5)
            await self.platform.job(self.job_id, lambda change: change.trigger == "drained")
        elif source is JobState.STOP_REQUESTED and self.row.trigger is Trigger.LOST:
            # Silent before it is asked: its lease ends before the time for an answer does.
            await self.trainer.silence()
            await self._stop()
        elif source is JobState.STOP_REQUESTED:
            await self._stop()
            await self.trainer.told(self.job_id, self.attempt, "user")
        elif source is JobState.STOPPING:
            await self.trainer.stopping(self.job_id, self.attempt, "time_limit")
            await self.platform.in_state(self.job_id, "STOPPING")

    async def _new_trainer(self) -> None:
        self.trainer = ScriptedTrainer(self.platform, row=self.label)
        await self.trainer.start()
        self.stack.push_async_callback(self.trainer.silence)

    async def _known(self) -> bool:
        answer = await self.platform.api("GET", "/trainers", by=self.platform.caller("admin"))
        return any(one["id"] == self.trainer.id for one in answer["trainers"])

    async def _assigned(self) -> None:
        self.attempt += 1
        await self.trainer.holds(self.job_id, self.attempt)
        await self.platform.in_state(self.job_id, "PREPARING", self.attempt)

    async def _stop(self) -> None:
        await self.platform.api("POST", f"/jobs/{self.job_id}/stop")

    # --- over the row ------------------------------------------------------------------------------------------------

    async def _pull(self) -> None:
        trigger = self.row.trigger
        step = 20 if self.row.guard is Guard.HAS_CHECKPOINT else 0
        trainer, job_id, attempt = getattr(self, "trainer", None), self.job_id, self.attempt
        if trigger is Trigger.ADMIT:
            await self._new_trainer()
            await until(self._known)
            await self.platform.api("POST", f"/jobs/{job_id}/retry")
            return
        assert trainer is not None
        pulls: dict[Trigger, Callable[[], Awaitable[Any]]] = {
            Trigger.ASSIGN: self._ready,
            Trigger.STARTED: lambda: trainer.started(job_id, attempt),
            Trigger.STOP: self._stop,
            Trigger.STOPPING: lambda: trainer.stopping(job_id, attempt, "user"),
            Trigger.TIME_UP: lambda: trainer.stopping(job_id, attempt, "time_limit"),
            Trigger.STOPPED: lambda: trainer.ended(job_id, attempt, "stopped", step, 10.5),
            Trigger.SUCCEEDED: lambda: trainer.ended(job_id, attempt, "succeeded", step, 10.5),
            Trigger.FAILED: lambda: trainer.ended(job_id, attempt, "failed", step, 0.0, Reason(code="c", message="m")),
            Trigger.REQUEUED: self._fail_with_a_remedy,
            Trigger.LOST: trainer.silence,
            Trigger.DRAINED: lambda: trainer.ended(job_id, attempt, "drained", step, 10.5),
            # A stop that was told is left unanswered for a lease.
            Trigger.ENFORCED: lambda: asyncio.sleep(0),
            Trigger.INCONSISTENT: self._corrupt,
        }
        await pulls[trigger]()

    async def _ready(self) -> None:
        await self.trainer.ended(self.in_front, 1, "failed", 0, 0.0, Reason(code="c", message="m"))

    async def _fail_with_a_remedy(self) -> None:
        self.trainer.fields["draining"] = True
        reason = Reason(code="out_of_memory", message="No room for a batch of 8.")
        await self.trainer.ended(self.job_id, self.attempt, "failed", 0, 0.0, reason)

    async def _corrupt(self) -> None:
        """A write that no scheduler makes: the reservation is gone from the ledger."""
        changed = await self.database["jobs"].update_one(
            {"_id": self.job_id}, {"$set": {"ledger": []}, "$inc": {"view.version": 1}}
        )
        assert changed.matched_count == 1

    async def _reconcile(self) -> None:
        target = "FAILED" if self.row.source is JobState.STOPPING else "QUEUED"
        admin = self.platform.caller("admin")
        await self.platform.api("POST", f"/admin/jobs/{self.job_id}/reconcile", {"state": target}, by=admin)
        done = await self.platform.job(self.job_id, lambda change: change.trigger == Trigger.RECONCILED)
        assert done.job.state == target


async def test_every_row_of_the_table_happens(amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path) -> None:
    settings = {"LEASE_SECONDS": "4", "TEAM_MINUTES": "100000", "MAX_TEAM_JOBS": "1000", "MAX_QUEUED": "1000"}
    with closing(Store(mongo_url, mongo_prefix)) as store:
        await _every_row(amqp_url, mongo_url, mongo_prefix, tmp_path, settings, store)


async def _every_row(
    amqp_url: str, mongo_url: str, mongo_prefix: str, folder: Path, settings: dict[str, str], store: Store
) -> None:
    async with open_platform(amqp_url, mongo_url, mongo_prefix, folder, **settings) as platform:
        dataset = await platform.add_dataset()
        room = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def drive(number: int, row: Transition) -> str | None:
            async with room:
                try:
                    await Row(platform, store.database("scheduler"), dataset, number, row).drive()
                except (AssertionError, TimeoutError) as error:
                    return f"{row.source} -{row.trigger}-> {row.target} [{row.guard}]: {error!r}"
            return None

        found = await asyncio.gather(*(drive(number, row) for number, row in enumerate(TRANSITIONS)))
        failures = [failure for failure in found if failure is not None]
        assert not failures, "\n".join(failures)
        # The books of all of them together: what was charged is what checkpoints that lasted had cost.
        answer = await platform.api("GET", "/team")
        assert answer["team"]["balance_seconds"] == sum(line["seconds"] for line in answer["ledger"])
        reserved = sum(one["seconds"] for one in answer["reservations"])
        assert answer["team"]["reserved_seconds"] == reserved


@pytest.mark.parametrize("state", ["PREPARING", "RUNNING"])
async def test_a_repeated_stop_is_refused_with_the_state(
    state: str, amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    async with open_platform(amqp_url, mongo_url, mongo_prefix, tmp_path) as platform:
        row = Transition(JobState(state), Trigger.STOP, JobState.STOP_REQUESTED)
        driven = Row(platform, None, await platform.add_dataset(), 0, row)
        async with driven.stack:
            await driven._reach()
            await driven._pull()
            content = await platform.api("POST", f"/jobs/{driven.job_id}/stop", expect=409)
            assert content["error"]["details"]["state"] == "STOP_REQUESTED"
