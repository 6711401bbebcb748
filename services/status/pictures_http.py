"""The HTTP routes of a model's evaluation pictures and of what the model found in them at each checkpoint.

Owns paths, answers and how long they may be kept. A model from before there were any, or whose trainer couldn't keep them, has
none: that is an empty list. What a checkpoint's fact named is read from the artifact store; nothing is looked for there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
from aiohttp import web

from services.status.http import model_of, open_file
from services.status.store import StatusStore
from shared.contract.api.models import (
    CheckpointPredictionsAnswer,
    EvaluationPicturesAnswer,
    PredictedCheckpoint,
    PredictionsAnswer,
)
from shared.contract.errors import UserError
from shared.contract.pictures import PICTURES_FILE, PREDICTIONS_FILE, Pictures, Predictions, jpeg_name, unpack
from shared.runtime.artifacts import ArtifactFile, Artifacts
from shared.runtime.web import answer, unchanged

S = TypeVar("S", bound=msgspec.Struct)

_CHANGES = {"Cache-Control": "private, no-cache"}
# A model's pictures never change: they are chosen by their places in datasets, which don't change either.
_STAYS = {"Cache-Control": "private, max-age=31536000, immutable"}


class PicturesApi:
    """Handlers of /api/models/{id}/pictures and /api/models/{id}/predictions."""

    def __init__(self, store: StatusStore, artifacts: Artifacts) -> None:
        self._store = store
        self._artifacts = artifacts

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            web.get("/api/models/{id}/pictures", self.pictures),
            web.get(r"/api/models/{id}/pictures/{number:\d{1,9}}.jpg", self.picture),
            web.get("/api/models/{id}/predictions", self.checkpoints),
            web.get(r"/api/models/{id}/predictions/{step:\d{1,9}}", self.predictions),
        ]

    async def pictures(self, request: web.Request) -> web.Response:
        """GET /api/models/{id}/pictures: their sizes, where they are from, their true boxes."""
        folder = await self._folder(request)
        if folder is None:
            return answer(EvaluationPicturesAnswer(pictures=[]))
        return await self._content(
            request, folder, PICTURES_FILE, Pictures, lambda kept: EvaluationPicturesAnswer(pictures=kept.pictures)
        )

    async def picture(self, request: web.Request) -> web.Response:
        """GET /api/models/{id}/pictures/{number}.jpg"""
        number = int(request.match_info["number"])
        folder = await self._folder(request)
        missing = UserError("no_picture", f"This model has no evaluation picture {number}.", "number", status=404)
        if folder is None:
            raise missing
        file, content = await asyncio.to_thread(self._read, folder, jpeg_name(number), missing)
        known = unchanged(request, file.sha256, _STAYS)
        if known is not None:
            return known
        headers = _STAYS | {"X-Content-Type-Options": "nosniff", "Content-Type": "image/jpeg"}
        response = web.Response(body=content, headers=headers)
        response.etag = file.sha256
        return response

    async def checkpoints(self, request: web.Request) -> web.Response:
        """GET /api/models/{id}/predictions: the checkpoints that have any, ascending by step."""
        job = await model_of(self._store, request)
        points = await self._store.metrics(job.team, job.id)
        checkpoints = [
            PredictedCheckpoint(step=point.step, attempt=point.attempt, saved_at=point.saved_at)
            for point in points
            if point.predictions is not None
        ]
        return answer(PredictionsAnswer(checkpoints=checkpoints))

    async def predictions(self, request: web.Request) -> web.Response:
        """GET /api/models/{id}/predictions/{step}: what the model found at that checkpoint, by picture."""
        job = await model_of(self._store, request)
        step = int(request.match_info["step"])
        point = await self._store.point(job.team, job.id, step)
        if point is None or point.predictions is None:
            raise UserError("no_predictions", f"This model has no predictions of step {step}.", "step", status=404)
        attempt = point.attempt
        return await self._content(
            request,
            point.predictions.prefix,
            PREDICTIONS_FILE,
            Predictions,
            lambda kept: CheckpointPredictionsAnswer(step=step, attempt=attempt, pictures=kept.pictures),
        )

    async def _folder(self, request: web.Request) -> str | None:
        """Where the model's pictures lie: as its newest checkpoint with predictions says."""
        job = await model_of(self._store, request)
        newest = await self._store.newest_predictions(job.team, job.id)
        return None if newest is None else newest.pictures

    async def _content(
        self, request: web.Request, prefix: str, name: str, kind: type[S], made: Callable[[S], msgspec.Struct]
    ) -> web.Response:
        """The answer that is made of a packed file. Raises UserError `not_kept` where it can't be read."""
        missing = UserError("not_kept", f"{name} is not in the artifact store any more.", status=404)
        file, content = await asyncio.to_thread(self._read, prefix, name, missing)
        known = unchanged(request, file.sha256, _CHANGES)
        if known is not None:
            return known
        try:
            kept = await asyncio.to_thread(unpack, content, kind)
        except ValueError as error:
            raise missing from error
        response = answer(made(kept), headers=_CHANGES)
        response.etag = file.sha256
        return response

    def _read(self, prefix: str, name: str, missing: UserError) -> tuple[ArtifactFile, bytes]:
        """A file and its bytes, a few hundred kB at most (blocking)."""
        file, content = open_file(self._artifacts, prefix, name, missing)
        with content:
            return file, content.read()
