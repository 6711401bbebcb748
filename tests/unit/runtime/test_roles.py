"""What a token's role is worth beside a team's list of members, and that no route can forget to ask."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from shared.contract.errors import UserError
from shared.contract.events import TokensChanged
from shared.runtime.auth import Principal, Role, TokenId, mint
from shared.runtime.metrics import Metrics
from shared.runtime.roles import Roles, Standing, bound, unrevoked
from shared.runtime.trace import Tracing
from shared.runtime.web import answer, application, principal, require

SECRET = "a secret of at least 32 characters"
OF_A_TEAM: tuple[Role, ...] = ("viewer", "member", "mentor")
Client = TestClient[web.Request, web.Application]


def who(role: Role) -> Principal:
    return Principal(team="demo", role=role, name="Bo", expires=datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize(("token", "listed"), list(itertools.product(OF_A_TEAM, OF_A_TEAM)))
def test_the_lower_of_token_and_list_counts(token: Role, listed: Role) -> None:
    lower = min(token, listed, key=OF_A_TEAM.index)
    bounded = bound(who(token), Standing(role=listed))
    assert bounded == who(lower)


@pytest.mark.parametrize("role", OF_A_TEAM)
def test_a_person_who_is_not_listed_has_the_token_s_role(role: Role) -> None:
    assert bound(who(role), Standing()) == who(role)


@pytest.mark.parametrize("role", OF_A_TEAM)
def test_a_former_member_is_told(role: Role) -> None:
    with pytest.raises(UserError) as caught:
        bound(who(role), Standing(former=True))
    assert (caught.value.status, caught.value.code) == (403, "forbidden")
    assert caught.value.message == "Bo is no longer a member of demo."


@pytest.mark.parametrize("role", ["admin", "service"])
def test_operators_and_services_are_on_no_team_s_list(role: Role) -> None:
    for standing in (Standing(role="viewer"), Standing(former=True)):
        assert bound(who(role), standing) == who(role)


def with_token(listed: int, identifier: str = "t1") -> Principal:
    return Principal(team="demo", role="member", name="Bo", token=TokenId(id=identifier, listed=listed))


@pytest.mark.parametrize(
    ("listed", "version", "ids", "good"),
    [
        (4, 4, ["t0", "t1"], True),
        (4, 9, ["t1"], True),
        (4, 3, ["t0"], True),  # a list from before it was made says nothing of it
        (4, 4, ["t0"], False),
        (4, 5, [], False),
    ],
)
def test_a_token_that_a_list_as_new_lacks_was_revoked(listed: int, version: int, ids: list[str], good: bool) -> None:
    told = TokensChanged(tokens=ids, version=version)
    if good:
        unrevoked(with_token(listed), told)
        return
    with pytest.raises(UserError) as caught:
        unrevoked(with_token(listed), told)
    assert (caught.value.status, caught.value.code, caught.value.field) == (401, "token_revoked", "token")


def test_without_an_id_or_without_a_list_nothing_is_revoked() -> None:
    unrevoked(who("member"), TokensChanged(tokens=[], version=9))
    unrevoked(with_token(1), None)


class List:
    """What the lists say; names that were looked up, and tokens that were let in."""

    def __init__(self) -> None:
        self.says = Standing()
        self.asked: list[tuple[str, str]] = []
        self.tokens: TokensChanged | None = None
        self.used: list[Principal] = []

    async def look(self, team: str, name: str) -> Standing:
        self.asked.append((team, name))
        return self.says

    async def look_at_tokens(self, team: str) -> TokensChanged | None:
        assert team == "demo"
        return self.tokens


@pytest.fixture
def members() -> List:
    return List()


@pytest_asyncio.fixture
async def client(members: List) -> AsyncIterator[Client]:
    async def problems() -> dict[str, str]:
        return {}

    async def whoami(request: web.Request) -> web.Response:
        return answer(principal(request))

    async def write(request: web.Request) -> web.Response:
        return answer(require(request, "member"))

    app = application(secret=SECRET, metrics=Metrics(), tracing=Tracing("test"), problems=problems)
    app.middlewares.append(Roles(members.look, members.look_at_tokens, members.used.append).middleware)
    app.add_routes([web.get("/api/me", whoami), web.post("/api/me", write)])
    async with TestClient(TestServer(app)) as made:
        yield made


def bearer(role: Role, listed: TokenId | None = None) -> dict[str, str]:
    token = mint(SECRET, team="demo", role=role, name="Bo", now=datetime.now(UTC), lifetime=None, token=listed)
    return {"Authorization": f"Bearer {token}"}


async def test_every_handler_gets_the_role_that_counts(client: Client, members: List) -> None:
    members.says = Standing(role="viewer")
    assert (await (await client.get("/api/me", headers=bearer("mentor"))).json())["role"] == "viewer"
    response = await client.post("/api/me", headers=bearer("mentor"))
    assert response.status == 403
    assert "needs the role member; you are viewer" in (await response.json())["error"]["message"]
    assert members.asked == [("demo", "Bo")] * 2
    # Looked at anew each time.
    members.says = Standing(role="mentor")
    assert (await client.post("/api/me", headers=bearer("mentor"))).status == 200


async def test_no_route_is_left_to_a_former_member(client: Client, members: List) -> None:
    members.says = Standing(former=True)
    for path in ("/api/me", "/api/nowhere"):
        response = await client.get(path, headers=bearer("mentor"))
        assert response.status == 403
        assert (await response.json())["error"]["code"] == "forbidden"
    assert (await client.get("/healthz")).status == 200
    assert (await client.get("/api/me")).status == 401
    assert (await client.get("/api/me", headers=bearer("admin"))).status == 200


async def test_a_revoked_token_is_no_good_at_any_route_and_no_use_of_it_counts(client: Client, members: List) -> None:
    headers = bearer("member", TokenId(id="t1", listed=1))
    assert (await client.get("/api/me", headers=headers)).status == 200
    assert [used.token for used in members.used] == [TokenId(id="t1", listed=1)]
    members.tokens = TokensChanged(tokens=[], version=2)
    for path in ("/api/me", "/api/nowhere"):
        response = await client.get(path, headers=headers)
        assert response.status == 401
        assert (await response.json())["error"]["code"] == "token_revoked"
    assert len(members.used) == 1
    # The person's own token is as good as it was.
    assert (await client.get("/api/me", headers=bearer("member"))).status == 200


async def test_a_script_s_token_has_the_present_role_of_its_maker(client: Client, members: List) -> None:
    members.says = Standing(role="viewer")
    response = await client.post("/api/me", headers=bearer("mentor", TokenId(id="t1", listed=1)))
    assert response.status == 403
    members.says = Standing(former=True)
    assert (await client.get("/api/me", headers=bearer("mentor", TokenId(id="t1", listed=1)))).status == 403
