"""The local stack as `make up` and `make down` run it, for tests: every process real, none left behind."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from deploy.local.lock import Running, running_stack
from deploy.local.ports import free_ports
from deploy.local.process import tail
from tests.support.fixtures import missing

CHECKOUT = Path(__file__).resolve().parents[2]


class Stack:
    """`python -m deploy.local up` in a child process, with a data folder and a page's port of its own."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.data = folder / "data"
        (self.port,) = free_ports(1)
        self.log = folder / "up.log"
        own = {"TRAINYARD_DATA": str(self.data), "TRAINYARD_PORT": str(self.port), "LOG_FORMAT": "json"}
        mine = {"RABBITMQ_URL", "MONGO_URL", "ARTIFACTS_URL", "TRAINYARD_BASE_PORT", "TRAINYARD_SECRET", "TRAINERS"}
        self.environ = {key: value for key, value in os.environ.items() if key not in mine} | own | environ
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy.local", *arguments]
        return subprocess.run(
            command, cwd=CHECKOUT, env=self.environ, capture_output=True, text=True, timeout=150, check=False
        )

    def up(self) -> Running:
        with open(self.log, "ab") as log:
            command = [sys.executable, "-m", "deploy.local", "up"]
            self.process = subprocess.Popen(command, cwd=CHECKOUT, env=self.environ, stdout=log, stderr=log)
        wait_for(
            lambda: self.process is None or self.process.poll() is not None or self.ready(), seconds=90, stack=self
        )
        found = running_stack(self.data)
        assert found is not None, tail(self.log, 60)
        assert found.ready
        return found

    def ready(self) -> bool:
        found = running_stack(self.data)
        return found is not None and found.ready

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def answers(self, path: str, **headers: str) -> bool:
        """Whether a GET gives 200; while the gateway itself comes back, nothing listens."""
        try:
            return self.get(path, **headers)[0] == http.client.OK
        except ConnectionError:
            return False

    def processes(self) -> list[psutil.Process]:
        """Every process of this stack, known by the data folder in its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("TRAINYARD_DATA") == str(self.data)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:  # it ended meanwhile, or isn't ours to look at
                continue
        return found

    def words_of(self, name: str) -> bool:
        return name in self.log.read_text(errors="replace")

    def clear(self) -> None:
        """Whatever a failed test left."""
        for process in self.processes():
            process.kill()
        if self.process is not None:
            self.process.wait()


def wait_for(condition: Callable[[], bool], *, seconds: float, stack: Stack) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, tail(stack.log, 60)
        time.sleep(0.1)


def require_stack() -> None:
    """Skip on a laptop, fail in CI, where RabbitMQ or nginx isn't installed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if not list(Path("/usr/lib/rabbitmq/lib").glob("*")) or shutil.which("nginx", path=path) is None:
        missing("rabbitmq-server and nginx-light are needed: make setup")
