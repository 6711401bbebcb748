"""HTTP: how every service reads a request, answers it and says no.

Owns the middlewares (identity, errors as `{"error": {...}}`, one log line a request), JSON in and out of structs, and the three
operational routes. Knows no service; handlers get a Principal and raise UserError.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.hdrs import METH_ALL
from aiohttp.typedefs import Handler, Middleware

from shared.contract.api.errors import ErrorAnswer, ErrorBody
from shared.contract.errors import Retry, UserError
from shared.runtime import auth, log
from shared.runtime.auth import Principal, Role
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing

COOKIE = "trainyard_token"
PRINCIPAL = web.RequestKey("principal", Principal)
_OPEN_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LARGEST_BODY = 1 << 20
_OUTAGE_RETRY_SECONDS = 5
_LONGEST_KEY = 200

T = TypeVar("T")
Ready = Callable[[], Awaitable[Mapping[str, str]]]


def application(
    *,
    secret: str | None,
    metrics: Metrics,
    tracing: Tracing,
    problems: Ready,
    allowed_origins: str = "",
    outages: Sequence[type[Exception]] = (),
) -> web.Application:
    """An application with the common middlewares and /healthz, /readyz, /metrics.

    Without a `secret` nobody can be known, so there is nothing but these three: any other route is a 404.
    `problems` returns what keeps the service from being ready, by part (empty: ready). Bodies are limited to 1 MiB;
    a route that takes more streams it and counts for itself. `outages` are exceptions that mean that something behind the
    service can't be reached just now: a 503 with a Retry-After.
    """
    origins = frozenset(origin.strip() for origin in allowed_origins.split(",") if origin.strip())
    app = web.Application(
        middlewares=[_observe(metrics, tracing), _refusals((Retry, *outages)), _identity(secret, origins)],
        client_max_size=_LARGEST_BODY,
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
        message, field = _explain(str(error))
        raise UserError("bad_request", message, field) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError("bad_json", f"The body is not JSON: {error}") from error


def _explain(problem: str) -> tuple[str, str | None]:
    """What msgspec says about a body, as a sentence that names the field, and the field: `datasets[0].id`."""
    message, _, path = problem.partition(" - at ")
    where = re.search(r"`\$([^`]*)`$", path)
    field = where[1].lstrip(".") if where else ""
    named = re.match(r"Object (?:missing required|contains unknown) field `([^`]*)`", message)
    if named:
        field = f"{field}.{named[1]}".lstrip(".")
    return (f"{field}: {message}", field) if field else (message, None)


def principal(request: web.Request) -> Principal:
    """Who makes the request."""
    return request[PRINCIPAL]


def require(request: web.Request, role: Role) -> Principal:
    """Who makes the request. Raises UserError `forbidden` (403) unless that principal's role includes `role`."""
    who = principal(request)
    auth.require(who, role)
    return who


def unchanged(request: web.Request, tag: str, headers: Mapping[str, str]) -> web.Response | None:
    """The answer (304) to a client that already has what the strong `tag` names, None for anybody else. A proxy that packs
    answers makes the tag that a client sends back a weak one."""
    if not any(known.value in (tag, "*") for known in request.if_none_match or ()):
        return None
    response = web.Response(status=304, headers=headers)
    response.etag = tag
    return response


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

    Creating by id makes a repeated request find what the first one made. Raises UserError for a key that isn't
    1 to 200 ASCII characters.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return uuid.uuid4().hex
    if not (1 <= len(key) <= _LONGEST_KEY and key.isascii()):
        raise UserError(
            "bad_parameter",
            f"Idempotency-Key must have 1 to {_LONGEST_KEY} ASCII characters; it has {len(key)}: {key[:20]!a}.",
            "Idempotency-Key",
        )
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{team}\n{request.path}\n{key}").hex


def _identity(secret: str | None, origins: frozenset[str]) -> Middleware:
    @web.middleware
    async def identity(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _OPEN_ROUTES:
            return await handler(request)
        if secret is None:
            raise web.HTTPNotFound
        signs_in = request.path == "/api/session" and request.method == "POST"
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            request[PRINCIPAL] = auth.verify(secret, token.strip())
        elif (cookie := request.cookies.get(COOKIE)) is not None:
            # A browser sends the cookie whoever asked it to: a foreign page must not act or listen with it.
            if request.method not in _SAFE_METHODS or "Upgrade" in request.headers:
                _same_origin(request, origins)
            # Whoever signs in is who the new token says, however little the old one is good for any more.
            if not signs_in:
                request[PRINCIPAL] = auth.verify(secret, cookie)
        elif not signs_in:
            raise UserError("unauthorized", "Send a token: `Authorization: Bearer …`.", status=401)
        return await handler(request)

    return identity


def _same_origin(request: web.Request, origins: frozenset[str]) -> None:
    origin = request.headers.get("Origin")
    if origin is None or origin in origins or urlsplit(origin).netloc == request.host:
        return
    raise UserError("wrong_origin", f"Requests from {origin} are not accepted here.", "Origin", status=403)


def _refusals(outages: tuple[type[Exception], ...]) -> Middleware:
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
            code = error.reason.lower().replace(" ", "_")
            refusal = _refusal(UserError(code, f"{error.reason}: {request.path}", status=error.status))
            if "Allow" in error.headers:
                refusal.headers["Allow"] = error.headers["Allow"]
            return refusal
        except outages as error:
            logger.warning("request.delayed", error=repr(error)[:300])
            return _refusal(
                UserError(
                    "unavailable",
                    "Part of Trainyard can't be reached just now. Try again in a moment.",
                    status=503,
                    retry_after=_OUTAGE_RETRY_SECONDS,
                )
            )
        except Exception as error:  # the last resort: logged with its trace, told without its innards
            logger.exception("request.failed", error=repr(error))
            return _refusal(
                UserError("internal_error", "Something went wrong here; it has been logged. Try again.", status=500)
            )

    return refusals


def _refusal(error: UserError) -> web.Response:
    details = error.details or msgspec.UNSET
    content = ErrorBody(code=error.code, message=error.message, field=error.field, details=details)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return answer(ErrorAnswer(error=content), status=error.status, headers=headers)


def _observe(metrics: Metrics, tracing: Tracing) -> Middleware:
    logger = log.get("web")

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unmatched"
        if route in _OPEN_ROUTES:
            return await handler(request)
        # Anybody may send any word as a method: each must not become a time series of its own.
        method = request.method if request.method in METH_ALL else "other"
        status = "aborted"
        with (
            log.bound(request=uuid.uuid4().hex[:12]),
            tracing.span(f"{method} {route}", request.headers),
            metrics.requests.time() as timer,
        ):
            try:
                response = await handler(request)
                status = str(response.status)
                logger.info("request.answered", method=request.method, path=request.path, status=response.status)
                return response
            except web.HTTPException as redirect:
                status = str(redirect.status)
                raise
            finally:
                timer.labels(method, route, status)

    return observe
