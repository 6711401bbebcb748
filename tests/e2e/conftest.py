"""The local stack as a user starts it, for the end-to-end tests: one for the session, with its own ports and data folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.ports import free_ports
from tests.support.fixtures import missing

ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 150
_DOWN_SECONDS = 150


class Stack:
    """`deploy.local up` in the background, and the command line pointed at it."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.data = folder / "data"
        self.url = f"http://localhost:{self.port}"
        self.log = folder / "stack.log"
        self.environ = {
            **os.environ,
            "TRAINYARD_DATA": str(self.data),
            "TRAINYARD_PORT": str(self.port),
            "TRAINERS": "2",
            "MIN_STEPS": "10",
            "CHECKPOINT_EVERY": "10",
            "LEASE_SECONDS": "8",
            "EXPORT_FORMATS": "float32",
            "ALLOW_DOWNLOAD": "false",
            "PRETRAINED_DIR": os.environ.get("TRAINYARD_PRETRAINED_DIR", str(ROOT.parent / "shared" / "data")),
            # A user's own installation must not be what is tested.
            "TRAINYARD_URL": self.url,
            "TRAINYARD_TOKEN": "",
        }
        for given in ("RABBITMQ_URL", "MONGO_URL", "ARTIFACTS_URL", "TRAINYARD_BASE_PORT"):
            self.environ.pop(given, None)
        self.process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start it and wait until it says that it is ready."""
        if self.log.exists():
            self.log.unlink()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local", "up"], cwd=ROOT, env=self.environ, stdout=log, stderr=log
            )
        waiting = psutil.Process(self.process.pid)
        deadline = time.monotonic() + _READY_SECONDS
        while f"ready at {self.url}" not in self.log.read_text():
            assert waiting.is_running(), self.log.read_text()[-4000:]
            assert waiting.status() != psutil.STATUS_ZOMBIE, self.log.read_text()[-4000:]
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.2)
        self.environ["TRAINYARD_TOKEN"] = json.loads((self.data / "cli.json").read_text())["token"]

    def down(self) -> list[psutil.Process]:
        """End it in order; returns the processes that it left, which must be none."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(_DOWN_SECONDS)
        _, left = psutil.wait_procs(children, timeout=3)
        for process in left:
            process.kill()
        return left

    def trainer(self, name: str) -> psutil.Process:
        """The trainer process of that name (`trainer-1`)."""
        return self.service("trainer", TRAINER_NAME=name)

    def service(self, name: str, **environ: str) -> psutil.Process:
        """The process of a service, not the one that restarts it and not a child of it."""
        assert self.process is not None
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words, found = process.cmdline(), process.environ()
            except psutil.Error:
                continue
            if words[-2:] == ["-m", f"services.{name}"] and environ.items() <= found.items():
                return process
        raise AssertionError(f"no process of {name} {environ}")

    def cli(self, *words: str, expect: int = 0) -> str:
        """Run `trainyard` and return what it printed; asserts the exit status."""
        done = subprocess.run(
            self.command(*words), env=self.environ, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def cli_json(self, *words: str) -> Any:
        """The same with --json, parsed."""
        return json.loads(self.cli(*words, "--json"))

    def command(self, *words: str) -> list[str]:
        """The command line as a program would start it."""
        return [sys.executable, "-m", "services.cli", *words]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Running for the session; afterwards it must leave no process."""
    if shutil.which("rabbitmq-server") is None or shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") is None:
        missing("the local stack needs rabbitmq-server and nginx: `make setup`")
    if not (ROOT / "services" / "web" / "dist" / "index.html").exists():
        missing("the web client is not built: `make setup`")
    started = Stack(tmp_path_factory.mktemp("stack"))
    try:
        started.up()
        yield started
    finally:
        left = started.down()
    assert not left, f"the stack left {left}"
