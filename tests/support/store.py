"""The embedded store for integration tests: start, `kill -9`, restart on the same data, stop."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.local import process, store
from deploy.local.ports import free_ports


class Store:
    """A running store. `url` is its address; give each test a database prefix of its own."""

    def __init__(self, node: store.StoreNode, log: Path) -> None:
        self.node = node
        self._log = log
        # Children die with the thread that started them, so one thread of ours starts them all and outlives them.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.node.url

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._server is not None, "the store was stopped"
        return self._server.pid

    def start(self) -> None:
        """Start the server; returns when it answers a ping."""
        self.node.prepare()

        def spawn() -> subprocess.Popen[bytes]:
            return process.start(self.node.command(), env=os.environ, cwd=self.node.folder, log=self._log)

        self._server = self._starter.submit(spawn).result()
        try:
            process.wait_ready(self._server, self.node.ready, seconds=store.READY_SECONDS, log=self._log)
        except process.NotReady:
            self.kill()
            raise

    def kill(self) -> None:
        """`kill -9`."""
        if self._server is not None:
            process.kill(self._server)
            self._server = None

    def restart(self) -> None:
        """Bring the server back on the same data and port, after ending it in order if it still runs."""
        self._end()
        self.start()

    def stop(self) -> None:
        """End the server for good."""
        self._end()
        self._starter.shutdown()

    def _end(self) -> None:
        if self._server is not None:
            process.end(self._server, grace=store.STOP_SECONDS)
            self._server = None


def start_store(folder: Path) -> Store:
    """Start a store that keeps its data under `folder`; the caller stops it."""
    (port,) = free_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    started = Store(store.StoreNode(folder=folder / "data", port=port), log=folder / "output.log")
    try:
        started.start()
    except process.NotReady:
        started.stop()
        raise
    return started
