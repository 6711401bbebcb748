"""A member who is put, demoted or removed at the scheduler is held to it by every service within seconds."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from services.scheduler.books import Books
from services.scheduler.members import MemberStore
from services.scheduler.store import JobStore
from services.scheduler.teams import TeamStore
from shared.contract.api.teams import Member
from shared.contract.errors import Reject, Stale
from shared.contract.events import ListedMember, MembersAsked, MembersChanged, Message
from shared.contract.stream import CLOSE_FORBIDDEN
from shared.contract.wire import Envelope, decode
from shared.runtime.members import MemberLists
from shared.runtime.metrics import Metrics
from shared.runtime.mongo import Store
from shared.runtime.outbox import FIELD
from shared.runtime.roles import Standing
from tests.support.memory_bus import MemoryBroker, MemoryBus
from tests.support.running import Caller, Service
from tests.support.scheduling import Platform
from tests.support.stream_client import StreamClient, connected
from tests.support.voc import frames, write_zip
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)
NOW = datetime(2026, 3, 14, 10, tzinfo=UTC)
FORMER = "is no longer a member of demo."


def envelope(body: Message, team: str) -> Envelope:
    return Envelope(id=uuid.uuid4().hex, time=NOW, source="scheduler", team=team, body=body)


def told(version: int, *former: str, **listed: Any) -> Envelope:
    members = [ListedMember(name=name, role=role) for name, role in listed.items()]
    return envelope(MembersChanged(members=members, former=list(former), version=version), "demo")


@pytest_asyncio.fixture
async def databases(mongo_url: str, mongo_prefix: str) -> AsyncIterator[Store]:
    client = Store(mongo_url, mongo_prefix)
    yield client
    client.close()


# --- the list at the scheduler -----------------------------------------------------------------------------------------


@pytest.fixture
def members(databases: Store) -> MemberStore:
    database = databases.database("scheduler")
    jobs = JobStore(database, lambda body, job: envelope(body, job.view.team))
    return MemberStore(TeamStore(database, jobs, Books(jobs), 60), envelope)


async def facts(members: MemberStore) -> list[MembersChanged]:
    """What waits in the team's outbox, in order."""
    document = await members.collection.find_one({"_id": "demo"})
    assert document is not None
    bodies = [decode(bytes(entry["data"])).body for entry in document.get(FIELD, [])]
    assert all(isinstance(body, MembersChanged) for body in bodies)
    return [body for body in bodies if isinstance(body, MembersChanged)]


def member(name: str, role: Any = "member") -> Member:
    return Member(name=name, role=role, added_at=NOW, added_by="Ada")


async def test_each_change_is_told_in_the_write_that_makes_it(members: MemberStore) -> None:
    await members.prepare()
    assert await members.lists() == []
    await members.put("demo", member("Bo"), NOW)
    await members.put("demo", member("Bo", "viewer"), NOW)
    await members.remove("demo", "Bo", NOW)
    await members.remove("demo", "Zed", NOW)
    await members.put("demo", member("Bo", "mentor"), NOW)
    assert [
        (fact.version, {one.name: one.role for one in fact.members}, fact.former) for fact in await facts(members)
    ] == [
        (1, {"Bo": "member"}, []),
        (2, {"Bo": "viewer"}, []),
        (3, {}, ["Bo"]),
        (4, {}, ["Bo", "Zed"]),
        (5, {"Bo": "mentor"}, ["Zed"]),
    ]
    assert await members.lists() == [("demo", (await facts(members))[-1])]
    assert await members.standing("demo", "Bo") == Standing(role="mentor")
    assert await members.standing("demo", "Zed") == Standing(former=True)
    assert await members.standing("demo", "Ada") == await members.standing("nobody's", "Bo") == Standing()


async def test_changes_at_once_are_all_told_one_after_another(members: MemberStore) -> None:
    names = [f"member {number}" for number in range(8)]
    await asyncio.gather(*(members.put("demo", member(name), NOW) for name in names))
    found = await facts(members)
    assert [fact.version for fact in found] == list(range(1, 9))
    assert [len(fact.members) for fact in found] == list(range(1, 9))
    assert [one.name for one in await members.all("demo", NOW)] == names


