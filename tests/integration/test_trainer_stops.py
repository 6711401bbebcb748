"""Stops, pauses and drains, in whichever phase they meet a job: real broker, real store, a child that follows a script."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from services.trainer.protocol import Phase
from shared.contract.events import (
    TrainerDrain,
    TrainerGone,
    TrainingCheckpointed,
    TrainingEnded,
    TrainingStarted,
    TrainingStopping,
)
from tests.support.trainer import Yard, alive, assign, put_checkpoint, running, stop, yard

pytestmark = pytest.mark.timeout(90)
ENDLESS = {"steps": 100_000, "checkpoint_every": 50_000}


async def child(yard: Yard, job: str = "j1") -> int:
    """The pid of a job's child, once there is one."""
    return (await yard.scheduler.until(lambda: yard.trainer.record(job), "child")).pid


async def in_phase(yard: Yard, phase: Phase, job: str) -> None:
    """Until a job whose script makes that phase long is in it."""
    await child(yard, job)
    if phase == "evaluating":
        await yard.scheduler.fact(TrainingStarted, job=job)
        # Its first checkpoint is durable, and is announced with its evaluation only.
        store = f"jobs/{job}/checkpoints"
        await yard.scheduler.until(lambda: yard.artifacts.folders(store) or None, "checkpoint")
    if phase == "exporting":
        await yard.scheduler.fact(TrainingCheckpointed, job=job, count=2)


async def test_a_pause_hands_one_job_back_and_the_trainer_goes_on(tmp_path: Path, amqp_url: str) -> None:
    async with yard(tmp_path, amqp_url, SLOTS="2") as it:
        for job in ("j1", "j2"):
            await it.send(assign(**ENDLESS), job=job)
        pid, other = [await running(it.scheduler, it.trainer, job) for job in ("j1", "j2")]
        await it.send(stop("drain"))
        ended = await it.scheduler.fact(TrainingEnded, job="j1")
        assert it.scheduler.kinds("j1")[2:] == ["TrainingStopping", "TrainingCheckpointed", "TrainingEnded"]
        assert ended.outcome == "drained"
        assert ended.reason is not None
        assert ended.reason.code == "drained"
        assert ended.checkpoint_step == ended.step > 0
        assert (alive(pid), alive(other)) == (False, True)
        beat = await it.scheduler.heartbeat(lambda beat: [job.job_id for job in beat.held] == ["j2"])
        assert not beat.draining
        # It takes the same job again, which goes on from there.
        await it.send(assign(known_step=ended.step, steps=ended.step + 5), attempt=2)
        started = await it.scheduler.fact(TrainingStarted, job="j1", count=2)
        assert started.resumed_from == ended.step
        assert (await it.scheduler.fact(TrainingEnded, job="j1", count=2)).outcome == "succeeded"


async def test_a_trainer_that_is_told_to_drain_hands_all_back_and_ends_in_order(tmp_path: Path, amqp_url: str) -> None:
    async with yard(tmp_path, amqp_url, SLOTS="2") as it:
        for job in ("j1", "j2"):
            await it.send(assign(**ENDLESS), job=job)
        pids = [await running(it.scheduler, it.trainer, job) for job in ("j1", "j2")]
        await it.send(TrainerDrain(), job=None, attempt=None)
        assert await it.trainer.exit() == 0
        await it.scheduler.fact(TrainerGone)
        for job in ("j1", "j2"):
            ended = await it.scheduler.fact(TrainingEnded, job=job)
            assert (ended.outcome, ended.checkpoint_step) == ("drained", ended.step)
            assert it.artifacts.folders(f"jobs/{job}/checkpoints") == [f"{ended.step:08d}-a1"]
        assert not any(alive(pid) for pid in pids)
        assert type(it.scheduler.heard[-1].body).__name__ == "TrainerGone"


async def test_a_trainer_without_jobs_drains_at_once(tmp_path: Path, amqp_url: str) -> None:
    async with yard(tmp_path, amqp_url) as it:
        await it.send(TrainerDrain(), job=None, attempt=None)
        assert await it.trainer.exit() == 0
        await it.scheduler.fact(TrainerGone)


@pytest.mark.parametrize("phase", ["evaluating", "exporting"])
async def test_a_stop_of_a_run_whose_steps_are_made_is_answered_and_changes_nothing(
    tmp_path: Path, amqp_url: str, phase: Phase
) -> None:
    async with yard(tmp_path, amqp_url, {"slow": {phase: 2.0}}) as it:
        await it.send(assign(steps=5))
        await it.scheduler.until(lambda: it.artifacts.folders("jobs/j1/checkpoints") or None, "checkpoint")
        if phase == "exporting":
            await it.scheduler.fact(TrainingCheckpointed)
        await it.send(stop())
        assert await it.scheduler.fact(TrainingStopping) == TrainingStopping(step=5, reason="user")
        assert "TrainingEnded" not in it.scheduler.kinds("j1")
        ended = await it.scheduler.fact(TrainingEnded)
        assert (ended.outcome, ended.step, ended.reason) == ("succeeded", 5, None)
        assert "ModelExported" in it.scheduler.kinds("j1")


async def test_a_stop_while_an_attempt_prepares_to_go_on_is_answered_and_exports_what_is_there(
    tmp_path: Path, amqp_url: str
) -> None:
    async with yard(
        tmp_path,
        amqp_url,
        {"slow": {"preparing": 2.0}},
        lambda artifacts: put_checkpoint(artifacts, tmp_path / "aside", job="j1", step=5, map=0.3),
    ) as it:
        await it.send(assign(known_step=5), attempt=2)
        await it.scheduler.until(lambda: it.trainer.record("j1", 2), "child")
        await it.send(stop(), attempt=2)
        assert await it.scheduler.fact(TrainingStopping) == TrainingStopping(step=5, reason="user")
        ended = await it.scheduler.fact(TrainingEnded)
        assert it.scheduler.kinds("j1") == ["TrainingAccepted", "TrainingStopping", "ModelExported", "TrainingEnded"]
        assert (ended.outcome, ended.step, ended.checkpoint_step) == ("stopped", 5, 5)


async def test_a_drain_waits_for_no_phase(tmp_path: Path, amqp_url: str) -> None:
    """Each job is in a phase that would take an hour."""
    phases: list[Phase] = ["preparing", "evaluating", "exporting"]
    async with yard(tmp_path, amqp_url, SLOTS="3") as it:
        for phase in phases:
            it.trainer.script(phase, {"slow": {phase: 3600.0}})
            await it.send(assign(), job=phase)
        pids = [await child(it, phase) for phase in phases]
        for phase in phases:
            await in_phase(it, phase, phase)
        it.trainer.tell(signal.SIGTERM)
        # Well before its deadline, which is 10 s here.
        assert await it.trainer.exit(8) == 0
        await it.scheduler.fact(TrainerGone)
        reached = {}
        for phase in phases:
            ended = await it.scheduler.fact(TrainingEnded, job=phase)
            reached[phase] = (ended.outcome, ended.step, ended.checkpoint_step)
        assert reached == {
            "preparing": ("drained", 0, 0),
            "evaluating": ("drained", 5, 5),
            "exporting": ("drained", 10, 10),
        }
        assert not any(alive(pid) for pid in pids)
