"""The embedded store that speaks MongoDB's wire protocol: its command, its address and its readiness.

Owns every fact about starting SecantusDB as a separate process (it is GPL-2.0-only: started, never imported); must not
know who needs a database. The same store serves `make up` and the integration tests. Run as a module it becomes the
store: `python -m deploy.local.store`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from deploy.local.ports import LOOPBACK

READY_SECONDS = 30.0
STOP_SECONDS = 10.0


class MissingStore(Exception):
    """The store's command is not in this Python environment."""


@dataclass(frozen=True, slots=True)
class StoreNode:
    """One store: a folder and a loopback port."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """The address for clients. Retryable writes stay off: with them this store scans the last half hour's writes."""
        return f"mongodb://{LOOPBACK}:{self.port}/?directConnection=true&retryWrites=false"

    def prepare(self) -> None:
        """Make the folder and an empty settings file: one that lies in the home folder is not for us."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "secantusd.toml").touch()

    def command(self) -> tuple[str, ...]:
        """The server; synced commits, as acknowledged writes must survive `kill -9`, and no replica set of one, whose oplog
        would write everything twice for change streams that nobody reads."""
        program = Path(sys.executable).parent / "secantusd-py"
        if not program.exists():
            raise MissingStore("the embedded store is not installed: make setup")
        return (
            str(program),
            *("--config", str(self.folder / "secantusd.toml")),
            *("--host", LOOPBACK),
            *("--port", str(self.port)),
            *("--storage-path", str(self.folder)),
            *("--log-level", "WARNING"),
            "--sync-on-commit",
            "--standalone",
        )

    def ready(self) -> bool:
        """Whether the store answers a ping."""
        return answers_ping(self.url)


def answers_ping(url: str) -> bool:
    """Whether a server that speaks MongoDB's protocol answers at `url` within a second."""
    client: MongoClient[dict[str, object]] = MongoClient(url, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000)
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    finally:
        client.close()
    return True


def node_from_environment(environ: Mapping[str, str]) -> StoreNode:
    """The store that `make up` describes to its children."""
    return StoreNode(folder=Path(environ["STORE_DATA"]), port=int(environ["STORE_PORT"]))


def main(environ: Mapping[str, str]) -> None:
    """Become the store; returns only by an exception."""
    node = node_from_environment(environ)
    node.prepare()
    command = node.command()
    os.execvpe(command[0], command, environ)


if __name__ == "__main__":
    main(os.environ)