async def test_a_list_from_before_it_was_told_is_told_with_version_0(members: MemberStore) -> None:
    await members.all("demo", NOW)
    await members.collection.update_one({"_id": "demo"}, {"$set": {"former": ["Bo"]}, "$unset": {"list_version": ""}})
    assert await members.lists() == [("demo", MembersChanged(members=[], former=["Bo"], version=0))]
    await members.put("demo", member("Bo"), NOW)
    assert [fact.version for fact in await facts(members)] == [1]


# --- a service's copy --------------------------------------------------------------------------------------------------


def copy(databases: Store, name: str) -> MemberLists:
    bus = MemoryBus(MemoryBroker(), service="dataset", metrics=Metrics())
    return MemberLists(databases.database(name), bus, envelope)


async def test_the_newest_list_counts_in_whatever_order_they_come(databases: Store) -> None:
    versions = [told(0, "Bo"), told(1, Bo="member"), told(2, Bo="viewer"), told(3, "Bo")]
    for number, order in enumerate(itertools.permutations(versions)):
        lists = copy(databases, f"dataset{number}")
        highest = -1
        for fact in (*order, *order):
            assert isinstance(fact.body, MembersChanged)
            if fact.body.version > highest:
                await lists.fold(fact)
                highest = fact.body.version
            else:
                with pytest.raises(Stale, match=f"version {fact.body.version} "):
                    await lists.fold(fact)
        assert await lists.standing("demo", "Bo") == Standing(former=True)


