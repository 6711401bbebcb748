"""`make down` ends the process that runs the system, and says so only once it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local import __main__ as local
from deploy.local.lock import Running
from deploy.local.settings import read_settings

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@contextmanager
def started(script: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def down(pid: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    running = Running(pid=pid, url="http://localhost:1", ready=True)
    monkeypatch.setattr(local, "running_stack", lambda data: running)
    return local.down(read_settings(folder, {"TRAINYARD_DATA": str(folder)}))


def test_a_process_that_ends_slowly_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started("trap 'sleep 0.5; exit 7' TERM; echo ready; while :; do sleep 0.05; done") as process:
        assert down(process.pid, tmp_path, monkeypatch) == 0
        assert process.poll() == 7


def test_a_process_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_DOWN_SECONDS", 0.3)
    with started(STUBBORN) as process:
        assert down(process.pid, tmp_path, monkeypatch) == 0
        assert process.poll() == -signal.SIGKILL


def test_a_process_that_has_just_ended_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started("echo ready") as process:
        process.wait()
        assert down(process.pid, tmp_path, monkeypatch) == 0


def test_nor_is_one_that_ends_while_it_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.pidfd_open
    with started(STUBBORN) as process:

        def ends_then(pid: int) -> int:
            opened = found(pid)
            process.kill()
            process.wait()
            return opened

        monkeypatch.setattr(os, "pidfd_open", ends_then)
        assert down(process.pid, tmp_path, monkeypatch) == 0
