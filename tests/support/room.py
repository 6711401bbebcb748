"""Everything that the page talks to, but training: gateway, dataset, scheduler and status are real, trainers are scripted.

`python -m tests.support.room` keeps one open, with a job in each state, to look at while the page is being worked on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from deploy.local import gateway, process
from deploy.local.ports import free_ports
from deploy.local.stack import answers_ready
from shared.runtime.auth import Role
from shared.runtime.mongo import Store
from tests.support.broker import start_broker
from tests.support.running import Service, token
from tests.support.scenes import Scenes
from tests.support.scheduling import Platform, open_platform
from tests.support.stack import CHECKOUT
from tests.support.store import start_store

DIST = CHECKOUT / "services" / "web" / "dist"
_SETTINGS = {
    "LEASE_SECONDS": "6",
    "TEAM_MINUTES": "600",
    "MIN_STEPS": "20",
    "CHECKPOINT_EVERY": "100",
    "MAX_TEAM_JOBS": "30",
    "STREAM_IDLE_SECONDS": "2",
}
T = TypeVar("T")


class Gateway:
    """nginx in front of the services, as `make up` runs it; its page signs itself in with the given token."""

    def __init__(self, folder: Path, services: dict[str, str], page_token: str) -> None:
        self._folder, self._services, self._token = folder, services, page_token
        (self.port,) = free_ports(1)
        self.url = f"http://localhost:{self.port}"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        run = self._folder / f"gateway-{self.port}"
        values = gateway.local_values(
            run=run, web_root=DIST, port=self.port, token=self._token, services=self._services
        )
        command = gateway.nginx_command(gateway.write_config(run, values))
        log = self._folder / f"gateway-{self.port}.log"
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        self._child = process.start(command, env={**os.environ, "PATH": path}, cwd=run, log=log)
        process.wait_ready(self._child, lambda: answers_ready(self.port, "/healthz"), seconds=10, log=log)

    def end(self) -> None:
        """End it: to a browser the server is gone."""
        if self._child is not None:
            process.end(self._child, grace=gateway.STOP_SECONDS)
            self._child = None


class Room:
    """The services run in a thread of their own; a test, which is synchronous, has things done there by `do`."""

    def __init__(self, amqp_url: str, mongo_url: str, mongo_prefix: str, folder: Path, **settings: str) -> None:
        self._urls = (amqp_url, mongo_url, mongo_prefix)
        self._folder, self._settings = folder, {**_SETTINGS, **settings}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="room")
        self._stack = AsyncExitStack()
        self._gateways: list[Gateway] = []
        self.platform: Platform
        self.status: Service
        self.scenes: Scenes
        self._database: Any

    def start(self) -> None:
        """Start all services."""
        self._thread.start()
        self.do(self._start(), 60)

    def do(self, what: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        """The result of a coroutine."""
        return self.begin(what).result(seconds)

    def begin(self, what: Coroutine[Any, Any, T]) -> Future[T]:
        """The same, but something else can be done until the result is asked for."""
        return asyncio.run_coroutine_threadsafe(what, self._loop)

    def door(self, role: Role = "mentor", name: str = "Ada", team: str = "demo") -> Gateway:
        """A gateway whose page is that person's."""
        services = {
            "dataset": self.platform.dataset.url,
            "scheduler": self.platform.scheduler.url,
            "status": self.status.url,
        }
        opened = Gateway(self._folder, services, token(team, role, name))
        self.do(asyncio.to_thread(opened.start))
        self._gateways.append(opened)
        return opened

    def scenes_of(self, team: str) -> Scenes:
        """Another team's; what they make stays as it is until the room ends."""
        scenes = Scenes(self.platform.of_team(team), self._database)
        self._stack.push_async_callback(scenes.end)
        return scenes

    def end(self) -> None:
        """End everything."""
        for opened in self._gateways:
            opened.end()
        self.do(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        amqp_url, mongo_url, mongo_prefix = self._urls
        opened = open_platform(amqp_url, mongo_url, mongo_prefix, self._folder, **self._settings)
        self.platform = await self._stack.enter_async_context(opened)
        self.status = Service("status", self._folder, self.platform.environ)
        await self._stack.enter_async_context(self.status)
        store = self._stack.enter_context(closing(Store(mongo_url, mongo_prefix)))
        self._database = store.database("scheduler")
        self.scenes = self.scenes_of(self.platform.team)


@contextmanager
def open_room() -> Iterator[Room]:
    """A room with a broker and a store of its own, for scripts."""
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        broker, store = start_broker(folder / "broker"), start_store(folder / "store")
        room = Room(broker.fresh_url(), store.url, "room_", folder)
        try:
            room.start()
            yield room
        finally:
            room.end()
            store.stop()
            broker.stop()


def main() -> None:
    """Open a room, fill it, print where it is, wait for the end."""
    with open_room() as room:
        doors: tuple[Role, ...] = ("admin", "mentor", "member", "viewer")
        for role in doors:
            print(f"{role}: {room.door(role, name=role.capitalize()).url}", flush=True)
        room.do(room.scenes.every_state(), 120)
        print("every state is there; Ctrl-C ends it", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
