"""HTTP: who is let in, how a request is read, and what each refusal says. A real server on loopback, no sleeping."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from shared.contract.errors import IllegalTransition, NotFound, Retry, UserError
from shared.runtime.auth import mint
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing
from shared.runtime.web import COOKIE, answer, application, body, creation_id, principal, whole_number

SECRET = "a-secret-of-more-than-32-characters"
TOKEN = mint(SECRET, team="demo", role="member", name="Ada", now=datetime(2026, 1, 1, tzinfo=UTC), lifetime=None)
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BROWSER = {"Cookie": f"{COOKIE}={TOKEN}"}

Client = TestClient[web.Request, web.Application]


class Pick(msgspec.Struct):
    """One of a body's parts."""

    id: str
    weight: int = 1


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """A body."""

    steps: int
    picks: list[Pick] = []
    limits: dict[int, int] = {}


async def order(request: web.Request) -> web.Response:
    return answer(await body(request, Order), status=201)


async def whoami(request: web.Request) -> web.Response:
    return answer(principal(request))


async def sign_in(_: web.Request) -> web.Response:
    return answer({"signed": "in"})


async def page(request: web.Request) -> web.Response:
    return answer({"limit": whole_number(request, "limit", 20, 1, 100)})


async def create(request: web.Request) -> web.Response:
    return answer({"id": creation_id(request, principal(request).team)})


async def refuse(request: web.Request) -> web.Response:
    match request.match_info["how"]:
        case "missing":
            raise NotFound("job", "j1")
        case "illegal":
            raise IllegalTransition("SUCCEEDED", "stop")
        case "later":
            raise UserError("queue_full", "5 jobs wait.", "jobs", status=429, details={"limit": 5}, retry_after=30)
        case "redirect":
            raise web.HTTPFound("/elsewhere")
        case "teapot":
            raise web.HTTPUnprocessableEntity
        case "store":
            raise LookupError("the store at 10.0.0.7 is away")
        case "conflict":
            raise Retry("it kept changing")
        case _:
            raise ZeroDivisionError("innards")


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(principal(request).team)
    await socket.close()
    return socket


