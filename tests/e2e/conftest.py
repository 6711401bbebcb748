"""The local stack for the end-to-end tests: one for the session, with two trainers and the command line pointed at it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.fixtures import missing
from tests.support.stack import CHECKOUT, Stack, require_stack

_DOWN_SECONDS = 150
# Small runs: a checkpoint every ten steps, one file, a short lease. A folder with pretrained weights is used if it is there.
_SETTINGS = {
    "TRAINERS": "2",
    "MIN_STEPS": "10",
    "CHECKPOINT_EVERY": "10",
    "LEASE_SECONDS": "8",
    "EXPORT_FORMATS": "float32",
    "ALLOW_DOWNLOAD": "false",
}


class UserStack(Stack):
    """The stack with the command line pointed at it."""

    def __init__(self, folder: Path) -> None:
        pretrained = os.environ.get("TRAINYARD_PRETRAINED_DIR", str(CHECKOUT.parent / "shared" / "data"))
        super().__init__(folder, **_SETTINGS, PRETRAINED_DIR=pretrained)
        self.url = f"http://localhost:{self.port}"

    def start(self) -> None:
        """Start it, wait until it is ready, and take the token that it made."""
        self.up()
        token = json.loads((self.data / "cli.json").read_text())["token"]
        self.environ |= {"TRAINYARD_URL": self.url, "TRAINYARD_TOKEN": token}

    def down(self) -> list[psutil.Process]:
        """End it in order; returns the processes that it left, which must be none."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(_DOWN_SECONDS)
        return self.processes()

    def service(self, name: str, **environ: str) -> psutil.Process:
        """The process of a service, not a child of it; `environ` tells apart trainers (TRAINER_NAME)."""
        for process in self.processes():
            if process.cmdline()[-2:] == ["-m", f"services.{name}"] and environ.items() <= process.environ().items():
                return process
        raise AssertionError(f"no process of {name} {environ}")

    def cli(self, *words: str, expect: int = 0) -> str:
        """Run `trainyard` and return what it printed; asserts the exit status."""
        done = subprocess.run(
            self.cli_command(*words), env=self.environ, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def cli_json(self, *words: str) -> Any:
        """The same with --json, parsed."""
        return json.loads(self.cli(*words, "--json"))

    def cli_command(self, *words: str) -> list[str]:
        """`trainyard` as a program would start it."""
        return [sys.executable, "-m", "services.cli", *words]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UserStack]:
    """Running for the session; afterwards it must leave no process."""
    require_stack()
    if not (CHECKOUT / "services" / "web" / "dist" / "index.html").exists():
        missing("the web client is not built: `make setup`")
    started = UserStack(tmp_path_factory.mktemp("stack"))
    try:
        started.start()
        yield started
        left = started.down()
    finally:
        started.clear()
    assert not left, f"the stack left {left}"
