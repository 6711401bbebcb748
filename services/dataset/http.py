"""The dataset service's HTTP routes. Thin: read, hand on, answer."""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta
from functools import partial
from typing import Literal, cast

from aiohttp import web

from services.dataset import domain
from services.dataset.domain import UploadRequest
from services.dataset.handlers import Datasets
from services.dataset.importer import MAX_EVAL_PERCENT, MIN_EVAL_PERCENT
from services.dataset.imports import Imports, Upload
from services.dataset.picture_http import seen_by
from services.dataset.receiving import received, stored, to_end
from services.dataset.store import DatasetStore
from services.dataset.uploads import Uploads
from shared.contract.api.claims import Claimed, ClaimRequest, ClaimsAnswer
from shared.contract.api.datasets import CompatibilityRequest, DatasetAnswer, DatasetsAnswer, Imported
from shared.contract.errors import NotFound, UserError
from shared.runtime.clock import Clock
from shared.runtime.web import answer, body, creation_id, require, whole_number

_ZIP_TYPES = frozenset({"application/zip", "application/x-zip-compressed", "application/octet-stream"})
_LARGEST_SEED = 2**31 - 1


class Routes:
    """The handlers and what they need; `silence_seconds` is how long an upload may bring nothing."""

    def __init__(
        self,
        *,
        store: DatasetStore,
        datasets: Datasets,
        imports: Imports,
        uploads: Uploads,
        clock: Clock,
        silence_seconds: float,
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._imports = imports
        self._uploads = uploads
        self._clock = clock
        self._silence_seconds = silence_seconds

    def table(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/api/datasets", self.list),
            web.post("/api/datasets", self.create),
            web.post("/api/datasets/compatibility", self.compatibility),
            web.get("/api/datasets/{id}", self.get),
            web.delete("/api/datasets/{id}", self.delete),
            web.get("/api/internal/claims", self.claims),
            web.put("/api/internal/claims/{job_id}", self.claim),
            web.delete("/api/internal/claims/{job_id}", self.release),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """The team's datasets, newest first."""
        who = require(request, "viewer")
        listed = await self._store.all(who.team)
        used_by = {one.view.id: one.claims for one in listed if one.claims}
        return answer(DatasetsAnswer(datasets=[one.view for one in listed], used_by=used_by))

    async def create(self, request: web.Request) -> web.Response:
        """Import the zip that is the request's body, or that was uploaded before (`upload`)."""
        who = require(request, "member")
        upload_id = _upload_id(request)
        if upload_id is None and request.content_type not in _ZIP_TYPES:
            message = f"Send the zip as the body with Content-Type application/zip, not {request.content_type}."
            raise UserError("unsupported_media_type", message, "Content-Type", status=415)
        wanted = UploadRequest(
            name=domain.checked_name(request.query.get("name", "")),
            eval_percent=whole_number(request, "eval_percent", 20, MIN_EVAL_PERCENT, MAX_EVAL_PERCENT),
            seed=whole_number(request, "seed", 0, 0, _LARGEST_SEED),
            unlabelled=_unlabelled(request),
        )
        if upload_id is None:
            upload = Upload(received(request, self._silence_seconds), request.content_length)
        else:
            upload = Upload(stored(self._uploads.pieces(who.team, upload_id)), None, is_sent_now=False)
        dataset = await self._imports.create(who.team, creation_id(request, who.team), wanted, upload)
        if upload_id is not None:
            with contextlib.suppress(NotFound):  # a repeated request finds the dataset, but no upload any more
                await to_end(partial(self._uploads.remove, who.team, upload_id))
        return answer(Imported(dataset=dataset.view, report=dataset.report), status=201)

    async def get(self, request: web.Request) -> web.Response:
        """One dataset, how its import went, who uses it."""
        who = require(request, "viewer")
        dataset = await self._datasets.get(seen_by(who), request.match_info["id"])
        return answer(DatasetAnswer(dataset=dataset.view, report=dataset.report, used_by=dataset.claims))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a dataset that no model uses."""
        who = require(request, "member")
        await self._datasets.delete(who.team, request.match_info["id"])
        return web.Response(status=204)

    async def compatibility(self, request: web.Request) -> web.Response:
        """Which labels keep datasets from being trained on together."""
        who = require(request, "viewer")
        wanted = await body(request, CompatibilityRequest)
        return answer(await self._datasets.compatibility(who.team, wanted.dataset_ids))

    async def claims(self, request: web.Request) -> web.Response:
        """Jobs that have held claims for so long, of all teams."""
        require(request, "service")
        age = timedelta(seconds=whole_number(request, "older_than_seconds", 0, 0, 10**9))
        return answer(ClaimsAnswer(claims=await self._store.claims_before(self._clock.now() - age)))

    async def claim(self, request: web.Request) -> web.Response:
        """Claim datasets for a job: none of them can be deleted until it lets go."""
        require(request, "service")
        wanted = await body(request, ClaimRequest)
        job_id = request.match_info["job_id"]
        views = await self._datasets.claim(wanted.team, job_id, wanted.description, wanted.dataset_ids)
        return answer(Claimed(datasets=views))

    async def release(self, request: web.Request) -> web.Response:
        """Let the claims of a job of the token's team go; there being none is no error."""
        who = require(request, "service")
        await self._store.release(who.team, request.match_info["job_id"])
        return web.Response(status=204)


def _upload_id(request: web.Request) -> str | None:
    value = request.query.get("upload")
    if value is not None and re.fullmatch("[0-9a-f]{32}", value) is None:
        raise UserError("bad_parameter", f"upload must be an upload's id, not {value[:40]!r}.", "upload")
    return value


def _unlabelled(request: web.Request) -> Literal["skip", "negative"]:
    value = request.query.get("unlabelled", "skip")
    if value not in ("skip", "negative"):
        message = f"unlabelled must be skip or negative, not {value[:40]!r}."
        raise UserError("bad_parameter", message, "unlabelled")
    return cast(Literal["skip", "negative"], value)