class Problems:
    """What keeps the tested service from being ready."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    async def __call__(self) -> Mapping[str, str]:
        return self.found


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def problems() -> Problems:
    return Problems()


@pytest_asyncio.fixture
async def client(metrics: Metrics, problems: Problems) -> AsyncIterator[Client]:
    app = application(
        secret=SECRET,
        metrics=metrics,
        tracing=Tracing("test"),
        problems=problems,
        allowed_origins="https://train.example, https://other.example ,",
        outages=(LookupError,),
    )
    app.add_routes(
        [
            web.post("/api/orders", order),
            web.get("/api/me", whoami),
            web.post("/api/me", whoami),
            web.get("/api/page", page),
            web.post("/api/jobs", create),
            web.post("/api/datasets", create),
            web.get("/api/refuse/{how}", refuse),
            web.get("/api/ws", echo),
            web.post("/api/session", sign_in),
            web.get("/api/session", whoami),
        ]
    )
    # A cookie jar of its own would send what the server set; here each request says what it sends.
    async with TestClient(TestServer(app), cookie_jar=aiohttp.DummyCookieJar()) as made:
        yield made


async def error_of(response: aiohttp.ClientResponse, status: int) -> dict[str, Any]:
    assert response.status == status, await response.text()
    assert response.content_type == "application/json"
    content = await response.json()
    assert set(content) == {"error"}
    error: dict[str, Any] = content["error"]
    assert {"code", "message", "field"} <= set(error)
    return error


class TestOperationalRoutes:
    async def test_are_open_to_all(self, client: Client) -> None:
        assert await (await client.get("/healthz")).json() == {"status": "ok"}
        assert await (await client.get("/readyz")).json() == {"status": "ready"}
        response = await client.get("/metrics")
        assert response.status == 200
        assert "trainyard_messages_total" in await response.text()

    async def test_tell_what_keeps_the_service_from_being_ready(self, client: Client, problems: Problems) -> None:
        problems.found = {"broker": "can't be reached"}
        response = await client.get("/readyz")
        assert response.status == 503
        assert await response.json() == {"status": "not ready", "problems": {"broker": "can't be reached"}}
        assert (await client.get("/healthz")).status == 200


class TestIdentity:
    async def test_a_bearer_token_speaks_for_its_team(self, client: Client) -> None:
        for scheme in ("Bearer", "bearer"):
            response = await client.get("/api/me", headers={"Authorization": f"{scheme}  {TOKEN} "})
            assert await response.json() == {
                "team": "demo",
                "role": "member",
                "name": "Ada",
                "expires": None,
                "token": None,
            }

    async def test_without_a_token_nothing_is_told_not_even_what_exists(self, client: Client) -> None:
        for path in ("/api/me", "/api/nowhere", "/"):
            error = await error_of(await client.get(path), 401)
            assert error["code"] == "unauthorized"

    @pytest.mark.parametrize("sent", ["Basic YTpi", "Bearer", "Bearer nonsense", "Bearer \udcff.a.b", "Bearer Ünicode"])
    async def test_a_wrong_one_is_refused(self, client: Client, sent: str) -> None:
        error = await error_of(await client.get("/api/me", headers={"Authorization": sent}), 401)
        assert error["code"] == "unauthorized"

    async def test_without_a_secret_there_are_the_operational_routes_alone(
        self, metrics: Metrics, problems: Problems
    ) -> None:
        app = application(secret=None, metrics=metrics, tracing=Tracing("test"), problems=problems)
        app.add_routes([web.get("/api/me", whoami), web.post("/api/session", sign_in)])
        async with TestClient(TestServer(app)) as alone:
            assert (await alone.get("/healthz")).status == 200
            for path in ("/api/me", "/api/nowhere"):
                response = await alone.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
                assert (await error_of(response, 404))["code"] == "not_found"
            await error_of(await alone.post("/api/session"), 404)

    async def test_a_wrong_bearer_is_not_rescued_by_a_cookie(self, client: Client) -> None:
        await error_of(await client.get("/api/me", headers={"Authorization": "Bearer x", **BROWSER}), 401)

    async def test_a_cookie_is_as_good(self, client: Client) -> None:
        assert (await client.get("/api/me", headers=BROWSER)).status == 200
        await error_of(await client.get("/api/me", headers={"Cookie": f"{COOKIE}=nonsense"}), 401)

    async def test_a_cookie_that_is_no_longer_good_keeps_nobody_from_signing_in(self, client: Client) -> None:
        stale = {"Cookie": f"{COOKIE}=nonsense"}
        assert (await client.post("/api/session", headers=stale)).status == 200
        await error_of(await client.post("/api/session", headers={**stale, "Origin": "https://evil.example"}), 403)

    async def test_only_the_sign_in_itself_needs_none(self, client: Client) -> None:
        assert (await client.post("/api/session")).status == 200
        await error_of(await client.get("/api/session"), 401)


class TestOrigin:
    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "https://train.example.evil"]
    )
    async def test_a_foreign_page_cannot_act_with_the_cookie(self, client: Client, origin: str) -> None:
        error = await error_of(await client.post("/api/me", headers={**BROWSER, "Origin": origin}), 403)
        assert (error["code"], error["field"]) == ("wrong_origin", "Origin")
        assert origin in error["message"]

    @pytest.mark.parametrize("origin", ["https://train.example", "https://other.example"])
    async def test_an_allowed_page_can(self, client: Client, origin: str) -> None:
        assert (await client.post("/api/me", headers={**BROWSER, "Origin": origin})).status == 200

    async def test_our_own_page_can(self, client: Client) -> None:
        own = f"http://{client.host}:{client.port}"
        assert (await client.post("/api/me", headers={**BROWSER, "Origin": own})).status == 200
        assert (await client.post("/api/me", headers=BROWSER)).status == 200

    async def test_reading_is_not_acting(self, client: Client) -> None:
        headers = {**BROWSER, "Origin": "https://evil.example"}
        assert (await client.get("/api/me", headers=headers)).status == 200

    async def test_a_foreign_page_cannot_listen(self, client: Client) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/api/ws", headers={**BROWSER, "Origin": "https://evil.example"})
        assert refused.value.status == 403

    async def test_our_own_page_can_listen(self, client: Client) -> None:
        own = f"http://{client.host}:{client.port}"
        async with client.ws_connect("/api/ws", headers={**BROWSER, "Origin": own}) as socket:
            assert await socket.receive_str() == "demo"

    async def test_a_bearer_token_is_no_browser_s(self, client: Client) -> None:
        headers = {**BEARER, "Origin": "https://evil.example"}
        assert (await client.post("/api/me", headers=headers)).status == 200


class TestBody:
    async def test_is_read_into_a_struct(self, client: Client) -> None:
        sent = {"steps": 200, "picks": [{"id": "d1"}]}
        response = await client.post("/api/orders", json=sent, headers=BEARER)
        assert response.status == 201
        assert await response.json() == {"steps": 200, "picks": [{"id": "d1", "weight": 1}], "limits": {}}

    @pytest.mark.parametrize(
        ("sent", "field", "message"),
        [
            ("", "steps", "steps: Object missing required field `steps`"),
            ("{}", "steps", "steps: Object missing required field `steps`"),
            ('{"steps": "many"}', "steps", "steps: Expected `int`, got `str`"),
            ('{"steps": 1.5}', "steps", "steps: Expected `int`, got `float`"),
            ('{"steps": 1, "stpes": 2}', "stpes", "stpes: Object contains unknown field `stpes`"),
            ('{"steps": 1, "picks": [{}]}', "picks[0].id", "picks[0].id: Object missing required field `id`"),
            (
                '{"steps": 1, "picks": [{"id": "a"}, {"id": 7}]}',
                "picks[1].id",
                "picks[1].id: Expected `str`, got `int`",
            ),
            ('{"steps": 1, "limits": {"a": 1}}', "limits", "limits: Expected `int`, got `str`"),
            ('{"steps": 1, "limits": {"1": ""}}', "limits[...]", "limits[...]: Expected `int`, got `str`"),
            ("[]", None, "Expected `object`, got `array`"),
        ],
    )
    async def test_what_is_wrong_in_it_is_named(
        self, client: Client, sent: str, field: str | None, message: str
    ) -> None:
        error = await error_of(await client.post("/api/orders", data=sent, headers=BEARER), 400)
        assert error == {"code": "bad_request", "message": message, "field": field}

    @pytest.mark.parametrize(
        "sent", [b"steps=5", b'{"steps": ', b'{"steps": 1, "picks": [{"id": "\xff"}]}', b'{"x": ' * 100_000]
    )
    async def test_what_is_not_json_is_refused(self, client: Client, sent: bytes) -> None:
        error = await error_of(await client.post("/api/orders", data=sent, headers=BEARER), 400)
        assert error["code"] in {"bad_json", "bad_request"}
        assert error["message"]

    async def test_a_large_one_is_refused(self, client: Client) -> None:
        sent = io.BytesIO(b'{"steps": 1}' + b" " * (1 << 20))
        error = await error_of(await client.post("/api/orders", data=sent, headers=BEARER), 413)
        assert error["code"] == "body_too_large"
        assert "1048576" in error["message"]


class TestWholeNumber:
    @pytest.mark.parametrize(("query", "value"), [("", 20), ("?limit=1", 1), ("?limit=100", 100)])
    async def test_is_read(self, client: Client, query: str, value: int) -> None:
        assert await (await client.get(f"/api/page{query}", headers=BEARER)).json() == {"limit": value}

    @pytest.mark.parametrize(
        ("sent", "message"),
        [
            ("0", "limit must be from 1 to 100; it is 0."),
            ("101", "limit must be from 1 to 100; it is 101."),
            ("", "limit must be a whole number, not ''."),
            ("ten", "limit must be a whole number, not 'ten'."),
            ("1.0", "limit must be a whole number, not '1.0'."),
            ("9" * 5000, "limit must be a whole number, not '9999999999999999999999999999999999999999'."),
        ],
    )
    async def test_names_the_value_and_the_limits(self, client: Client, sent: str, message: str) -> None:
        error = await error_of(await client.get("/api/page", params={"limit": sent}, headers=BEARER), 400)
        assert error == {"code": "bad_parameter", "message": message, "field": "limit"}


class TestCreationId:
    async def create(self, client: Client, key: str | None, *, path: str = "/api/jobs", team: str = "demo") -> str:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        token = mint(SECRET, team=team, role="member", name="Ada", now=now, lifetime=None)
        headers = {"Authorization": f"Bearer {token}", **({} if key is None else {"Idempotency-Key": key})}
        response = await client.post(path, headers=headers)
        assert response.status == 200
        identifier: str = (await response.json())["id"]
        assert re.fullmatch(r"[0-9a-f]{32}", identifier)
        return identifier

    async def test_is_the_same_for_the_same_key(self, client: Client) -> None:
        assert await self.create(client, "k1") == await self.create(client, "k1")

    async def test_is_new_for_another_key_team_or_collection_and_without_a_key(self, client: Client) -> None:
        made = [
            await self.create(client, "k1"),
            await self.create(client, "k2"),
            await self.create(client, "k1", team="other"),
            await self.create(client, "k1", path="/api/datasets"),
            await self.create(client, None),
            await self.create(client, None),
        ]
        assert len(set(made)) == len(made)

    @pytest.mark.parametrize("key", ["", "k" * 201, "\udcff", "schlüssel"])
    async def test_a_key_has_its_limits(self, client: Client, key: str) -> None:
        error = await error_of(await client.post("/api/jobs", headers={**BEARER, "Idempotency-Key": key}), 400)
        assert (error["code"], error["field"]) == ("bad_parameter", "Idempotency-Key")
        assert "1 to 200" in error["message"]


class TestRefusals:
    async def get(self, client: Client, how: str) -> aiohttp.ClientResponse:
        return await client.get(f"/api/refuse/{how}", headers=BEARER, allow_redirects=False)

    @pytest.mark.parametrize("how", ["store", "conflict"])
    async def test_an_outage_behind_the_service_says_when_to_come_back(self, client: Client, how: str) -> None:
        response = await self.get(client, how)
        error = await error_of(response, 503)
        assert error["code"] == "unavailable"
        assert response.headers["Retry-After"] == "5"
        assert "10.0.0.7" not in error["message"]

    async def test_a_rule_s_refusal_is_told_whole(self, client: Client) -> None:
        response = await self.get(client, "later")
        assert response.headers["Retry-After"] == "30"
        error = await error_of(response, 429)
        assert error == {"code": "queue_full", "message": "5 jobs wait.", "field": "jobs", "details": {"limit": 5}}

    async def test_what_is_missing_and_what_is_illegal(self, client: Client) -> None:
        assert (await error_of(await self.get(client, "missing"), 404))["code"] == "not_found"
        illegal = await error_of(await self.get(client, "illegal"), 409)
        assert illegal["details"] == {"state": "SUCCEEDED", "trigger": "stop"}

    async def test_the_framework_s_own_refusals_look_the_same(self, client: Client) -> None:
        nowhere = await error_of(await client.get("/api/nowhere", headers=BEARER), 404)
        assert nowhere == {"code": "not_found", "message": "Not Found: /api/nowhere", "field": None}
        response = await client.delete("/api/orders", headers=BEARER)
        assert response.headers["Allow"] == "POST"
        assert (await error_of(response, 405))["code"] == "method_not_allowed"
        assert (await error_of(await self.get(client, "teapot"), 422))["code"] == "unprocessable_entity"

    async def test_a_redirect_is_none(self, client: Client) -> None:
        response = await self.get(client, "redirect")
        assert (response.status, response.headers["Location"]) == (302, "/elsewhere")

    async def test_a_bug_is_logged_and_not_shown(self, client: Client) -> None:
        with capture_logs() as logged:
            error = await error_of(await self.get(client, "bug"), 500)
        assert error["code"] == "internal_error"
        assert "innards" not in error["message"]
        (entry,) = [entry for entry in logged if entry["event"] == "request.failed"]
        assert entry["error"] == "ZeroDivisionError('innards')"
        assert entry["exc_info"] is True


async def test_requests_are_counted_by_route_and_status(client: Client, metrics: Metrics) -> None:
    await client.get("/api/refuse/missing", headers=BEARER)
    await client.get("/api/refuse/bug", headers=BEARER)
    await client.get("/api/refuse/redirect", headers=BEARER, allow_redirects=False)
    await client.get("/api/nowhere")
    await client.request("PROPFIND", "/api/nowhere")
    await client.get("/healthz")
    counts = {
        tuple(sample.labels[name] for name in ("method", "route", "status")): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "trainyard_http_seconds_count"
    }
    assert counts == {
        ("GET", "/api/refuse/{how}", "404"): 1,
        ("GET", "/api/refuse/{how}", "500"): 1,
        ("GET", "/api/refuse/{how}", "302"): 1,
        ("GET", "unmatched", "401"): 1,
        ("other", "unmatched", "401"): 1,
    }
