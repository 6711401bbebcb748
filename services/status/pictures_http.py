"""The HTTP routes of a model's evaluation pictures and of what the model found in them at each checkpoint.

Owns paths, answers and how long they may be kept. A model from before there were any, or whose trainer couldn't keep them, has
none: that is an empty list. What a checkpoint's fact named is read from the artifact store; nothing is looked for there.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

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
from shared.runtime.artifacts import ArtifactFile, Artifacts, Corrupt, Manifest
from shared.runtime.web import answer, principal, unchanged

S = TypeVar("S", bound=msgspec.Struct)

_CHANGES = {"Cache-Control": "private, no-cache"}
# A model's pictures never change: they are chosen by their places in datasets, which don't change either.
_STAYS = {"Cache-Control": "private, max-age=31536000, immutable"}
_MOST_FOLDERS = 64


class _Folder(NamedTuple):
    """Where a model's pictures lie, and what is there."""

    prefix: str
    manifest: Manifest


class PicturesApi:
    """Handlers of /api/models/{id}/pictures and /api/models/{id}/predictions."""

    def __init__(self, store: StatusStore, artifacts: Artifacts) -> None:
        self._store = store
        self._artifacts = artifacts
        self._known: OrderedDict[tuple[str, str], _Folder] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            web.get("/api/models/{id}/pictures", self.pictures),
            web.get(r"/api/models/{id}/pictures/{number:\d{1,9}}.jpg", self.picture),
            web.get("/api/models/{id}/predictions", self.checkpoints),
            web.get(r"/api/models/{id}/predictions/{step:\d{1,9}}", self.predictions),
        ]

    async def pictures(self, request: web.Request) -> web.Response:
        """Its evaluation pictures: their sizes, where they are from, their true boxes."""
        folder = await self._look(request, _not_kept(PICTURES_FILE))
        if folder is None:
            return answer(EvaluationPicturesAnswer(pictures=[]))
        return await self._content(
            request,
            folder.prefix,
            PICTURES_FILE,
            Pictures,
            lambda kept: EvaluationPicturesAnswer(pictures=kept.pictures),
            folder.manifest,
        )

    async def picture(self, request: web.Request) -> web.Response:
        """One evaluation picture as a JPEG."""
        number = int(request.match_info["number"])
        missing = UserError("no_picture", f"This model has no evaluation picture {number}.", "number", status=404)
        file, content = await self._jpeg(request, jpeg_name(number), missing)
        known = unchanged(request, file.sha256, _STAYS)
        if known is not None:
            return known
        headers = _STAYS | {"X-Content-Type-Options": "nosniff", "Content-Type": "image/jpeg"}
        response = web.Response(body=content, headers=headers)
        response.etag = file.sha256
        return response

    async def checkpoints(self, request: web.Request) -> web.Response:
        """The checkpoints that have predictions, ascending by step."""
        job = await model_of(self._store, request)
        points = await self._store.metrics(job.team, job.id)
        checkpoints = [
            PredictedCheckpoint(step=point.step, attempt=point.attempt, saved_at=point.saved_at)
            for point in points
            if point.predictions is not None
        ]
        return answer(PredictionsAnswer(checkpoints=checkpoints))

    async def predictions(self, request: web.Request) -> web.Response:
        """What the model found at that checkpoint, by picture."""
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

    async def _jpeg(self, request: web.Request, name: str, missing: UserError) -> tuple[ArtifactFile, bytes]:
        """A picture. A page asks for a hundred after it has asked for their list: those are one read each, of the picture.
        A folder that is known but no longer there (of a former attempt, of a model that was deleted) is looked for again."""
        known = self._known.get(_key(request))
        if known is not None:
            try:
                return await asyncio.to_thread(self._read, known.prefix, name, missing, known.manifest)
            except UserError:
                self._known.pop(_key(request), None)
        folder = await self._look(request, missing)
        if folder is None:
            raise missing
        return await asyncio.to_thread(self._read, folder.prefix, name, missing, folder.manifest)

    async def _look(self, request: web.Request, missing: UserError) -> _Folder | None:
        """Where the model's pictures lie, as its newest checkpoint with predictions says; None for a model without any."""
        job = await model_of(self._store, request)
        newest = await self._store.newest_predictions(job.team, job.id)
        if newest is None:
            return None
        try:
            manifest = await asyncio.to_thread(self._artifacts.manifest, newest.pictures)
        except Corrupt as error:
            raise missing from error
        folder = self._known[_key(request)] = _Folder(newest.pictures, manifest)
        self._known.move_to_end(_key(request))
        if len(self._known) > _MOST_FOLDERS:
            self._known.popitem(last=False)
        return folder

    async def _content(
        self,
        request: web.Request,
        prefix: str,
        name: str,
        kind: type[S],
        made: Callable[[S], msgspec.Struct],
        manifest: Manifest | None = None,
    ) -> web.Response:
        """The answer that is made of a packed file. Raises UserError `not_kept` where it can't be read."""
        missing = _not_kept(name)
        file, content = await asyncio.to_thread(self._read, prefix, name, missing, manifest)
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

    def _read(
        self, prefix: str, name: str, missing: UserError, manifest: Manifest | None
    ) -> tuple[ArtifactFile, bytes]:
        """A file and its bytes, a few hundred kB at most (blocking)."""
        file, content = open_file(self._artifacts, prefix, name, missing, manifest)
        with content:
            return file, content.read()


def _key(request: web.Request) -> tuple[str, str]:
    """Of what is known: a team sees its own models alone."""
    return principal(request).team, request.match_info["id"]


def _not_kept(name: str) -> UserError:
    return UserError("not_kept", f"{name} is not in the artifact store any more.", status=404)
