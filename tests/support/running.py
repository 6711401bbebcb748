"""A service as a process, for integration tests: started with its own port and settings, ended by process id."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from deploy.local.ports import free_ports
from shared.runtime.auth import Role, mint
from tests.support.process import ServiceProcess

SECRET = "a secret of the tests, longer than thirty-two characters"
_READY_SECONDS = 30.0


def token(team: str = "demo", role: Role = "mentor", name: str = "Ada") -> str:
    """A bearer token that the tests' services accept."""
    return mint(SECRET, team=team, role=role, name=name, now=datetime.now(UTC), lifetime=None)


class Service:
    """`python -m services.<name>`; an asynchronous context manager that waits for /readyz and ends it with SIGTERM."""

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str]) -> None:
        (self.port,) = free_ports(1)
        self.name = name
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{name}-{self.port}.log"
        self._environ = {
            **os.environ,
            "TRAINYARD_SECRET": SECRET,
            "LOG_FORMAT": "json",
            "DRAIN_SECONDS": "2",
            **environ,
            "PORT": str(self.port),
        }
        self.process: ServiceProcess | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises AssertionError with its log if it doesn't get there."""
        self.process = ServiceProcess(f"services.{self.name}", self._environ, self.log)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _READY_SECONDS
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{self.url}/readyz") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                if self.process.poll() is not None or loop.time() > deadline:
                    raise AssertionError(f"{self.name} isn't ready:\n{self.log.read_text()[-4000:]}")
                await asyncio.sleep(0.05)

    def end(self) -> int:
        """SIGTERM, then SIGKILL after 15 s; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(5)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that is stopped has to be continued before its end."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(5)


class Caller:
    """An HTTP client with a token: `status, content = await caller("POST", url, body)`."""

    def __init__(self, session: aiohttp.ClientSession, bearer: str) -> None:
        self._session = session
        self._headers = {"Authorization": f"Bearer {bearer}"}

    async def __call__(
        self, method: str, url: str, body: object = None, *, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> tuple[int, Any]:
        """The status and the JSON answer (None for an empty one)."""
        options: dict[str, Any] = {"data": data} if data is not None else {"json": body}
        async with self._session.request(
            method, url, headers={**self._headers, **(headers or {})}, **options
        ) as response:
            text = await response.text()
            return response.status, (await response.json() if text else None)
