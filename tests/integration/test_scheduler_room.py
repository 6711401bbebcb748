"""What everybody may see of the room, by real services: the queue of all teams without who and what in it, announcements."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from shared.contract.events import AnnouncementsChanged, MembersAsked, RoomMoved
from shared.contract.wire import Envelope
from tests.support.running import Caller
from tests.support.scheduling import Platform, open_trainer
from tests.support.waiting import until


async def test_everybody_sees_the_whole_queue_and_of_others_neither_who_nor_what(platform: Platform) -> None:
    viewer = platform.caller("viewer", "Vi")

    async def room(by: Caller = viewer) -> Any:
        return await platform.api("GET", "/queue", by=by)

    def moves() -> int:
        return sum(isinstance(envelope.body, RoomMoved) for envelope in platform.facts)

    assert await room() == {
        "slots": 0, "busy": 0, "running": [], "waiting": [], "start_from": None, "start_to": None,
    }  # fmt: skip
    await platform.api("GET", "/queue", by=Caller(platform.session, "no token"), expect=401)
    dataset, other = await platform.add_dataset(), platform.of_team("others")
    theirs_data = await other.add_dataset("Secret field")
    async with open_trainer(platform) as trainer:
        running = await platform.queued(dataset, description="Ours runs")
        await trainer.holds(running)
        before = moves()
        ours = await platform.queued(dataset, description="Ours waits")
        theirs = await other.queued(theirs_data, description="Secret plan")
        await until(lambda: moves() > before)

        async def both() -> Any:
            answer = await room()
            return answer if len(answer["waiting"]) == 2 else None

        seen = await until(both)
        assert (seen["slots"], seen["busy"]) == (1, 1)
        # The other team has nothing running: it comes first.
        assert [(one["position"], one["job_id"], one["description"]) for one in seen["waiting"]] == [
            (1, None, None),
            (2, ours, "Ours waits"),
        ]
        assert all(one["start_from"] and one["end_to"] and one["queued_at"] for one in seen["waiting"])
        (run,) = seen["running"]
        assert (run["job_id"], run["description"], run["steps_completed"], run["steps_requested"]) == (
            running, "Ours runs", 0, 40,
        )  # fmt: skip
        assert run["end_from"] <= run["end_to"]
        assert seen["start_from"] <= seen["start_to"]
        told = json.dumps(seen)
        assert not [word for word in (theirs, theirs_data, "others", "Secret", trainer.id) if word in told]
        from_there = await room(other.caller("viewer", "Xi"))
        assert [one["job_id"] for one in from_there["waiting"]] == [theirs, None]
        assert from_there["running"][0]["job_id"] is None
        # A job that goes on is told of to all.
        before = moves()
        await trainer.started(running, 1)
        await trainer.checkpointed(running, 1, 20, 5.0)
        await until(lambda: moves() > before)
        assert (await room())["running"][0]["steps_completed"] == 20
        times = [envelope.time for envelope in platform.facts if isinstance(envelope.body, RoomMoved)]
        assert all((later - earlier).total_seconds() > 0.5 for earlier, later in pairwise(times))


async def test_operators_tell_all_teams_something_and_take_it_back(platform: Platform) -> None:
    admin = platform.caller("admin", "Op")

    async def listed() -> list[str]:
        return [one["text"] for one in (await platform.api("GET", "/admin/announcements", by=admin))["announcements"]]

    def changes() -> list[AnnouncementsChanged]:
        return [envelope.body for envelope in platform.facts if isinstance(envelope.body, AnnouncementsChanged)]

    def told() -> dict[int, list[str]]:
        """By version: each may be told more than once."""
        return {body.version: [one.text for one in body.announcements] for body in changes()}

    for method, path in (
        ("GET", "/admin/announcements"),
        ("POST", "/admin/announcements"),
        ("DELETE", "/admin/announcements/x"),
    ):
        await platform.api(method, path, expect=403)
    assert await listed() == []
    wanted = {"text": "  The lab closes\nat 18:00 ", "kind": "warning", "until": "2990-01-01T00:00:00.123456Z"}
    for _ in range(2):  # whoever didn't get the answer asks again
        answer = await platform.api(
            "POST", "/admin/announcements", wanted, by=admin, expect=201, headers={"Idempotency-Key": "a1"}
        )
    first = answer["announcement"]
    assert (first["text"], first["kind"], first["by"]) == ("The lab closes at 18:00", "warning", "Op")
    assert first["until"] == "2990-01-01T00:00:00.123000Z"
    reused = await platform.api(
        "POST", "/admin/announcements", {"text": "Else"}, by=admin, expect=422, headers={"Idempotency-Key": "a1"}
    )
    assert reused["error"]["code"] == "idempotency_key_reused"
    soon = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
    # At once: each is made on top of the others.
    await asyncio.gather(
        *(
            platform.api("POST", "/admin/announcements", {"text": text, **more}, by=admin, expect=201)
            for text, more in (("Short", {"until": soon}), ("Two", {}), ("Three", {}))
        )
    )
    assert sorted(await listed()) == ["Short", "The lab closes at 18:00", "Three", "Two"]
    await until(lambda: sorted(told()) == [1, 2, 3, 4])
    assert told()[1] == ["The lab closes at 18:00"]
    await until(lambda: datetime.now(UTC) > datetime.fromisoformat(soon))
    assert "Short" not in await listed()
    await platform.api("DELETE", f"/admin/announcements/{first['id']}", by=admin, expect=204)
    gone = await platform.api("DELETE", f"/admin/announcements/{first['id']}", by=admin, expect=404)
    assert gone["error"]["code"] == "not_found"
    await until(lambda: sorted(told().get(5, [])) == ["Three", "Two"])
    for body, field in (
        ({"text": ""}, "text"),
        ({"text": "x" * 281}, "text"),
        ({"text": "x", "kind": "alarm"}, "kind"),
        ({"text": "x", "until": "2020-01-01T00:00:00Z"}, "until"),
    ):
        content = await platform.api("POST", "/admin/announcements", body, by=admin, expect=400)
        assert content["error"]["field"] == field, body
    for number in range(18):
        await platform.api("POST", "/admin/announcements", {"text": f"Number {number}"}, by=admin, expect=201)
    content = await platform.api("POST", "/admin/announcements", {"text": "One more"}, by=admin, expect=409)
    assert "20 is the limit" in content["error"]["message"]
    entries = (await platform.api("GET", "/admin/audit?limit=100", by=admin))["entries"]
    assert [(one["act"], one["outcome"]) for one in entries[:2]] == [
        ("announcement.publish", "too_many_announcements"),
        ("announcement.publish", "done"),
    ]
    removed = next(one for one in entries if one["act"] == "announcement.remove" and one["outcome"] == "done")
    assert removed["details"] == {"text": "The lab closes at 18:00"}
    # A service that starts with an empty store asks, and is told the list as it is.
    await until(lambda: 23 in told())
    before = len(changes())
    await platform.bus.publish(Envelope(id="asks", time=datetime.now(UTC), source="test", team="", body=MembersAsked()))
    await until(lambda: len(changes()) > before)
    assert (changes()[-1].version, told()[23]) == (23, await listed())
