"""The dataset service as a process with clients of several teams, for integration tests."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from shared.contract.events import DatasetCreated, DatasetDeleted
from shared.contract.topology import Queue
from shared.contract.wire import Envelope
from shared.runtime.artifacts import Artifacts
from shared.runtime.bus import RabbitBus
from shared.runtime.metrics import Metrics
from shared.runtime.mongo import Store
from shared.runtime.trace import Tracing
from tests.support.running import Caller, Service, token
from tests.support.voc import frames, write_zip

SETTINGS = {"MAX_DATASETS": "3", "MAX_UPLOAD_BYTES": "900000", "SILENCE_SECONDS": "3"}


class World:
    """A running service, clients of a team of the test's own, of another and of a service, and what is said on the bus."""

    def __init__(
        self, service: Service, folder: Path, environ: Mapping[str, str], session: aiohttp.ClientSession
    ) -> None:
        self.service = service
        self.folder = folder
        self.environ = environ
        self.imports = Path(environ["IMPORT_DIR"])
        self.artifacts = Artifacts(environ["ARTIFACTS_URL"])
        self.session = session
        self.team = uuid.uuid4().hex[:8]
        self.call = Caller(session, token(self.team))
        self.stranger = Caller(session, token(f"not {self.team}"))
        self.viewer = Caller(session, token(self.team, role="viewer"))
        self.scheduler = Caller(session, token("", role="service", name="scheduler"))
        self.store = Store(environ["MONGO_URL"], environ["MONGO_PREFIX"])
        self.documents = self.store.database("dataset")["datasets"]
        self.facts: list[Envelope] = []

    async def hear(self, envelope: Envelope) -> None:
        if envelope.team == self.team:
            self.facts.append(envelope)

    def archive(self, files: Mapping[str, bytes | str] | None = None) -> bytes:
        return write_zip(self.folder / "in.zip", frames(12) if files is None else files).read_bytes()

    def url(self, path: str = "", query: Mapping[str, object] | None = None) -> str:
        return f"{self.service.url}/api/datasets{path}" + (f"?{urlencode(query)}" if query else "")

    async def add(
        self, data: bytes | None = None, *, key: str | None = None, query: Mapping[str, object] | None = None
    ) -> tuple[int, Any]:
        return await self.call(
            "POST",
            self.url("", {"name": "Field", **(query or {})}),
            data=self.archive() if data is None else data,
            headers={"Content-Type": "application/zip", "Idempotency-Key": key or uuid.uuid4().hex},
        )

    async def added(self, labels: tuple[str, ...] = ("ball", "cube"), name: str = "Field") -> str:
        status, content = await self.add(self.archive(frames(12, labels)), query={"name": name})
        assert status == 201, content
        return str(content["dataset"]["id"])

    async def claim(self, job_id: str, *dataset_ids: str, team: str | None = None, description: str = "Robot") -> Any:
        body = {
            "team": self.team if team is None else team,
            "dataset_ids": list(dataset_ids),
            "description": description,
        }
        return await self.scheduler("PUT", f"{self.service.url}/api/internal/claims/{job_id}", body)

    async def release(self, job_id: str) -> None:
        scheduler = Caller(self.session, token(self.team, role="service", name="scheduler"))
        status, _ = await scheduler("DELETE", f"{self.service.url}/api/internal/claims/{job_id}")
        assert status == 204

    async def nothing_is_left(self) -> None:
        """No document of the team, no file of a dataset that isn't there, no upload."""
        assert await self.documents.count_documents({"team": self.team}) == 0
        known = {document["_id"] async for document in self.documents.find({}, {"_id": 1})}
        assert set(self.artifacts.folders("datasets")) <= known
        assert self.uploads() == []
        assert await self.call("GET", self.url()) == (200, {"datasets": [], "used_by": {}})

    def processes(self) -> list[Path]:
        """The folders of processes in the service's folder for uploads."""
        return sorted(self.imports.glob("process-*"))

    def uploads(self) -> list[str]:
        """What is in the service's folder for uploads."""
        return [path.name for folder in self.processes() for path in folder.iterdir() if path.name != "lock"]

    async def importing(self) -> bool:
        return await self.documents.count_documents({"team": self.team, "state": "importing"}) == 1

    async def none_importing(self) -> bool:
        return await self.documents.count_documents({"team": self.team}) == 0


def environment(folder: Path, amqp_url: str, mongo_url: str) -> dict[str, str]:
    return {
        **SETTINGS,
        "RABBITMQ_URL": amqp_url,
        "MONGO_URL": mongo_url,
        "MONGO_PREFIX": f"t{uuid.uuid4().hex[:12]}_",
        "ARTIFACTS_URL": (folder / "artifacts").as_uri(),
        "IMPORT_DIR": str(folder / "imports"),
    }


@contextmanager
def running(folder: Path, amqp_url: str, mongo_url: str, **settings: str) -> Iterator[tuple[Service, dict[str, str]]]:
    """One process for all tests of a module that leave it running; `settings` come on top."""
    environ = environment(folder, amqp_url, mongo_url) | settings
    service = Service("dataset", folder, environ)
    asyncio.run(service.start())
    try:
        yield service, environ
    finally:
        service.end()


@asynccontextmanager
async def alone(folder: Path, amqp_url: str, mongo_url: str, **settings: str) -> AsyncIterator[World]:
    """A process for one test, to stop, start and kill."""
    environ = environment(folder, amqp_url, mongo_url) | settings
    async with Service("dataset", folder, environ) as service, listening(service, folder, environ) as world:
        yield world


@asynccontextmanager
async def listening(service: Service, folder: Path, environ: dict[str, str]) -> AsyncIterator[World]:
    bus = RabbitBus(environ["RABBITMQ_URL"], service="test", metrics=Metrics(), tracing=Tracing("test"))
    await bus.connect()
    async with aiohttp.ClientSession() as session:
        world = World(service, folder, environ, session)
        queue = Queue(name=f"test.{world.team}", bindings=("dataset.*",), expires_seconds=60)
        await bus.consume(queue, {DatasetCreated: world.hear, DatasetDeleted: world.hear})
        yield world
        world.store.close()
    await bus.close()