async def test_lists_that_come_at_once_leave_the_newest(databases: Store) -> None:
    for attempt in range(5):
        lists = copy(databases, f"dataset{attempt}")
        versions = [told(version, Bo="member" if version < 9 else "viewer") for version in range(10)]
        outcomes = await asyncio.gather(*(lists.fold(fact) for fact in versions), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {type(None), Stale}
        assert await lists.standing("demo", "Bo") == Standing(role="viewer")


async def test_of_whom_nothing_is_known_nothing_is_said(databases: Store) -> None:
    lists = copy(databases, "dataset")
    assert await lists.standing("demo", "Bo") == Standing()
    await lists.fold(told(1, "Di", Cy="mentor"))
    assert await lists.standing("demo", "Bo") == await lists.standing("another", "Di") == Standing()


async def test_another_fact_is_refused(databases: Store) -> None:
    with pytest.raises(Reject, match=r"members\.asked\.v1"):
        await copy(databases, "dataset").fold(envelope(MembersAsked(), ""))


# --- the services ------------------------------------------------------------------------------------------------------


class Bo:
    """A member with a token that says so, at the three services."""

    def __init__(self, platform: Platform, status: Service, caller: Caller) -> None:
        self._platform, self._status, self._call = platform, status, caller
        self.headers = caller._headers

    async def upload(self) -> tuple[int, Any]:
        folder = self._platform.folder / f"{uuid.uuid4().hex}.zip"
        archive = await asyncio.to_thread(write_zip, folder, frames(10))
        return await self._call("POST", f"{self._platform.dataset.url}/api/datasets?name=Bo", data=archive.read_bytes())

    async def datasets(self) -> tuple[int, Any]:
        return await self._call("GET", f"{self._platform.dataset.url}/api/datasets")

    async def models(self) -> tuple[int, Any]:
        return await self._call("GET", f"{self._status.url}/api/models")

    async def session(self) -> tuple[int, Any]:
        return await self._call("GET", f"{self._platform.scheduler.url}/api/session")

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[StreamClient]:
        url = f"{self._status.url}/api/ws"
        async with connected(self._platform.session, url, headers=self.headers) as client:
            yield client


async def answers(ask: Callable[[], Awaitable[tuple[int, Any]]], wanted: int, seconds: float = 10) -> Any:
    """The content, once the status is as wanted."""

    async def look() -> tuple[int, Any] | None:
        status, content = await ask()
        return (status, content) if status == wanted else None

    return (await until(look, seconds))[1]


async def listed(platform: Platform, status: Service, role: str) -> Bo:
    token = (await platform.api("PUT", "/team/members/Bo", {"role": role}))["token"]
    return Bo(platform, status, Caller(platform.session, token))


async def test_a_change_of_the_list_counts_everywhere(platform: Platform, status: Service) -> None:
    bo = await listed(platform, status, "member")
    assert (await bo.upload())[0] == 201
    async with bo.watching() as client:
        assert not isinstance(await client.frame(), int)
        # Demoted: sees everything, changes nothing. The websocket stays.
        await listed(platform, status, "viewer")
        content = await answers(bo.upload, 403)
        assert content["error"]["message"] == "This needs the role member; you are viewer."
        assert [(await look())[0] for look in (bo.datasets, bo.models, bo.session)] == [200, 200, 200]
        assert (await bo.session())[1]["role"] == "viewer"
        # Removed: out, also where Bo is already.
        await platform.api("DELETE", "/team/members/Bo", expect=204)
        assert await client.closed(5) == CLOSE_FORBIDDEN
    for ask in (bo.datasets, bo.upload, bo.models, bo.session):
        content = await answers(ask, 403)
        assert content["error"] == {"code": "forbidden", "message": f"Bo {FORMER}", "field": "role"}
    for path in ("m1", "m1/metrics", "m1/events", "m1/download?format=float32"):
        async with platform.session.get(f"{status.url}/api/models/{path}", headers=bo.headers) as response:
            assert response.status == 403
    async with bo.watching() as client:
        assert await client.closed() == CLOSE_FORBIDDEN
    # Signing in anew is no way around it, and with a token of somebody else it is no way barred.
    url = f"{platform.scheduler.url}/api/session"
    cookie = {"Cookie": f"trainyard_token={bo.headers['Authorization'].removeprefix('Bearer ')}"}
    for token, expected in (
        (bo.headers["Authorization"].removeprefix("Bearer "), 403),
        (platform.caller("viewer", "Cy")._headers["Authorization"].removeprefix("Bearer "), 200),
    ):
        async with (
            aiohttp.ClientSession() as browser,
            browser.post(url, json={"token": token}, headers=cookie) as response,
        ):
            assert response.status == expected
    # Others are as they were.
    assert (await platform.caller("member", "Cy")("GET", f"{platform.dataset.url}/api/datasets"))[0] == 200
    # Put back: the old token is good again.
    await listed(platform, status, "member")
    await answers(bo.upload, 201)
    await answers(bo.models, 200)
    async with bo.watching() as client:
        assert not isinstance(await client.frame(), int)


async def test_a_service_with_an_empty_store_asks_for_the_lists(
    platform: Platform, status: Service, databases: Store
) -> None:
    bo = await listed(platform, status, "member")
    await platform.api("DELETE", "/team/members/Bo", expect=204)
    for ask, service, name in ((bo.datasets, platform.dataset, "dataset"), (bo.models, status, "status")):
        await answers(ask, 403)
        assert await asyncio.to_thread(service.end) == 0
        await databases.database(name).drop_collection("members")
        await service.start()
        await answers(ask, 403)


async def test_a_scheduler_that_begins_to_plan_tells_the_lists(
    platform: Platform, status: Service, databases: Store
) -> None:
    """As with a team whose list was written before lists were told."""
    bo = Bo(platform, status, platform.caller("member", "Bo"))
    await platform.api("GET", "/team")
    assert (await bo.datasets())[0] == (await bo.models())[0] == 200
    assert await asyncio.to_thread(platform.scheduler.end) == 0
    await databases.database("scheduler")["teams"].update_one(
        {"_id": "demo"}, {"$set": {"former": ["Bo"]}, "$unset": {"list_version": ""}}
    )
    await platform.scheduler.start()
    await answers(bo.datasets, 403)
    await answers(bo.models, 403)
