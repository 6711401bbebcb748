"""What operators and mentors do: teams and grants in batches, the queue, trainers, members and their roles, the audit log."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.running import Caller
from tests.support.scheduling import Platform, open_trainer
from tests.support.waiting import until


@pytest.fixture
def admin(platform: Platform) -> Caller:
    return platform.caller("admin", "Op")


async def test_nobody_but_an_operator_may(platform: Platform) -> None:
    for method, path in (
        ("GET", "/admin/teams"),
        ("POST", "/admin/teams"),
        ("POST", "/admin/grants"),
        ("POST", "/admin/pauses"),
        ("GET", "/admin/queue"),
        ("POST", "/admin/jobs/x/priority"),
        ("POST", "/admin/jobs/x/cancel"),
        ("POST", "/admin/jobs/x/reconcile"),
        ("GET", "/trainers"),
        ("POST", "/trainers/x/drain"),
        ("GET", "/admin/capacity"),
        ("GET", "/admin/audit"),
    ):
        content = await platform.api(method, path, expect=403)
        assert content["error"]["code"] == "forbidden", path


async def test_teams_are_made_and_granted_minutes_in_batches_each_for_itself(platform: Platform, admin: Caller) -> None:
    body = {"teams": ["red-1", "bad name", "red-2", "red-1"], "minutes": 50}
    for _ in range(2):  # whoever didn't get the answer asks again, and has the tokens
        made = await platform.api("POST", "/admin/teams", body, by=admin, headers={"Idempotency-Key": "t1"})
        assert made["results"][2]["token"]
    assert [(one["team"], one["error"] and one["error"]["code"]) for one in made["results"]] == [
        ("red-1", None),
        ("bad name", "bad_teams"),
        ("red-2", None),
    ]
    assert made["failed"] == 1
    assert made["results"][0]["balance_seconds"] == 3000
    again = await platform.api("POST", "/admin/teams", {"teams": ["red-1"]}, by=admin)
    assert again["results"][0]["error"]["code"] == "team_exists"
    mentor = Caller(platform.session, made["results"][0]["token"])
    assert (await platform.api("GET", "/session", by=mentor))["role"] == "mentor"
    grant = {"teams": ["red-1", "nobody", "red-2"], "minutes": 10, "note": "for the finals"}
    for _ in range(2):  # the same request twice is one grant
        granted = await platform.api("POST", "/admin/grants", grant, by=admin, headers={"Idempotency-Key": "g1"})
        assert [one["balance_seconds"] for one in granted["results"]] == [3600, None, 3600]
        assert granted["results"][1]["error"]["code"] == "not_found"
    answer = await platform.api("GET", "/team", by=mentor)
    assert [(line["kind"], line["seconds"], line["note"], line["by"]) for line in answer["ledger"]] == [
        ("grant", 3000, "season grant", "Op"),
        ("grant", 600, "extra grant: for the finals", "Op"),
    ]
    other = await platform.api(
        "POST", "/admin/grants", {**grant, "minutes": 11}, by=admin, headers={"Idempotency-Key": "g1"}
    )
    assert other["results"][0]["error"]["code"] == "idempotency_key_reused"
    taken = await platform.api("POST", "/admin/grants", {"teams": ["red-2"], "minutes": -20}, by=admin)
    assert taken["results"][0]["balance_seconds"] == 2400
    listed = (await platform.api("GET", "/admin/teams", by=admin))["teams"]
    assert {one["minutes"]["team"]: one["minutes"]["balance_seconds"] for one in listed} == {
        "red-1": 3600,
        "red-2": 2400,
    }


BAD_INPUT: list[tuple[str, object, str]] = [
    ("/admin/teams", {"teams": []}, "teams"),
    ("/admin/teams", {"teams": ["x"], "minutes": -1}, "minutes"),
    ("/admin/grants", {"teams": ["x"], "minutes": 1_000_001}, "minutes"),
    ("/admin/grants", {"teams": ["x"], "minutes": 1, "note": "n" * 201}, "note"),
    ("/admin/pauses", {"until": "2020-01-01T00:00:00Z"}, "until"),
    ("/admin/pauses", {"until": "2990-01-01T00:00:00"}, "until"),
    ("/admin/jobs/x/priority", {"priority": 101}, "priority"),
    ("/admin/jobs/x/cancel", {"reason": ""}, "reason"),
    ("/admin/jobs/x/reconcile", {"state": "RUNNING"}, "state"),
]


async def test_bad_input_names_the_field(platform: Platform, admin: Caller) -> None:
    for path, body, field in BAD_INPUT:
        content = await platform.api("POST", path, body, by=admin, expect=400)
        assert content["error"]["field"] == field, (path, body)


async def test_the_queue_is_listed_reordered_and_cleared_with_a_reason(platform: Platform, admin: Caller) -> None:
    dataset = await platform.add_dataset()
    other = platform.of_team("others")
    theirs_data = await other.add_dataset()
    async with open_trainer(platform) as trainer:
        running = await platform.queued(dataset)
        await trainer.holds(running)
        first = await platform.queued(dataset)
        theirs = await other.queued(theirs_data)
        # The other team has nothing running: it comes first.
        assert await _queue(platform, admin) == [theirs, first]
        await platform.api("POST", f"/admin/jobs/{first}/priority", {"priority": 10}, by=admin)
        assert await _queue(platform, admin) == [first, theirs]
        changed = await platform.job(first, lambda change: change.trigger == "priority")
        assert changed.job.priority == 10
        canceled = await platform.api("POST", f"/admin/jobs/{theirs}/cancel", {"reason": "wrong room"}, by=admin)
        assert (canceled["job"]["state"], canceled["job"]["refunded_seconds"]) == ("CANCELED", 600)
        assert canceled["job"]["reason"]["message"] == "Ended by an operator: wrong room"
        await trainer.started(running, 1)
        await trainer.checkpointed(running, 1, 20, 5.0)
        await platform.job(running, lambda change: change.job.steps_completed == 20)
        await platform.api("POST", f"/admin/jobs/{running}/cancel", {"reason": "power cut"}, by=admin)
        await trainer.told(running, 1, "user")
        await trainer.ended(running, 1, "stopped", 20, 5.0)
        stopped = await platform.in_state(running, "STOPPED")
        assert stopped.job.reason is not None
        assert stopped.job.reason.message == "Ended by an operator: power cut"
        await trainer.holds(first)
        content = await platform.api("POST", f"/admin/jobs/{running}/priority", {"priority": 1}, by=admin, expect=409)
        assert content["error"]["code"] == "illegal_transition"
        await platform.api("POST", "/admin/jobs/nope/priority", {"priority": 1}, by=admin, expect=404)
        entries = (await platform.api("GET", "/admin/audit?limit=10", by=admin))["entries"]
        assert [(one["act"], one["outcome"]) for one in entries] == [
            ("job.priority", "not_found"),
            ("job.priority", "illegal_transition"),
            ("job.cancel", "done"),
            ("job.cancel", "done"),
            ("job.priority", "done"),
        ]
        assert entries[2]["details"] == {"reason": "power cut", "team": "demo", "state": "STOP_REQUESTED"}
        assert {one["by"] for one in entries} == {"demo/Op"}


async def _queue(platform: Platform, admin: Caller) -> list[str]:
    rows = (await platform.api("GET", "/admin/queue", by=admin))["queue"]
    assert [row["place"]["position"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["place"]["job_id"] for row in rows]


async def test_trainers_are_shown_with_what_they_hold_and_drained(platform: Platform, admin: Caller) -> None:
    dataset = await platform.add_dataset()
    async with open_trainer(platform, pool="lab") as trainer:
        trainer.fields |= {"utilization": 0.8, "memory_used_bytes": 5_000_000}
        job_id = await platform.queued(dataset)
        await trainer.holds(job_id)

        async def row() -> dict[str, object]:
            rows = (await platform.api("GET", "/trainers", by=admin))["trainers"]
            return dict(next(one for one in rows if one["id"] == trainer.id))

        async def measured() -> bool:
            return (await row())["utilization"] == 0.8

        await until(measured)
        seen = await row()
        assert (seen["status"], seen["labels"], seen["slots"]) == ("live", {"pool": "lab"}, 1)
        assert [(one["job_id"], one["attempt"]) for one in seen["jobs"]] == [(job_id, 1)]  # type: ignore[attr-defined]
        answer = await platform.api("POST", f"/trainers/{trainer.id}/drain", by=admin)
        assert answer["trainer"]["status"] == "draining"
        await until(lambda: trainer.drains)
        await trainer.checkpointed(job_id, 1, 33, 12.0)
        await trainer.ended(job_id, 1, "drained", 33, 12.0)
        back = await platform.job(job_id, lambda change: change.trigger == "drained")
        assert (back.job.state, back.job.steps_completed) == ("QUEUED", 33)
        # It is asked to end: it gets the job back no more; another one does, at the front.
        async with open_trainer(platform) as other:
            order = await other.holds(job_id, 2)
            assert order.known_step == 33
        assert (job_id, 2) not in trainer.held
    await platform.api("POST", "/trainers/nobody/drain", by=admin, expect=404)


async def test_how_full_the_room_was_is_kept(platform: Platform, admin: Caller) -> None:
    async with open_trainer(platform, slots=2):

        async def points() -> list[dict[str, object]]:
            return list((await platform.api("GET", "/admin/capacity?hours=1", by=admin))["points"])

        async def full() -> bool:
            found = await points()
            return bool(found) and found[-1]["slots"] == 2

        await until(full, 60)
        last = (await points())[-1]
        assert (last["trainers"], last["busy"], last["waiting"]) == (1, 0, 0)
    content = await platform.api("GET", "/admin/capacity?hours=721", by=admin, expect=400)
    assert content["error"]["field"] == "hours"


async def test_members_roles_and_the_statement(platform: Platform) -> None:
    added = await platform.api("PUT", "/team/members/Bo", {"role": "member"})
    bo = Caller(platform.session, added["token"])
    assert (await platform.api("GET", "/session", by=bo))["name"] == "Bo"
    await platform.api("PUT", "/team/members/Cy", {"role": "viewer"}, by=bo, expect=403)
    await platform.api("PATCH", "/team", {"member_cap_minutes": 12}, by=bo, expect=403)
    # A lower role counts at once, whatever the old token says; and so does being taken off the list.
    dataset = await platform.add_dataset()
    async with open_trainer(platform) as trainer:
        status, content = await platform.submit(dataset, by=bo)
        job_id = content["job"]["id"]
        assert (status, content["job"]["created_by"]) == (201, "Bo")
        await platform.api("PUT", "/team/members/Bo", {"role": "viewer"})
        await platform.api("POST", f"/jobs/{job_id}/stop", by=bo, expect=403)
        await platform.api("GET", "/team", by=bo)
        await trainer.run(job_id, seconds=61.9)
        await platform.in_state(job_id, "SUCCEEDED")
    await platform.api("DELETE", "/team/members/Bo", expect=204)
    content = await platform.api("GET", "/team", by=bo, expect=403)
    assert "no longer a member" in content["error"]["message"]
    await platform.api("DELETE", "/team/members/Bo", expect=204)
    # Whoever has a token, listed or not, can be shut out; nobody does it to themselves.
    stranger = platform.caller("member", "Zed")
    await platform.api("GET", "/team", by=stranger)
    await platform.api("DELETE", "/team/members/Zed", expect=204)
    await platform.api("GET", "/team", by=stranger, expect=403)
    content = await platform.api("DELETE", "/team/members/Ada", expect=409)
    assert content["error"]["field"] == "name"
    again = await platform.api("PUT", "/team/members/Bo", {"role": "member"})
    await platform.api("GET", "/team", by=Caller(platform.session, again["token"]))
    answer = await platform.api("GET", "/team")
    assert [(one["name"], one["role"], one["added_by"]) for one in answer["members"]] == [("Bo", "member", "Ada")]
    # The statement, to the second, in both forms.
    ledger = await platform.api("GET", "/team/ledger")
    assert ledger["balance_seconds"] == sum(line["seconds"] for line in ledger["ledger"]) == 1800 - 61
    headers = {"Authorization": platform.call._headers["Authorization"]}
    url = f"{platform.scheduler.url}/api/team/ledger?format=csv"
    async with platform.session.get(url, headers=headers) as response:
        assert response.content_type == "text/csv"
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert [row["kind"] for row in rows] == ["grant", "reserve", "refund", "use"]
    assert rows[-1]["balance_seconds"] == "1739"
    assert datetime.now(UTC) - datetime.fromisoformat(rows[-1]["at"]) < timedelta(minutes=5)
    content = await platform.api("GET", "/team/ledger?format=xls", expect=400)
    assert content["error"]["field"] == "format"
    content = await platform.api("PATCH", "/team", {"member_cap_minutes": -1}, expect=400)
    assert content["error"]["field"] == "member_cap_minutes"
    content = await platform.api("PUT", "/team/members/%20", {"role": "member"}, expect=400)
    assert content["error"]["field"] == "name"
