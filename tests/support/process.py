"""Services as processes of their own that begin with everything imported.

A start costs two seconds of imports, and hundreds of them were a third of the suite's work. So each is forked, by
multiprocessing's fork server, from a process that has imported what services import; what runs then is `python -m <module>`,
with an environment, a log, signals and an exit status of its own. That the command itself works is seen where the whole
stack runs.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path

_SERVICES = ("dataset", "scheduler", "status", "trainer")
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([f"services.{name}.{module}" for name in _SERVICES for module in ("app", "settings")])


class ServiceProcess:
    """`python -m module`; what it prints is added to `log`. Its methods are those of subprocess.Popen, for any thread."""

    def __init__(self, module: str, environ: Mapping[str, str], log: Path) -> None:
        self.args = f"python -m {module}"
        self._process = _server.Process(target=_run, args=(module, dict(environ), log.absolute()), daemon=True)
        self._process.start()
        self._lock = threading.Lock()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """The exit status, that of a signal negative; None while it runs."""
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended. Raises subprocess.TimeoutExpired."""
        wait([self._process.sentinel], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """`kill -9`."""
        self.send_signal(signal.SIGKILL)


def _run(module: str, environ: dict[str, str], log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
