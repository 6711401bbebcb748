"""The child process as its supervisor sees it: started, heard, stopped, killed, with nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from services.trainer import supervisor
from services.trainer.protocol import FromChild, RunEnded, RunProgressed, RunSpec
from services.trainer.supervisor import Child
from tests.support.scripted_child import SECRETS, Record
from tests.support.trainer import alive

pytestmark = pytest.mark.timeout(60)
MODULE = "tests.support.scripted_child"


def start(folder: Path, *, steps: int = 100_000, **faults: str) -> Child:
    """A child that makes steps until told otherwise; `s5="hang"` is what goes wrong at step 5."""
    work = folder / "run"
    work.mkdir()
    spec = RunSpec(
        job_id="j1",
        attempt=1,
        starting_model="m",
        train_files=[],
        eval_files=[],
        train_frames=1,
        eval_frames=1,
        labels=["ball"],
        batch_size=8,
        steps=steps,
        checkpoint_every=50_000,
        max_stepping_seconds=60,
        seed=1,
        work_dir=str(work),
        export_formats=["float32"],
    )
    (folder / "spec.json").write_bytes(msgspec.json.encode(spec))
    script = {"faults": {step.removeprefix("s"): fault for step, fault in faults.items()}}
    environment = {**os.environ, "CHILD_RECORDS": str(folder), "CHILD_SCRIPT": json.dumps(script)}
    return Child.start(MODULE, folder / "spec.json", environment)


async def heard(child: Child) -> list[FromChild]:
    return [message async for message in child.messages()]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_stop_ends_it_in_good_order_and_leaves_no_descriptor(tmp_path: Path) -> None:
    before = descriptors()
    child = start(tmp_path)
    assert os.getsid(child.pid) == child.pid
    messages: list[FromChild] = []
    async for message in child.messages():
        messages.append(message)
        if len(messages) == 5:
            child.stop("user")
    assert isinstance(messages[-1], RunEnded)
    assert await child.finish(5) == 0
    # All of it may be asked again of one that is gone.
    child.stop("drained")
    child.show_stacks()
    child.kill()
    await asyncio.sleep(0.05)
    assert descriptors() <= before + 1


async def test_a_stop_that_meets_its_end_is_no_error(tmp_path: Path) -> None:
    child = start(tmp_path, s3="exit:3")
    await heard(child)
    child.stop("user")
    assert await child.finish(5) == 3


async def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    child = start(tmp_path, s3="deaf")
    async for message in child.messages():
        if isinstance(message, RunProgressed) and message.step == 3:
            break
    child.stop("user")
    assert await child.finish(0.3) == -signal.SIGKILL
    assert not alive(child.pid)


async def test_one_that_cannot_be_killed_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start(tmp_path, s3="deaf")
    async for message in child.messages():
        if isinstance(message, RunProgressed) and message.step == 3:
            break
    with monkeypatch.context() as patched:
        patched.setattr(child, "kill", lambda: None)
        patched.setattr(supervisor, "DEATH_SECONDS", 0.2)
        assert await child.finish(0.2) == -signal.SIGKILL
        assert alive(child.pid)
    child.kill()
    # Its pipes are closed by now: it may have ended by itself (3) before it was killed.
    assert await child.finish(5) in {3, -signal.SIGKILL}
    assert not alive(child.pid)


async def test_it_shows_where_its_threads_are(tmp_path: Path) -> None:
    child = start(tmp_path, s3="deaf")
    async for message in child.messages():
        if isinstance(message, RunProgressed) and message.step == 3:
            break
    child.show_stacks()
    deadline = time.monotonic() + 10
    while not any("in make_steps" in line for line in child.log_tail()):
        assert time.monotonic() < deadline, child.log_tail()
        await asyncio.sleep(0.01)
    child.kill()
    assert await child.finish(5) == -signal.SIGKILL


async def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    child = start(tmp_path, s3="orphan")
    begun = time.monotonic()
    await heard(child)
    assert await child.finish(5) == 3
    # The orphan held the pipes: without its end there would be none to the messages.
    assert time.monotonic() - begun < 20
    (line,) = (line for line in child.log_tail() if line.startswith("orphan "))
    deadline = time.monotonic() + 5
    while alive(int(line.split()[1])):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_it_is_told_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "s")
    child = start(tmp_path, s1="exit:0")
    await heard(child)
    assert await child.finish(5) == 0
    assert msgspec.json.decode((tmp_path / "j1-a1.json").read_bytes(), type=Record).secrets == []


async def test_one_that_cannot_be_started_leaves_no_descriptor(tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(ValueError, match="null byte"):
        Child.start(MODULE, tmp_path / "spec.json", {"BAD": "a\0b"})
    assert descriptors() == before
