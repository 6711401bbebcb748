"""HTTP: how every service reads a request, answers it and says no.

Owns the middlewares (identity, errors as `{"error": {...}}`, one log line a request), JSON in and out of structs, and the three
operational routes. Knows no service; handlers get a Principal and raise UserError.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from shared.contract.errors import UserError
from shared.runtime import auth, log
from shared.runtime.auth import Principal
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing

COOKIE = "trainyard_token"
PRINCIPAL = web.RequestKey("principal", Principal)
_OPEN_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LARGEST_BODY = 1 << 20
_LONGEST_KEY = 200

T = TypeVar("T")
Ready = Callable[[], Awaitable[Mapping[str, str]]]


def application(
    *, secret: str, metrics: Metrics, tracing: Tracing, problems: Ready, allowed_origins: str = ""
) -> web.Application:
    """An application with the common middlewares and /healthz, /readyz, /metrics.

    `problems` returns what keeps the service from being ready, by part (empty: ready). Bodies are limited to 1 MiB;
    a route that takes more streams it and counts for itself.
    """
    origins = frozenset(origin.strip() for origin in allowed_origins.split(",") if origin.strip())
    app = web.Application(
        middlewares=[_observe(metrics, tracing), _refusals(), _identity(secret, origins)], client_max_size=_LARGEST_BODY
    )

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        found = dict(await problems())
        status = {"status": "not ready", "problems": found} if found else {"status": "ready"}
        return web.json_response(status, status=503 if found else 200)

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), content_type="text/plain", charset="utf-8")

    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposition)])
    return app


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON response of structs, mappings and lists."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json", headers=dict(headers or {})
    )


async def body(request: web.Request, kind: type[T]) -> T:
    """The request's JSON body as a struct. Raises UserError `bad_request` that names the field."""
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.strip("`.") or None
        raise UserError("bad_request", message, field) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError("bad_json", f"The body is not JSON: {error}") from error


def principal(request: web.Request) -> Principal:
    """Who makes the request."""
    return request[PRINCIPAL]


def whole_number(request: web.Request, name: str, default: int, lowest: int, highest: int) -> int:
    """A query parameter as an int. Raises UserError `bad_parameter` naming the field, the value and the limits."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError as error:
        raise UserError("bad_parameter", f"{name} must be a whole number, not {text[:40]!r}.", name) from error
    if not lowest <= value <= highest:
        raise UserError("bad_parameter", f"{name} must be from {lowest} to {highest}; it is {value}.", name)
    return value


def creation_id(request: web.Request, team: str) -> str:
    """The id of what a POST creates: the same for the same team and Idempotency-Key, else a new one.

    Creating by id makes a repeated request find what the first one made. Raises UserError for a key over 200 characters.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return uuid.uuid4().hex
    if not 1 <= len(key) <= _LONGEST_KEY:
        raise UserError(
            "bad_parameter",
            f"Idempotency-Key must have 1 to {_LONGEST_KEY} characters; it has {len(key)}.",
            "Idempotency-Key",
        )
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{team}\n{request.path}\n{key}").hex


def _identity(secret: str, origins: frozenset[str]) -> Middleware:
    @web.middleware
    async def identity(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _OPEN_ROUTES:
            return await handler(request)
        header = request.headers.get("Authorization", "")
        if header.startswith("Bearer "):
            request[PRINCIPAL] = auth.verify(secret, header.removeprefix("Bearer ").strip())
        elif (cookie := request.cookies.get(COOKIE)) is not None:
            # A browser sends the cookie whoever asked it to: a foreign page must not act or listen with it.
            if request.method not in _SAFE_METHODS or "Upgrade" in request.headers:
                _same_origin(request, origins)
            request[PRINCIPAL] = auth.verify(secret, cookie)
        elif not (request.path == "/api/session" and request.method == "POST"):
            raise UserError("unauthorized", "Send a token: `Authorization: Bearer …`.", status=401)
        return await handler(request)

    return identity


def _same_origin(request: web.Request, origins: frozenset[str]) -> None:
    origin = request.headers.get("Origin")
    if origin is None or origin in origins or urlsplit(origin).netloc == request.host:
        return
    raise UserError("wrong_origin", f"Requests from {origin} are not accepted here.", "Origin", status=403)


def _refusals() -> Middleware:
    logger = log.get("web")

    @web.middleware
    async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except UserError as error:
            return _refusal(error)
        except web.HTTPRequestEntityTooLarge:
            return _refusal(UserError("body_too_large", f"The body is larger than {_LARGEST_BODY} bytes.", status=413))
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return _refusal(
                UserError(
                    error.reason.lower().replace(" ", "_"), f"{error.reason}: {request.path}", status=error.status
                )
            )
        except Exception as error:  # the last resort: logged with its trace, told without its innards
            logger.exception("request.failed", error=repr(error))
            return _refusal(
                UserError("internal_error", "Something went wrong here; it has been logged. Try again.", status=500)
            )

    return refusals


def _refusal(error: UserError) -> web.Response:
    content: dict[str, object] = {"code": error.code, "message": error.message, "field": error.field}
    if error.details:
        content["details"] = error.details
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return answer({"error": content}, status=error.status, headers=headers)


def _observe(metrics: Metrics, tracing: Tracing) -> Middleware:
    logger = log.get("web")

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unmatched"
        if route in _OPEN_ROUTES:
            return await handler(request)
        with (
            log.bound(request=uuid.uuid4().hex[:12]),
            tracing.span(f"{request.method} {route}", request.headers),
            metrics.requests.labels(request.method, route, "any").time(),
        ):
            response = await handler(request)
            logger.info("request.answered", method=request.method, path=request.path, status=response.status)
            return response

    return observe
