"""Resumable uploads over HTTP: tus 1.0.0 (https://tus.io/protocols/resumable-upload), with its extensions creation,
termination and expiration.

Owns the protocol alone: headers, statuses, methods. Where the bytes are kept is uploads.py's. A finished upload is imported by
`POST /api/datasets?upload=<id>`, as if it were that request's body.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from functools import partial

from aiohttp import web

from services.dataset.receiving import received, to_end
from services.dataset.uploads import Progress, Uploads
from shared.contract.errors import UserError
from shared.runtime.web import creation_id, require

VERSION = "1.0.0"
EXTENSIONS = "creation,termination,expiration"
PATH = "/api/datasets/uploads"
CHUNK_TYPE = "application/offset+octet-stream"
MAX_METADATA = 4096  # characters; it is sent back with each HEAD
_ONE = PATH + "/{upload:[0-9a-f]{32}}"
_WRITE_BYTES = 1 << 20
_LARGEST_NUMBER = 2**53

Handler = Callable[[web.Request], Awaitable[web.Response]]


class TusRoutes:
    """The handlers; `silence_seconds` is how long a request may bring nothing."""

    def __init__(self, uploads: Uploads, silence_seconds: float) -> None:
        self._uploads = uploads
        self._silence_seconds = silence_seconds
        self._stopping = False

    def register(self, app: web.Application) -> None:
        """Add the routes, and the protocol's header to whatever they answer, refusals too."""
        app.add_routes(
            [
                web.options(PATH, self.options),
                web.post(PATH, self._of_this_version(self.create)),
                web.head(_ONE, self._of_this_version(self.look)),
                web.patch(_ONE, self._of_this_version(self.append)),
                web.delete(_ONE, self._of_this_version(self.terminate)),
                web.post(_ONE, self._of_this_version(self.override)),
            ]
        )
        app.on_response_prepare.append(_mark)

    async def stop(self) -> None:
        """Let requests under way end after what they have brought."""
        self._stopping = True

    async def options(self, request: web.Request) -> web.Response:
        """What this server can do."""
        require(request, "viewer")
        headers = {
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(self._uploads.max_bytes),
        }
        return web.Response(status=204, headers=headers)

    async def create(self, request: web.Request) -> web.Response:
        """Begin an upload of `Upload-Length` bytes."""
        team, length, metadata = _team(request), _number(request, "Upload-Length"), _metadata(request)
        upload_id = creation_id(request, team)
        progress = await asyncio.to_thread(self._uploads.create, team, upload_id, length, metadata)
        headers = {"Location": f"{PATH}/{progress.about.id}", "Upload-Expires": _date(progress)}
        return web.Response(status=201, headers=headers)

    async def look(self, request: web.Request) -> web.Response:
        """How far an upload is."""
        return _progress(await self._find(request), status=200)

    async def append(self, request: web.Request) -> web.Response:
        """Take the body as the upload's bytes from `Upload-Offset` on; what has come of it stays when the connection breaks."""
        if request.content_type != CHUNK_TYPE:
            message = f"Send the bytes with Content-Type {CHUNK_TYPE}, not {request.content_type}."
            raise UserError("unsupported_media_type", message, "Content-Type", status=415)
        team, upload_id = _team(request), request.match_info["upload"]
        offset = _number(request, "Upload-Offset")
        length = (await self._find(request)).about.length
        waiting = bytearray()
        with self._uploads.appending(team, upload_id, offset) as file:
            try:
                async for piece in received(request, self._silence_seconds):
                    offset += len(piece)
                    if offset > length:
                        message = f"The body goes beyond Upload-Length, which is {length:,} bytes."
                        raise UserError("upload_too_long", message, "Upload-Offset", status=413)
                    waiting += piece
                    if len(waiting) >= _WRITE_BYTES:
                        full, waiting = waiting, bytearray()
                        await to_end(partial(file.write, full))
                    if self._stopping:
                        break  # the client sees by the offset that it is to send the rest again
            finally:
                file.write(waiting)
                file.flush()
        return _progress(await self._find(request), status=204)

    async def terminate(self, request: web.Request) -> web.Response:
        """Give an upload up."""
        await asyncio.to_thread(self._uploads.remove, _team(request), request.match_info["upload"])
        return web.Response(status=204)

    async def override(self, request: web.Request) -> web.Response:
        """For clients that can send nothing but GET and POST."""
        methods: dict[str, Handler] = {"PATCH": self.append, "DELETE": self.terminate, "HEAD": self.look}
        name = request.headers.get("X-HTTP-Method-Override", "")
        if name not in methods:
            raise web.HTTPMethodNotAllowed("POST", methods)
        return await methods[name](request)

    async def _find(self, request: web.Request) -> Progress:
        return await asyncio.to_thread(self._uploads.find, _team(request), request.match_info["upload"])

    def _of_this_version(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            spoken = request.headers.get("Tus-Resumable")
            if spoken != VERSION:
                message = f"Tus-Resumable must be {VERSION}, not {str(spoken)[:40]!r}."
                raise UserError("unsupported_version", message, "Tus-Resumable", status=412)
            return await handler(request)

        return handle


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    if request.path == PATH or request.path.startswith(f"{PATH}/"):
        response.headers["Tus-Resumable"] = VERSION
        if response.status == 412:
            response.headers["Tus-Version"] = VERSION


def _team(request: web.Request) -> str:
    who = require(request, "member")
    return who.team


def _number(request: web.Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdigit() and int(text[:17]) <= _LARGEST_NUMBER and len(text) < 17):
        message = f"{header} must be a whole number of bytes, 0 or more, not {text[:40]!r}."
        raise UserError("bad_parameter", message, header)
    return int(text)


def _metadata(request: web.Request) -> str:
    """The header as it stands, once it is what the protocol wants: `key base64,key base64`."""
    text = request.headers.get("Upload-Metadata", "")
    if len(text) > MAX_METADATA:
        message = f"Upload-Metadata has {len(text):,} characters; at most {MAX_METADATA:,} are allowed."
        raise UserError("bad_parameter", message, "Upload-Metadata")
    keys = set()
    for pair in text.split(",") if text else ():
        key, _, value = pair.strip().partition(" ")
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            message = f"Upload-Metadata has a value that isn't Base64: {value[:40]!r}."
            raise UserError("bad_parameter", message, "Upload-Metadata") from error
        if not key or not key.isascii() or key in keys:
            message = f"Upload-Metadata has an empty or repeated key: {key[:40]!r}."
            raise UserError("bad_parameter", message, "Upload-Metadata")
        keys.add(key)
    return text


def _progress(progress: Progress, *, status: int) -> web.Response:
    headers = {
        "Upload-Offset": str(progress.offset),
        "Upload-Length": str(progress.about.length),
        "Upload-Expires": _date(progress),
        "Cache-Control": "no-store",
    }
    if progress.about.metadata:
        headers["Upload-Metadata"] = progress.about.metadata
    return web.Response(status=status, headers=headers)


def _date(progress: Progress) -> str:
    return format_datetime(progress.expires, usegmt=True)
