"""The HTTP routes of the status service: models, their metrics and stories, and the files that they end in.

Owns paths and answers. Knows no rule: what to send comes from store, hub and domain.
"""

from __future__ import annotations

import asyncio
import io
from typing import BinaryIO

import msgspec
from aiohttp import web

from services.status.domain import choose_download, disposition
from services.status.hub import Hub
from services.status.store import StatusStore
from services.status.views import newest_first
from services.status.ws import PATH, Stream
from shared.contract.api.models import EventsAnswer, MetricsAnswer, ModelAnswer, ModelsAnswer
from shared.contract.errors import NotFound, UserError
from shared.contract.views import JobView
from shared.runtime import log
from shared.runtime.artifacts import ArtifactFile, Artifacts, Corrupt, Manifest
from shared.runtime.web import answer, principal, unchanged

_CHUNK = 1 << 20


class Api:
    """Handlers of /api/models."""

    def __init__(self, store: StatusStore, hub: Hub, artifacts: Artifacts) -> None:
        self._store = store
        self._hub = hub
        self._artifacts = artifacts

    def routes(self, stream: Stream) -> list[web.RouteDef]:
        """All public routes of the service."""
        return [
            web.get("/api/models", self.models),
            web.get("/api/models/{id}", self.model),
            web.get("/api/models/{id}/metrics", self.metrics),
            web.get("/api/models/{id}/events", self.events),
            web.get("/api/models/{id}/download", self.download),
            web.get(PATH, stream.handle, allow_head=False),
        ]

    async def models(self, request: web.Request) -> web.Response:
        """The team's models, newest first."""
        records = await self._store.models(principal(request).team)
        models = [msgspec.json.decode(data, type=JobView) for data in newest_first(records, "model")]
        return answer(ModelsAnswer(models=models))

    async def model(self, request: web.Request) -> web.Response:
        """One model, its newest progress while it runs, its metrics."""
        job = await model_of(self._store, request)
        channel = await self._hub.channel(job.team)
        metrics = await self._store.metrics(job.team, job.id)
        return answer(ModelAnswer(model=job, progress=channel.progress(job.id), metrics=metrics))

    async def metrics(self, request: web.Request) -> web.Response:
        """A point a checkpoint, by step."""
        job = await model_of(self._store, request)
        return answer(MetricsAnswer(metrics=await self._store.metrics(job.team, job.id)))

    async def events(self, request: web.Request) -> web.Response:
        """What happened to it, oldest first."""
        job = await model_of(self._store, request)
        return answer(EventsAnswer(events=await self._store.history(job.team, job.id)))

    async def download(self, request: web.Request) -> web.StreamResponse:
        """One exported file (`format`)."""
        job = await model_of(self._store, request)
        chosen = choose_download(job, request.query.get("format"))
        missing = _missing(chosen.name)
        file, content = await asyncio.to_thread(open_file, self._artifacts, chosen.prefix, chosen.name, missing)
        with content:
            named = disposition(job.description, chosen)
            headers = {"Content-Disposition": named, "Cache-Control": "private, no-cache"}
            known = unchanged(request, file.sha256, headers)
            if known is not None:
                return known
            response = web.StreamResponse(headers=headers)
            response.etag = file.sha256
            response.content_type = "text/plain" if file.name.endswith(".txt") else "application/octet-stream"
            response.content_length = file.bytes
            await response.prepare(request)
            if request.method != "HEAD":
                await _copy(content, response)
            return response


async def model_of(store: StatusStore, request: web.Request) -> JobView:
    """The model that a path names. Raises NotFound for one that the asking team doesn't have."""
    team, model_id = principal(request).team, request.match_info["id"]
    job = await store.model(team, model_id)
    if job is None:
        raise NotFound("model", model_id[:100])
    return job


def open_file(
    artifacts: Artifacts, prefix: str, name: str, missing: UserError, manifest: Manifest | None = None
) -> tuple[ArtifactFile, BinaryIO]:
    """A file, as its folder's manifest describes it, and its content (blocking). Raises `missing` if it isn't there whole.
    `manifest` is the folder's for who has read it already."""
    try:
        file = (manifest or artifacts.manifest(prefix)).file(name)
        if file is not None:
            content = artifacts.open(prefix, name)
            if content.seek(0, io.SEEK_END) == file.bytes:
                content.seek(0)
                return file, content
            content.close()
    except (Corrupt, FileNotFoundError) as error:
        raise missing from error
    raise missing


def _missing(name: str) -> UserError:
    return UserError("no_export", f"The exported file {name} is not in the artifact store any more.", status=404)


async def _copy(content: BinaryIO, response: web.StreamResponse) -> None:
    try:
        while chunk := await asyncio.to_thread(content.read, _CHUNK):
            await response.write(chunk)
        await response.write_eof()
    except ConnectionError:
        log.get("download").info("download.broken_off")  # the client went; nothing is left to be told
