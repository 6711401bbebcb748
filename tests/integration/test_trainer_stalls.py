"""Children that make no headway any more are found and ended, frozen ones too, and what a job starts from arrives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.trainer.protocol import Phase
from shared.contract.events import TrainingCheckpointed, TrainingEnded, TrainingStarted
from tests.support.trainer import alive, assign, put_checkpoint, yard

pytestmark = pytest.mark.timeout(90)
# The script's steps take a tenth of a second by its own word: 20 times that is 2 s, the longer of the two limits.
STALL_SECONDS = "1"


async def test_a_child_that_makes_no_step_is_ended(tmp_path: Path, amqp_url: str) -> None:
    """It hangs but would hear a stop, hangs and is deaf, or is frozen with all its threads."""
    faults = {"hangs": "hang", "deaf": "deaf", "frozen": "SIGSTOP"}
    async with yard(tmp_path, amqp_url, SLOTS="3", STALL_SECONDS=STALL_SECONDS) as it:
        for job, fault in faults.items():
            it.trainer.script(job, {"faults": {"7": fault}})
            await it.send(assign(), job=job)
        for job in faults:
            ended = await it.scheduler.fact(TrainingEnded, job=job)
            assert ended.reason is not None
            assert (ended.outcome, ended.reason.code) == ("failed", "stalled")
            sentence = r"The training process made no step for [23] s after step 7 and was ended\."
            assert re.fullmatch(sentence, ended.reason.message)
            # Only what is durable counts, whatever was reached.
            assert (ended.step, ended.checkpoint_step, ended.stepping_seconds) == (7, 5, 0.5)
            assert f"fault {faults[job]!r} at step 7" in ended.log_tail
            assert it.artifacts.folders(f"jobs/{job}/checkpoints") == ["00000005-a1"]
            record = it.trainer.record(job)
            assert record is not None
            assert not alive(record.pid)
            # Where it hung; one that is frozen can't say.
            assert any("in fault" in line for line in ended.log_tail) is (job != "frozen")
        # The trainer is well.
        await it.send(assign(), job="well")
        assert (await it.scheduler.fact(TrainingEnded, job="well")).outcome == "succeeded"


async def test_phases_have_a_limit_of_their_own(tmp_path: Path, amqp_url: str) -> None:
    words: dict[Phase, str] = {
        "preparing": "was preparing for [56] s without headway, at step 0,",
        "evaluating": "was evaluating a checkpoint for [56] s without headway, at step 5,",
        "exporting": "was exporting the model for [56] s without headway, at step 10,",
    }
    async with yard(tmp_path, amqp_url, SLOTS="3", PHASE_SECONDS="5", STALL_SECONDS=STALL_SECONDS) as it:
        for phase in words:
            it.trainer.script(phase, {"slow": {phase: 3600.0}})
            await it.send(assign(), job=phase)
        for phase, sentence in words.items():
            ended = await it.scheduler.fact(TrainingEnded, job=phase)
            assert ended.reason is not None
            assert (ended.outcome, ended.reason.code) == ("failed", "stalled")
            assert re.fullmatch(rf"The training process {sentence} and was ended\.", ended.reason.message)
        # A checkpoint that waited for its evaluation is announced without it.
        told = await it.scheduler.fact(TrainingCheckpointed, job="evaluating")
        assert (told.step, told.evaluation) == (5, {})


async def test_a_slow_phase_within_its_limit_is_no_stall(tmp_path: Path, amqp_url: str) -> None:
    """Each takes longer than steps may."""
    script = {"slow_start": 2.5, "slow": {"evaluating": 2.5, "exporting": 2.5}}
    async with yard(tmp_path, amqp_url, script, STALL_SECONDS=STALL_SECONDS) as it:
        await it.send(assign(steps=5))
        assert (await it.scheduler.fact(TrainingEnded)).outcome == "succeeded"


async def test_a_job_starts_from_its_parents_checkpoint_at_a_scaled_rate(tmp_path: Path, amqp_url: str) -> None:
    async with yard(tmp_path, amqp_url) as it:
        prefix = put_checkpoint(it.artifacts, tmp_path / "aside", job="parent", step=200)
        await it.send(assign(init_prefix=prefix, learning_rate_scale=0.1, batch_size=4))
        started = await it.scheduler.fact(TrainingStarted)
        assert (started.step, started.resumed_from, started.resumed_prefix) == (1, 0, None)
        assert (await it.scheduler.fact(TrainingEnded)).outcome == "succeeded"
        record = it.trainer.record("j1")
        assert record is not None
        assert record.init_files == ["ckpt.index"]
        assert (record.spec.resume_dir, record.spec.learning_rate_scale, record.spec.batch_size) == (None, 0.1, 4)
        # The parent's own checkpoint is left alone.
        assert it.artifacts.folders("jobs/parent/checkpoints") == ["00000200-a1"]


async def test_a_job_that_goes_on_needs_its_parent_no_more(tmp_path: Path, amqp_url: str) -> None:
    async with yard(tmp_path, amqp_url) as it:
        put_checkpoint(it.artifacts, tmp_path / "aside", job="j1", step=5, map=0.3)
        await it.send(assign(known_step=5, init_prefix="jobs/deleted/checkpoints/00000200-a1"), attempt=2)
        assert (await it.scheduler.fact(TrainingEnded)).outcome == "succeeded"
        record = it.trainer.record("j1", 2)
        assert record is not None
        assert (record.init_files, record.spec.init_dir) == ([], None)
        assert record.resume_files == ["ckpt.index"]
