"""The routes that show what is in a dataset: pictures by range, one picture, statistics. Thin: read, hand on, answer."""

from __future__ import annotations

from aiohttp import web

from services.dataset import findings, index
from services.dataset.browsing import Browsing
from services.dataset.index import IndexedPicture
from services.dataset.store import DatasetStore
from shared.contract.api.datasets import DatasetPicture, PicturesAnswer, Pool
from shared.contract.errors import NotFound, UserError
from shared.contract.pictures import TrueBox
from shared.contract.views import DatasetView
from shared.runtime.auth import Principal
from shared.runtime.web import answer, require, unchanged, whole_number

USUAL_LIMIT, LARGEST_LIMIT = 60, 200
# A picture of a dataset never changes; whoever may see it keeps it, and nobody in between does.
_KEPT = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def seen_by(who: Principal) -> str | None:
    """The team whose datasets someone may look at; None for all teams', which operators may. A service, which may do what they
    may, speaks for the team that it names."""
    return None if who.role == "admin" else who.team


class PictureRoutes:
    """The handlers and what they need."""

    def __init__(self, store: DatasetStore, browsing: Browsing) -> None:
        self._store = store
        self._browsing = browsing

    def table(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/api/datasets/{id}/pictures", self.pictures),
            web.get("/api/datasets/{id}/pictures/{index:[0-9]{1,9}}.jpg", self.picture),
            web.get("/api/datasets/{id}/statistics", self.statistics),
        ]

    async def pictures(self, request: web.Request) -> web.Response:
        """A range of pictures with their boxes, by file name; of those with a label, in a pool, without any box."""
        dataset = await self._dataset(request)
        offset = whole_number(request, "offset", 0, 0, 10**9)
        limit = whole_number(request, "limit", USUAL_LIMIT, 1, LARGEST_LIMIT)
        label, negative = _label(request, dataset), _flag(request, "negative")
        if label is not None and negative:
            raise UserError("bad_parameter", "A negative picture has no label: give label or negative.", "negative")
        pool = _pool(request)
        looked = await self._browsing.look(dataset)
        chosen = index.choose(looked.pictures, offset=offset, limit=limit, label=label, pool=pool, negative=negative)
        shown = [_shown(number, picture) for number, picture in chosen.pictures]
        return answer(PicturesAnswer(pictures=shown, offset=offset, total=chosen.total))

    async def picture(self, request: web.Request) -> web.Response:
        """One picture as a JPEG."""
        dataset = await self._dataset(request)
        size = request.query.get("size", "full")
        if size not in ("full", "thumb"):
            raise UserError("bad_parameter", f"size must be full or thumb, not {size[:40]!r}.", "size")
        jpeg = await self._browsing.jpeg(dataset, int(request.match_info["index"]), thumb=size == "thumb")
        if (known := unchanged(request, jpeg.tag, _KEPT)) is not None:
            return known
        response = web.Response(body=jpeg.data, content_type="image/jpeg", headers=_KEPT)
        response.etag = jpeg.tag
        return response

    async def statistics(self, request: web.Request) -> web.Response:
        """Boxes and pictures by label and pool, sizes of boxes and pictures."""
        dataset = await self._dataset(request)
        looked = await self._browsing.look(dataset)
        return answer(findings.statistics(looked.pictures, looked.contents, dataset.bytes))

    async def _dataset(self, request: web.Request) -> DatasetView:
        who = require(request, "viewer")
        dataset_id = request.match_info["id"]
        dataset = await self._store.view(seen_by(who), dataset_id)
        if dataset is None:
            raise NotFound("dataset", dataset_id)
        return dataset


def _shown(number: int, picture: IndexedPicture) -> DatasetPicture:
    return DatasetPicture(
        index=number,
        name=picture.name,
        pool=picture.pool,
        width=picture.width,
        height=picture.height,
        boxes=[
            TrueBox(label=box.label, xmin=box.xmin, ymin=box.ymin, xmax=box.xmax, ymax=box.ymax)
            for box in picture.boxes
        ],
    )


def _label(request: web.Request, dataset: DatasetView) -> str | None:
    label = request.query.get("label")
    known = [known.name for known in dataset.labels]
    if label is not None and label not in known:
        message = f"label must be one of {findings.named(known)}, not {label[:40]!r}."
        raise UserError("bad_parameter", message, "label")
    return label


def _pool(request: web.Request) -> Pool | None:
    pool = request.query.get("pool")
    match pool:
        case None | "train" | "eval":
            return pool
        case _:
            raise UserError("bad_parameter", f"pool must be train or eval, not {pool[:40]!r}.", "pool")


def _flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "false")
    if value not in _FLAGS:
        raise UserError("bad_parameter", f"{name} must be true or false, not {value[:40]!r}.", name)
    return _FLAGS[value]
