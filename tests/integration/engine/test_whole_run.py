"""Whole runs in the real child process over its pipes: messages, files, stop, resume, and who dies with whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from services.trainer.child import EXIT_FAILED, EXIT_ORPHANED
from services.trainer.engine.metrics import COCO_NAMES
from services.trainer.engine.schedule import learning_rate
from services.trainer.protocol import (
    STACKS,
    CheckpointEvaluated,
    CheckpointSaved,
    FromChild,
    ModelExported,
    Notice,
    RunEnded,
    RunFailed,
    RunProgressed,
    RunSpec,
    RunStarted,
    RunStopping,
)
from tests.support.child import Child

pytestmark = pytest.mark.timeout(300)

LOSSES = {f"Loss/{kind}_loss" for kind in ("classification", "localization", "regularization", "total")}

BY_LABEL = {
    f"{name}/{label}"
    for name in ("DetectionBoxes_PerformanceByCategory/mAP", "DetectionBoxes_Precision mAP@.50IOU ByCategory")
    for label in ("ball", "cube")
}


class TestWholeRun:
    def test_messages_come_in_order(self, first_run: Child) -> None:
        expected = ["notice", "started", "saved", "pictures", "evaluated", "saved", "evaluated", "exported", "ended"]
        assert first_run.kinds() == expected
        assert [notice.code for notice in first_run.all(Notice)] == ["random_backbone"]
        (started,) = first_run.all(RunStarted)
        assert (started.step, started.resumed_from) == (1, 0)
        # The graph was traced.
        assert started.seconds > 1 / first_run.all(CheckpointSaved)[0].training["steps_per_sec"]
        end = first_run.all(RunEnded)[0]
        assert (end.outcome, end.step, end.reason) == ("succeeded", 12, None)

    def test_phases_are_told_as_they_begin(self, first_run: Child) -> None:
        round_of = ["stepping", "saving", "evaluating"]
        assert first_run.phases() == [*round_of, *round_of, "exporting"]
        tags = [str(type(m).__struct_config__.tag) for m in first_run.messages if not isinstance(m, RunProgressed)]
        for tag, before in (
            ("saved", {"phase"}),
            ("pictures", {"phase"}),
            ("evaluated", {"pictures", "phase"}),
            ("exported", {"phase"}),
            ("started", {"notice"}),
        ):
            assert {tags[index - 1] for index, each in enumerate(tags) if each == tag} == before

    def test_checkpoints_carry_the_known_metrics(self, first_run: Child) -> None:
        saved, evaluated = first_run.all(CheckpointSaved), first_run.all(CheckpointEvaluated)
        assert [message.step for message in saved] == [message.step for message in evaluated] == [6, 12]
        for message in saved:
            assert set(message.training) == LOSSES | {"learning_rate", "steps_per_sec"}
            assert message.training["learning_rate"] == learning_rate(message.step - 1, steps=12, batch_size=4)
            assert message.training["Loss/total_loss"] > 0
        for found in evaluated:
            assert set(found.evaluation) == LOSSES | set(COCO_NAMES.values()) | BY_LABEL
            assert found.evaluation["DetectionBoxes_Precision/mAP (small)"] == -1
            assert 0 <= found.evaluation["DetectionBoxes_Precision/mAP"] <= 1

    def test_only_stepping_is_charged(self, first_run: Child) -> None:
        saved = first_run.all(CheckpointSaved)
        charged = [message.stepping_seconds for message in saved]
        assert 0 < charged[0] < charged[1] == first_run.all(RunEnded)[0].stepping_seconds
        # Five steps of the first six were timed: the first one traces the graph.
        assert charged[0] == pytest.approx(5 / saved[0].training["steps_per_sec"])
        assert charged[1] - charged[0] == pytest.approx(6 / saved[1].training["steps_per_sec"])

    def test_progress_comes_at_most_once_a_second_and_at_each_checkpoint(self, first_run: Child) -> None:
        progress = [
            (message.step, moment)
            for message, moment in zip(first_run.messages, first_run.times, strict=True)
            if isinstance(message, RunProgressed)
        ]
        assert {1, 6, 12} <= {step for step, _ in progress}
        for (_, earlier), (step, later) in pairwise(progress):
            assert step in (6, 12) or later - earlier > 0.9

    def test_a_checkpoint_is_a_folder_of_closed_files(self, first_run: Child) -> None:
        for message in first_run.all(CheckpointSaved):
            names = sorted(path.name for path in Path(message.path).iterdir())
            assert names == ["ckpt.data-00000-of-00001", "ckpt.index"]

    def test_the_exported_file_was_compared(self, first_run: Child) -> None:
        exported = first_run.all(ModelExported)[0]
        assert exported.files == {"float16": "float16.tflite"}
        folder = Path(exported.path)
        assert sorted(path.name for path in folder.iterdir()) == ["float16.tflite", "labels.txt"]
        assert (folder / "labels.txt").read_text() == "ball\ncube\n"
        checks = exported.checks["float16"]
        assert checks["pictures"] == 6
        assert checks["boxes"] > 0
        assert checks["lost"] <= 1
        assert checks["lowest_iou"] > 0.9
        assert checks["largest_score_difference"] < 0.05

    def test_the_log_is_quiet(self, first_run: Child) -> None:
        assert len(first_run.log.read_text().splitlines()) < 25


def test_a_resumed_run_goes_on_and_stops_on_command(first_run: Child, make_spec: Callable[..., RunSpec]) -> None:
    """From the tiny run's first checkpoint, as if its evaluation had never been announced."""
    first = first_run.all(CheckpointSaved)[0]
    spec = make_spec(
        resume_dir=first.path,
        resume_step=6,
        resume_seconds=first.stepping_seconds,
        resume_evaluated=False,
        steps=60,
        checkpoint_every=20,
        export_formats=[],
    )

    def stop_at_ten(child: Child, message: FromChild) -> None:
        if isinstance(message, RunProgressed) and message.step >= 9:
            child.stop("user")

    child = Child(spec, stop_at_ten)
    assert child.wait(200) == 0, child.tail()
    assert child.kinds() == ["pictures", "evaluated", "started", "stopping", "saved", "evaluated", "ended"]
    assert [(started.step, started.resumed_from) for started in child.all(RunStarted)] == [(7, 6)]
    assert child.phases() == ["evaluating", "preparing", "stepping", "saving", "evaluating"]

    reached = child.all(RunStopping)[0].step
    assert 9 <= reached < 20
    assert child.all(RunStopping) == [RunStopping(step=reached, reason="user")]
    saved, end = child.all(CheckpointSaved)[0], child.all(RunEnded)[0]
    assert (saved.step, child.all(CheckpointEvaluated)[1].step) == (reached, reached)
    assert (end.outcome, end.step, end.reason) == ("stopped", reached, "user")
    assert end.stepping_seconds == saved.stepping_seconds > first.stepping_seconds

    # The same weights give the same evaluation, whichever process makes it.
    again, before = child.all(CheckpointEvaluated)[0], first_run.all(CheckpointEvaluated)[0]
    assert again.step == 6
    assert again.evaluation == pytest.approx(before.evaluation, abs=1e-3)
    assert saved.training["learning_rate"] == learning_rate(reached - 1, steps=60, batch_size=4)


