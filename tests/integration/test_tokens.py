"""Tokens for scripts and devices: made at the scheduler, good in every service, and in none within seconds of being revoked."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from services.scheduler.tokens import TokenStore
from shared.contract.api.tokens import TokenRequest
from shared.contract.errors import NotFound, Reject, Stale, UserError
from shared.contract.events import MembersAsked, Message, TeamChanged, TokensChanged
from shared.contract.stream import CLOSE_FORBIDDEN, REASON_REVOKED
from shared.contract.wire import Envelope, decode
from shared.runtime.auth import Principal, TokenId, verify
from shared.runtime.mongo import Store
from shared.runtime.outbox import FIELD
from shared.runtime.tokens import TokenLists
from tests.support.running import SECRET, Caller, Service
from tests.support.scheduling import Platform
from tests.support.stream_client import StreamClient, connected
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)
NOW = datetime(2026, 3, 14, 10, tzinfo=UTC)
BO = Principal(team="demo", role="member", name="Bo")
ADA = Principal(team="demo", role="mentor", name="Ada")


def envelope(body: Message, team: str) -> Envelope:
    return Envelope(id=uuid.uuid4().hex, time=NOW, source="scheduler", team=team, body=body)


@pytest_asyncio.fixture
async def databases(mongo_url: str, mongo_prefix: str) -> AsyncIterator[Store]:
    client = Store(mongo_url, mongo_prefix)
    yield client
    client.close()


# --- the list at the scheduler -----------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def tokens(databases: Store) -> TokenStore:
    store = TokenStore(databases.database("scheduler"), envelope)
    await store.prepare()
    return store


async def make(tokens: TokenStore, name: str, request: str = "", now: datetime = NOW, who: Principal = BO) -> str:
    """The id of a token with that id, or of the one that the same request made before."""
    asked = TokenRequest(name="robot", days=1)
    return (await tokens.make(who, asked, now, identifier=name, request=request or name)).id


async def facts(tokens: TokenStore) -> list[TokensChanged]:
    """What waits in the outbox, in order."""
    document = await tokens.collection.find_one({"_id": "demo"})
    assert document is not None
    bodies = [decode(bytes(entry["data"])).body for entry in document[FIELD]]
    return [body for body in bodies if isinstance(body, TokensChanged)]


async def test_each_change_is_told_in_the_write_that_makes_it(tokens: TokenStore) -> None:
    assert await tokens.lists() == []
    assert await tokens.live("demo", NOW) == ([], {})
    assert await tokens.lists() == []
    await make(tokens, "t1")
    assert await make(tokens, "t1") == "t1"  # repeated: nothing is written
    await make(tokens, "t2", who=ADA)
    with pytest.raises(NotFound):
        await tokens.revoke(BO, "t2", NOW)
    assert (await tokens.revoke(ADA, "t1", NOW)).made_by == "Bo"
    assert [(fact.version, fact.tokens) for fact in await facts(tokens)] == [
        (1, ["t1"]),
        (2, ["t1", "t2"]),
        (3, ["t2"]),
    ]
    assert await tokens.lists() == [("demo", TokensChanged(tokens=["t2"], version=3))]
    # Here a token that isn't listed is no good, whatever version it names: nobody could revoke it.
    for identifier, listed, revoked in (("t2", 2, False), ("t1", 1, True), ("t9", 9, True)):
        assert await tokens.revoked("demo", TokenId(id=identifier, listed=listed)) is revoked
    assert await tokens.revoked("another", TokenId(id="t2", listed=2))
    (key,), _ = await tokens.live("demo", NOW)
    assert key.listed == 2


async def test_changes_at_once_are_all_told_and_twenty_is_the_most(tokens: TokenStore) -> None:
    outcomes = await asyncio.gather(*(make(tokens, f"t{number}") for number in range(16)), return_exceptions=True)
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    repeated = await asyncio.gather(*(make(tokens, f"n{number}", "the same request") for number in range(3)))
    assert len(set(repeated)) == 1
    for number in range(3):
        await make(tokens, f"u{number}")
    assert len((await facts(tokens))[-1].tokens) == 20
    with pytest.raises(UserError, match="20 live tokens"):
        await make(tokens, "one too many")
    assert [fact.version for fact in await facts(tokens)] == list(range(1, 21))
    # Tomorrow they have expired: there is room, and the list holds nothing that is over.
    await make(tokens, "tomorrow", now=NOW + timedelta(days=1))
    assert (await facts(tokens))[-1] == TokensChanged(tokens=["tomorrow"], version=21)


async def test_whoever_leaves_leaves_room(tokens: TokenStore) -> None:
    for number in range(19):
        await make(tokens, f"t{number}")
    await make(tokens, "a", who=ADA)
    assert len(await tokens.revoke_all("demo", "Bo", NOW)) == 19
    assert await tokens.revoke_all("demo", "Bo", NOW) == []  # repeated: nothing is written
    assert (await facts(tokens))[-1] == TokensChanged(tokens=["a"], version=21)
    await make(tokens, "b", who=ADA)


async def test_the_newest_day_of_use_stays_until_the_token_goes(tokens: TokenStore) -> None:
    await make(tokens, "t1")
    for day in (14, 16, 15):
        await tokens.used("demo", "t1", date(2026, 3, day))
    await tokens.used("demo", "unknown", date(2026, 3, 14))
    assert (await tokens.live("demo", NOW))[1] == {"t1": date(2026, 3, 16)}
    await make(tokens, "t2")
    assert (await tokens.live("demo", NOW))[1] == {"t1": date(2026, 3, 16)}
    await tokens.revoke(BO, "t1", NOW)
    assert (await tokens.live("demo", NOW))[1] == {}


# --- a service's copy --------------------------------------------------------------------------------------------------


async def test_a_copy_keeps_the_newest_list(databases: Store) -> None:
    lists = TokenLists(databases.database("dataset"))
    assert await lists.of("demo") is None
    newest = TokensChanged(tokens=["t2"], version=4)
    await lists.fold(envelope(TokensChanged(tokens=["t1"], version=1), "demo"))
    await lists.fold(envelope(newest, "demo"))
    for late in (newest, TokensChanged(tokens=["t1", "t2"], version=3)):
        with pytest.raises(Stale, match=f"version {late.version} of the tokens of demo"):
            await lists.fold(envelope(late, "demo"))
    assert await lists.of("demo") == newest
    with pytest.raises(Reject, match=r"members\.asked\.v1"):
        await lists.fold(envelope(MembersAsked(), ""))


# --- the services ------------------------------------------------------------------------------------------------------


class Script:
    """Something that has a token, at the three services."""

    def __init__(self, platform: Platform, status: Service, secret: str) -> None:
        self._platform, self._status = platform, status
        self.secret = secret
        self.call = Caller(platform.session, secret)

    async def statuses(self) -> list[int]:
        paths = (
            f"{self._platform.scheduler.url}/api/session",
            f"{self._platform.dataset.url}/api/datasets",
            f"{self._status.url}/api/models",
        )
        return [(await self.call("GET", path))[0] for path in paths]

    async def until_statuses(self, wanted: int) -> None:
        async def look() -> bool:
            return await self.statuses() == [wanted] * 3

        await until(look, 10)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[StreamClient]:
        headers = {"Authorization": f"Bearer {self.secret}"}
        async with connected(self._platform.session, f"{self._status.url}/api/ws", headers=headers) as client:
            yield client


async def test_a_token_s_whole_life(platform: Platform, status: Service, databases: Store) -> None:
    address = f"{platform.scheduler.url}/api/team/tokens"
    bo, ada, di = platform.caller("member", "Bo"), platform.caller("mentor", "Ada"), platform.caller("viewer", "Di")
    asked = {"name": "my robot", "days": 7}
    key = {"Idempotency-Key": "k1"}

    # Made, once, however often it is asked for; nobody else gets it for the same key.
    code, made = await bo("POST", address, asked, headers=key)
    assert (code, made["token"]["name"], made["token"]["made_by"]) == (201, "my robot", "Bo")
    identifier, secret = made["token"]["id"], made["secret"]
    assert await bo("POST", address, asked, headers=key) == (201, made)
    assert (await bo("POST", address, {"name": "x"}, headers=key))[1]["error"]["code"] == "idempotency_key_reused"
    assert (await ada("POST", address, {**asked, "role": "mentor"}, headers=key))[1]["secret"] != secret
    who = verify(SECRET, secret)
    assert (who.team, who.name, who.role, who.token) == ("demo", "Bo", "member", TokenId(id=identifier, listed=1))
    for caller, body, error in (
        (bo, {"name": ""}, "bad_name"),
        (bo, {"name": "a", "days": 366}, "bad_days"),
        (bo, {"name": "a", "role": "mentor"}, "bad_role"),
        (bo, {"name": "a", "role": "admin"}, "bad_request"),
        (di, {"name": "a", "role": "viewer"}, "forbidden"),
    ):
        assert (await caller("POST", address, body))[1]["error"]["code"] == error

    # Used everywhere; no service has to have heard of it first, and it makes no other.
    script = Script(platform, status, secret)
    assert await script.statuses() == [200, 200, 200]
    assert (await script.call("POST", address, asked))[0] == 403
    mentors = Script(platform, status, (await ada("POST", address, {"name": "m", "role": "mentor"}))[1]["secret"])
    put = f"{platform.scheduler.url}/api/team/members/Eve"
    assert (await mentors.call("PUT", put, {"role": "mentor"}))[1]["error"]["field"] == "token"

    # Seen: one's own by a member, all by a mentor, with the day of use, whichever service saw it.
    async def used() -> dict[str, Any] | None:
        content = (await ada("GET", address))[1]
        found = {token["name"]: token for token in content["tokens"] if token["made_by"] == "Bo"}
        return content if found["my robot"]["last_used"] is not None else None

    content = await until(used)
    assert (content["live"], content["limit"], len(content["tokens"])) == (3, 20, 3)
    assert "secret" not in str(content)
    (mine,) = (await bo("GET", address))[1]["tokens"]
    assert mine["last_used"] == datetime.now(UTC).date().isoformat()
    assert (await di("GET", address))[1]["tokens"] == []

    # Bounded by what its maker may do now.
    await platform.api("PUT", "/team/members/Bo", {"role": "viewer"})
    assert [token["present_role"] for token in (await ada("GET", address))[1]["tokens"]] == [
        "mentor",
        "mentor",
        "viewer",
    ]
    assert (await script.call("GET", f"{platform.scheduler.url}/api/session"))[1]["role"] == "viewer"
    await platform.api("PUT", "/team/members/Bo", {"role": "member"})

    # Revoked: out of the open websocket, and out of everything.
    async with script.watching() as client:
        assert not isinstance(await client.frame(), int)
        assert (await di("DELETE", f"{address}/{identifier}"))[0] == 404
        assert (await bo("DELETE", f"{address}/{identifier}"))[0] == 204
        assert (await client.closed(5), client.reason) == (CLOSE_FORBIDDEN, REASON_REVOKED)
    await script.until_statuses(401)
    code, content = await script.call("GET", f"{platform.dataset.url}/api/datasets")
    assert content["error"]["code"] == "token_revoked"
    async with script.watching() as client:
        assert (await client.closed(), client.reason) == (CLOSE_FORBIDDEN, REASON_REVOKED)
    assert (await bo("DELETE", f"{address}/{identifier}"))[0] == 404
    # Others are as they were: another token, and the person's own.
    assert await mentors.statuses() == [200, 200, 200]
    assert (await bo("GET", f"{platform.dataset.url}/api/datasets"))[0] == 200

    # Who leaves takes their tokens along, and doesn't get them back with their place.
    leaving = (await bo("POST", address, {"name": "arm"}))[1]
    await platform.api("DELETE", "/team/members/Bo", expect=204)
    assert leaving["token"]["id"] not in [token["id"] for token in (await ada("GET", address))[1]["tokens"]]
    await platform.api("PUT", "/team/members/Bo", {"role": "member"})
    await Script(platform, status, leaving["secret"]).until_statuses(401)
    # One that may only look ends none but itself.
    looks = (await ada("POST", address, {"name": "screen", "role": "viewer"}))[1]
    screen = Script(platform, status, looks["secret"])
    assert (await screen.call("DELETE", f"{address}/{who_is(mentors)}"))[0] == 403
    assert (await screen.call("DELETE", f"{address}/{looks['token']['id']}"))[0] == 204

    # A service with an empty store asks for the lists.
    assert await asyncio.to_thread(platform.dataset.end) == 0
    await databases.database("dataset").drop_collection("tokens")
    await platform.dataset.start()
    await script.until_statuses(401)

    acts = [(entry["act"], entry["by"], entry["outcome"]) for entry in (await audit(platform))]
    assert ("token.make", "demo/Bo", "done") in acts
    assert ("token.revoke", "demo/Bo", "done") in acts
    by_itself = next(entry for entry in await audit(platform) if entry["target"] == f"demo/{looks['token']['id']}")
    assert by_itself["details"] == {"token": looks["token"]["id"], "name": "screen", "made_by": "Ada"}
    assert ("token.revoke", "demo/Di", "not_found") in acts
    assert secret not in str(await audit(platform))


def who_is(script: Script) -> str:
    """The id of a script's token."""
    token = verify(SECRET, script.secret).token
    assert token is not None
    return token.id


async def test_pages_are_told_that_there_is_something_to_see(platform: Platform) -> None:
    robots = platform.of_team("robots")

    async def told_after(act: Awaitable[Any]) -> None:
        before = len(versions())
        found = await act
        await until(lambda: len(versions()) > before)
        assert versions() == sorted(set(versions()))
        made.append(found)

    def versions() -> list[int]:
        return [e.body.team.version for e in platform.facts if e.team == "robots" and isinstance(e.body, TeamChanged)]

    made: list[Any] = []
    await told_after(robots.api("POST", "/team/tokens", {"name": "arm"}, expect=201))
    await told_after(robots.api("DELETE", f"/team/tokens/{made[0]['token']['id']}", expect=204))
    await told_after(robots.api("PUT", "/team/members/Cy", {"role": "viewer"}))
    await told_after(robots.api("DELETE", "/team/members/Cy", expect=204))


async def audit(platform: Platform) -> list[dict[str, Any]]:
    operator = platform.caller("admin", "Ops")
    entries: list[dict[str, Any]] = (await operator("GET", f"{platform.scheduler.url}/api/admin/audit"))[1]["entries"]
    return entries
