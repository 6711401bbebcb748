"""A private RabbitMQ node from Debian's package: its folders, settings, commands and readiness.

Owns every fact about starting RabbitMQ as an ordinary child process; must not know who needs a broker. The same node
serves `make up` and the integration tests. Run as a module it becomes the node (or its epmd), so that the process id is
the server's own: `python -m deploy.local.rabbitmq epmd|node`.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local.files import write_private
from deploy.local.ports import LOOPBACK

READY_SECONDS = 60.0
STOP_SECONDS = 15.0

_SCRIPTS = "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
# Console logging off: the node's own log file has it all. The write-ahead log is preallocated, 512 MB by default.
_CONFIG = """\
log.console = false
log.file.level = info
raft.wal_max_size_bytes = 64000000
"""
# Busy-waiting schedulers would eat the cores that training needs.
_ERL_ARGS = "-kernel inet_dist_use_interface {127,0,0,1} -noinput +sbwt none +sbwtdcpu none +sbwtdio none"


class MissingRabbitMQ(Exception):
    """Debian's rabbitmq-server is not installed."""


def scripts_folder() -> Path:
    """Where the package keeps its inner scripts. The wrappers in /usr/sbin switch user and leave an epmd daemon behind."""
    found = sorted(Path("/").glob(_SCRIPTS))
    if not found:
        raise MissingRabbitMQ("RabbitMQ is not installed: apt-get install rabbitmq-server")
    return found[-1]


@dataclass(frozen=True, slots=True)
class RabbitNode:
    """One node: a folder of its own and three loopback ports. Equal folder and ports mean the same data again."""

    folder: Path
    port: int
    dist_port: int
    epmd_port: int
    name: str = "trainyard@localhost"

    @property
    def url(self) -> str:
        """The address for clients, default virtual host."""
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/"

    def prepare(self) -> None:
        """Make the folders, the settings and the Erlang cookie (which Erlang accepts with mode 0600 only)."""
        for part in (self.folder, self.folder / "mnesia", self.folder / "log"):
            part.mkdir(parents=True, exist_ok=True)
        (self.folder / "rabbitmq.conf").write_text(_CONFIG)
        (self.folder / "enabled_plugins").write_text("[].\n")
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, secrets.token_hex(20).upper())
        cookie.chmod(0o600)

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` plus all that keeps node, epmd and rabbitmqctl away from a system-wide RabbitMQ."""
        inherited = {key: value for key, value in base.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            "HOME": str(self.folder),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_ALLOW_INPUT": "1",  # makes the script exec Erlang: one process, one id
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERL_ARGS,
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self.epmd_port),
        }

    def epmd_command(self) -> tuple[str, ...]:
        """Erlang's port mapper in the foreground. Without it the node forks a daemon that outlives it."""
        return ("epmd", "-port", str(self.epmd_port), "-address", LOOPBACK, "-relaxed_command_check")

    def node_command(self) -> tuple[str, ...]:
        """The server itself."""
        return (str(scripts_folder() / "rabbitmq-server"),)

    def control_command(self, *arguments: str) -> tuple[str, ...]:
        """rabbitmqctl for this node; needs `environment()` too."""
        return (str(scripts_folder() / "rabbitmqctl"), "--quiet", "--node", self.name, *arguments)

    def epmd_ready(self) -> bool:
        """Whether the port mapper listens."""
        return answers(LOOPBACK, self.epmd_port)

    def ready(self) -> bool:
        """Whether the node answers an AMQP protocol header: a listening port alone comes seconds too early."""
        return answers_amqp(LOOPBACK, self.port)


def answers_amqp(host: str, port: int) -> bool:
    """Send AMQP 0-9-1's protocol header and see whether a frame comes back within two seconds."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(_AMQP_HEADER)
            return bool(connection.recv(1))
    except OSError:
        return False


def answers_url(url: str) -> bool:
    """Whether a broker answers at an amqp:// address; of an amqps:// one only the open port is checked."""
    address = urlsplit(url)
    secure = address.scheme == "amqps"
    host, port = address.hostname or LOOPBACK, address.port or (5671 if secure else 5672)
    return answers(host, port) if secure else answers_amqp(host, port)


def answers(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def node_from_environment(environ: Mapping[str, str]) -> RabbitNode:
    """The node that `make up` describes to its children."""
    return RabbitNode(
        folder=Path(environ["BROKER_DATA"]),
        port=int(environ["BROKER_PORT"]),
        dist_port=int(environ["BROKER_DIST_PORT"]),
        epmd_port=int(environ["BROKER_EPMD_PORT"]),
    )


def main(arguments: list[str], environ: Mapping[str, str]) -> None:
    """Become epmd or the node; returns only by an exception."""
    node = node_from_environment(environ)
    command = {"epmd": node.epmd_command, "node": node.node_command}[arguments[0]]()
    node.prepare()
    os.chdir(node.folder)
    os.execvpe(command[0], command, node.environment(environ))


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
