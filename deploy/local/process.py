"""Starts and ends the processes of the local stack; owns the rule that no child outlives the process that started it.

Knows nothing of brokers, stores or services: commands, environments and deadlines are given.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# util-linux's setpriv sets PR_SET_PDEATHSIG and execs: the kernel ends the child with its parent, even after `kill -9`
# of the parent. SIGKILL on purpose: nobody is left to wait for a slower end, and everything here is safe to kill.
# The signal follows the *thread* that started the child, so that thread must live as long as the child should.
TETHER = ("setpriv", "--pdeathsig", "KILL", "--")


class NotReady(Exception):
    """A child ended before it was ready, or was not ready in time; the text holds the last lines of its log."""


def start(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, tethered to this thread, its output appended to `log`."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            [*TETHER, *command],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], *, seconds: float, log: Path) -> None:
    """Block until `ready()`; raise NotReady when the process ends first or `seconds` pass."""
    deadline = time.monotonic() + seconds
    while not ready():
        code = process.poll()
        if code is not None:
            raise NotReady(f"{process.args!r} ended with code {code} before it was ready:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise NotReady(f"{process.args!r} was not ready after {seconds:g} s:\n{tail(log)}")
        time.sleep(0.05)


def end(process: subprocess.Popen[bytes], *, grace: float) -> None:
    """SIGTERM, again at half time (one within milliseconds of a start can be lost), SIGKILL after `grace` seconds.

    Whatever is left of the child's session is killed with it.
    """
    for _ in range(2):
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace / 2)
            break
    kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the child and to all that is left of its session; returns when the child is gone."""
    kill_session(process.pid)
    process.wait()


def kill_session(pid: int) -> None:
    """SIGKILL to the process group that `pid` leads (as every child started here does); nothing left is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log file; says so when there is none."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return f"(no log at {log})"
    return "\n".join(text.splitlines()[-lines:]) or f"({log} is empty)"