def test_a_stop_before_any_step_leaves_nothing_and_signals_are_the_parents(make_spec: Callable[..., RunSpec]) -> None:
    child = Child(make_spec())
    wait_until_detached(child.process.pid)
    child.process.send_signal(signal.SIGTERM)
    child.process.send_signal(signal.SIGINT)
    child.stop("user")
    assert child.wait(100) == 0, child.tail()
    assert child.messages == [RunEnded(outcome="stopped", step=0, stepping_seconds=0.0, reason="user")]
    assert not (Path(child.log.parent) / "checkpoints").exists()


def test_it_shows_where_its_threads_are(make_spec: Callable[..., RunSpec]) -> None:
    child = Child(make_spec())
    wait_until_detached(child.process.pid)
    child.process.send_signal(STACKS)
    deadline = time.monotonic() + 20
    while "in listen" not in child.log.read_text():
        assert time.monotonic() < deadline, child.tail()
        time.sleep(0.02)
    assert "most recent call first" in child.log.read_text()
    assert child.process.poll() is None
    child.hang_up()
    assert child.wait(20) == EXIT_ORPHANED


def test_a_failure_is_told_and_its_traceback_logged(make_spec: Callable[..., RunSpec]) -> None:
    child = Child(make_spec(starting_model="yolo"))
    assert child.wait(100) == EXIT_FAILED
    failed = child.all(RunFailed)[0]
    assert child.messages == [failed]
    assert (failed.code, failed.step) == ("internal_error", 0)
    assert "'yolo'" in failed.message
    assert "Traceback" in child.log.read_text()


@pytest.fixture
def no_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that can't import TensorFlow, so that it fails within a second."""
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("no_tensorflow")
def test_without_tensorflow_the_failure_is_still_told(make_spec: Callable[..., RunSpec]) -> None:
    child = Child(make_spec())
    assert child.wait(100) == EXIT_FAILED
    assert [message.code for message in child.all(RunFailed)] == ["internal_error"]
    assert "not installed" in child.log.read_text()


@pytest.mark.usefixtures("no_tensorflow")
def test_the_child_ends_when_nobody_reads(make_spec: Callable[..., RunSpec]) -> None:
    assert Child(make_spec(), deaf=True).wait(20) == EXIT_ORPHANED


def test_the_child_ends_when_its_parent_hangs_up(make_spec: Callable[..., RunSpec]) -> None:
    child = Child(make_spec())
    child.hang_up()
    assert child.wait(20) == EXIT_ORPHANED


def test_the_child_ends_at_a_message_that_it_cant_read(make_spec: Callable[..., RunSpec]) -> None:
    child = Child(make_spec())
    child.write(b'{"type":"dance"}\n')
    assert child.wait(20) == EXIT_ORPHANED
    assert "dance" in child.log.read_text()


PARENT = """
import os, subprocess, sys
child_in, _ = os.pipe()
_, child_out = os.pipe()
os.set_inheritable(child_in, True), os.set_inheritable(child_out, True)
child = subprocess.Popen(
    [sys.executable, "-m", "services.trainer.child", sys.argv[1], str(child_in), str(child_out)], close_fds=False
)
print(child.pid, flush=True)
child.wait()
"""


def test_the_kernel_ends_the_child_with_its_parent(make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    """The other end of its pipe stays open (in itself), so that only the kernel can tell it."""
    spec_file = tmp_path / "spec.json"
    spec_file.write_bytes(msgspec.json.encode(make_spec()))
    # The child inherits every descriptor: the writing end of its own input never closes.
    script = PARENT.replace("child_in, _ = os.pipe()", "child_in, keep = os.pipe(); os.set_inheritable(keep, True)")
    with subprocess.Popen([sys.executable, "-c", script, str(spec_file)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until_detached(pid)
        parent.kill()
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """False for a process that has ended, though its parent may not have asked for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until_detached(pid: int) -> None:
    """Until the child ignores SIGTERM and leads a session: the last thing that it does before it listens."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
        if ignored & 1 << (signal.SIGTERM - 1) and os.getsid(pid) == pid:
            time.sleep(0.2)
            return
        time.sleep(0.02)
    raise AssertionError("the child never detached")
