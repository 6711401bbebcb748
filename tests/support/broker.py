"""A private RabbitMQ node for integration tests: start, `kill -9`, restart on the same data, stop.

Calls block (a restart takes some 5 seconds): from a coroutine use `await asyncio.to_thread(broker.restart)`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.local import process, rabbitmq
from deploy.local.ports import free_ports

_BATCH = 25
# One call makes a batch of virtual hosts: rabbitmqctl itself takes a second or two, a virtual host some milliseconds.
_ADD_HOSTS = """
lists:foreach(fun(N) ->
    Host = list_to_binary("test" ++ integer_to_list(N)),
    rabbit_vhost:add(Host, <<"tests">>),
    rabbit_auth_backend_internal:set_permissions(<<"guest">>, Host, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
end, lists:seq({first}, {last})).
"""


class Broker:
    """A running node. `url` is the default virtual host's; `fresh_url()` gives a virtual host that nobody used."""

    def __init__(self, node: rabbitmq.RabbitNode) -> None:
        self.node = node
        self._log = node.folder / "output.log"
        # Children die with the thread that started them, so one thread of ours starts them all and outlives them.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker")
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._hosts = 0
        self._unused: list[str] = []

    @property
    def url(self) -> str:
        return self.node.url

    @property
    def pid(self) -> int:
        """The Erlang VM's process id."""
        assert self._server is not None, "the broker was stopped"
        return self._server.pid

    def start(self) -> None:
        """Start epmd (once) and the node; returns when the node answers AMQP."""
        self.node.prepare()
        if self._epmd is None:
            self._epmd = self._spawn(self.node.epmd_command(), self.node.epmd_ready)
        self._server = self._spawn(self.node.node_command(), self.node.ready)

    def kill(self) -> None:
        """`kill -9` of the node. Quorum queues younger than 2 s may stay without a leader on RabbitMQ 3.10."""
        if self._server is not None:
            process.kill(self._server)
            self._server = None

    def stop_node(self) -> None:
        """End the node in order; epmd stays for a later `start()`."""
        if self._server is not None:
            process.end(self._server, grace=rabbitmq.STOP_SECONDS)
            self._server = None

    def restart(self) -> None:
        """Bring the node back on the same data and port, after ending it in order if it still runs."""
        self.stop_node()
        self.start()

    def stop(self) -> None:
        """End the node and epmd for good."""
        self.stop_node()
        if self._epmd is not None:
            process.end(self._epmd, grace=2)
            self._epmd = None
        self._starter.shutdown()

    def fresh_url(self) -> str:
        """The address of a virtual host that no test has used."""
        if not self._unused:
            first, self._hosts = self._hosts, self._hosts + _BATCH
            self.control("eval", _ADD_HOSTS.format(first=first, last=self._hosts - 1))
            self._unused = [f"test{number}" for number in range(first, self._hosts)]
        return self.node.url + self._unused.pop(0)

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl against this node and return what it printed."""
        command = self.node.control_command(*arguments)
        environment = self.node.environment(os.environ)
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout

    def _spawn(self, command: tuple[str, ...], ready: Callable[[], bool]) -> subprocess.Popen[bytes]:
        def spawn() -> subprocess.Popen[bytes]:
            environment = self.node.environment(os.environ)
            return process.start(command, env=environment, cwd=self.node.folder, log=self._log)

        child = self._starter.submit(spawn).result()
        try:
            process.wait_ready(child, ready, seconds=rabbitmq.READY_SECONDS, log=self._log)
        except process.NotReady:
            process.kill(child)
            raise
        return child


def start_broker(folder: Path) -> Broker:
    """Start a node that keeps its data in `folder`; the caller stops it."""
    port, dist_port, epmd_port = free_ports(3)
    broker = Broker(rabbitmq.RabbitNode(folder=folder, port=port, dist_port=dist_port, epmd_port=epmd_port))
    try:
        broker.start()
    except process.NotReady:
        broker.stop()
        raise
    return broker
