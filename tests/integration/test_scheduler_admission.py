"""Jobs that must try again later: each limit with its reason, one more try by hand, by a mentor, or by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.contract.events import QueueMoved
from shared.contract.views import Reason
from tests.support.scheduling import Platform, open_platform, open_trainer
from tests.support.waiting import until


@pytest.fixture
async def platform(amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(amqp_url, mongo_url, mongo_prefix, tmp_path, MAX_TEAM_JOBS="2") as running:
        yield running


async def balance(platform: Platform) -> int:
    answer = await platform.api("GET", "/team")
    return int(answer["team"]["balance_seconds"])


async def refused(platform: Platform, *datasets: str, **fields: Any) -> dict[str, Any]:
    status, content = await platform.submit(*datasets, **fields)
    assert (status, content["job"]["state"]) == (201, "TRY_AGAIN_LATER"), content
    return dict(content["job"])


async def test_a_retry_by_hand_queues_the_same_job_once_there_is_room(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    job = await refused(platform, dataset)
    assert job["reason"]["code"] == "no_capacity"
    assert "CPU trainer" in job["reason"]["message"]
    again = await platform.api("POST", f"/jobs/{job['id']}/retry")
    assert (again["job"]["state"], again["job"]["reason"]["code"]) == ("TRY_AGAIN_LATER", "no_capacity")
    assert await balance(platform) == 1800
    async with open_trainer(platform) as trainer:
        retried = await platform.api("POST", f"/jobs/{job['id']}/retry")
        assert (retried["job"]["state"], retried["job"]["reserved_seconds"]) == ("QUEUED", 600)
        assert (retried["job"]["reason"], retried["job"]["ended_at"]) == (None, None)
        content = await platform.api("POST", f"/jobs/{job['id']}/retry", expect=409)
        assert content["error"]["code"] == "illegal_transition"
        # It holds its dataset again, which the refusal had let go.
        status, content = await platform.call("DELETE", f"{platform.dataset.url}/api/datasets/{dataset}")
        assert (status, content["error"]["code"]) == (409, "dataset_in_use")
        await trainer.run(job["id"])
        done = await platform.in_state(job["id"], "SUCCEEDED")
        assert (done.job.used_seconds, done.job.attempt) == (20, 1)
        assert await balance(platform) == 1800 - 20


@pytest.mark.parametrize("asked", [True, False])
async def test_a_trainer_that_drains_is_no_capacity(platform: Platform, *, asked: bool) -> None:
    """Be it asked to, or by its own word, as on a restart: what it held comes back, but nothing new waits for it."""
    admin = platform.caller("admin", "Op")
    dataset = await platform.add_dataset()
    async with open_trainer(platform) as leaving:
        held = await platform.queued(dataset)
        await leaving.holds(held)
        if asked:
            await platform.api("POST", f"/trainers/{leaving.id}/drain", by=admin)
        else:
            leaving.fields["draining"] = True

        async def drains() -> bool:
            trainers = (await platform.api("GET", "/trainers", by=admin))["trainers"]
            return any(one["id"] == leaving.id and one["status"] == "draining" for one in trainers)

        await until(drains)
        job = await refused(platform, dataset, when_room=True)
        assert job["reason"]["code"] == "no_capacity"
        plan = await platform.api("POST", "/plans", {"dataset_ids": [dataset], "steps": 40, "max_minutes": 10})
        assert plan["plan"]["refusal"]["code"] == "no_capacity"
        async with open_trainer(platform) as other:
            await other.holds(job["id"])


async def test_a_job_whose_dataset_is_gone_cannot_be_retried_and_says_so(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    job = await refused(platform, dataset)
    url = f"{platform.dataset.url}/api/datasets/{dataset}"

    async def gone() -> bool:
        return (await platform.call("DELETE", url))[0] == 204

    await until(gone, 40)
    async with open_trainer(platform):
        content = await platform.api("POST", f"/jobs/{job['id']}/retry", expect=404)
        assert content["error"]["field"] == "dataset_ids"
    assert await balance(platform) == 1800


async def test_a_job_queues_by_itself_when_there_is_room_and_says_so(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    job = await refused(platform, dataset, when_room=True)
    assert job["when_room"]
    async with open_trainer(platform) as trainer:
        queued = await platform.in_state(job["id"], "QUEUED")
        assert [notice.code for notice in queued.job.notices] == ["room_appeared"]
        assert not queued.job.when_room
        await trainer.run(job["id"])
        await platform.in_state(job["id"], "SUCCEEDED")


async def test_waiting_for_room_can_be_given_up(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    job = await refused(platform, dataset, when_room=True)
    again = await platform.api("POST", f"/jobs/{job['id']}/retry", {"when_room": False})
    assert not again["job"]["when_room"]
    # An operator sees who waits so, and can end it with a reason; the team can, too.
    admin = platform.caller("admin")
    mine, yours = [(await refused(platform, dataset, when_room=True))["id"] for _ in range(2)]
    listed = (await platform.api("GET", "/admin/queue", by=admin))["for_room"]
    assert [row["job_id"] for row in listed] == [mine, yours]
    ended = await platform.api("POST", f"/admin/jobs/{yours}/cancel", {"reason": "Not today"}, by=admin)
    assert (ended["job"]["state"], ended["job"]["when_room"]) == ("TRY_AGAIN_LATER", False)
    assert ended["job"]["reason"]["message"] == "Ended by an operator: Not today"
    assert not (await platform.api("POST", f"/jobs/{mine}/stop"))["job"]["when_room"]
    assert (await platform.api("GET", "/admin/queue", by=admin))["for_room"] == []
    async with open_trainer(platform):
        other = await refused(platform, dataset, when_room=True, max_minutes=31)
        assert other["reason"]["code"] == "not_enough_minutes"
        await platform.api("DELETE", f"/jobs/{other['id']}", expect=204)
        third = await platform.queued(dataset)
        await platform.in_state(third, "PREPARING")
    for given_up in (job["id"], mine, yours):
        assert platform.causes(given_up).count("admit") == 0
    assert platform.causes(other["id"]).count("admit") == 0


async def test_each_limit_has_its_reason_and_reserves_nothing(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    async with open_trainer(platform, pool="lab"):
        assert (await refused(platform, dataset, max_minutes=31))["reason"]["code"] == "not_enough_minutes"
        wrong = await refused(platform, dataset, requires={"pool": "attic"})
        assert wrong["reason"]["code"] == "no_capacity"
        assert "pool=attic" in wrong["reason"]["message"]
        await platform.queued(dataset, max_minutes=1, requires={"pool": "lab"})
        await platform.queued(dataset, max_minutes=1)
        limit = await refused(platform, dataset)
        assert (limit["reason"]["code"], limit["reason"]["remedy"]) == (
            "team_limit",
            "Wait until one ends, or stop one.",
        )
        for job in (wrong, limit):
            assert (job["reserved_seconds"], job["used_seconds"], job["refunded_seconds"]) == (0, 0, 0)
        admin = platform.caller("admin")
        until_when = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
        pause = {"teams": ["demo"], "until": until_when, "message": "moving the room"}
        await platform.api("POST", "/admin/pauses", pause, by=admin)
        closed = await refused(platform, dataset)
        assert closed["reason"]["code"] == "paused"
        assert "moving the room" in closed["reason"]["message"]
        wait = datetime.fromisoformat(closed["retry_after"]) - datetime.fromisoformat(closed["created_at"])
        assert timedelta(minutes=29) < wait <= timedelta(minutes=30)
        # Another team goes on; opened again, so does this one.
        other = platform.of_team("others")
        await other.queued(await other.add_dataset())
        await platform.api("POST", "/admin/pauses", {"teams": ["demo"], "paused": False}, by=admin)
        assert (await refused(platform, dataset))["reason"]["code"] == "team_limit"
        await platform.api("POST", "/admin/pauses", {"message": "holidays"}, by=admin)
        third = platform.of_team("third")
        assert (await refused(third, await third.add_dataset()))["reason"]["code"] == "paused"
    assert await balance(platform) == 1800 - 2 * 60


async def test_a_member_above_the_cap_needs_a_mentor(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    await platform.api("PATCH", "/team", {"member_cap_minutes": 12})
    member = platform.caller("member", "Bo")
    async with open_trainer(platform) as trainer:
        status, first = await platform.submit(dataset, by=member)
        assert first["job"]["state"] == "QUEUED"
        status, second = await platform.submit(dataset, by=member)
        job = second["job"]
        assert (status, job["state"], job["reason"]["code"]) == (201, "TRY_AGAIN_LATER", "needs_approval")
        assert job["retry_after"] is None
        again = await platform.api("POST", f"/jobs/{job['id']}/retry", by=member)
        assert again["job"]["reason"]["code"] == "needs_approval"
        await platform.api("POST", f"/jobs/{job['id']}/approve", by=member, expect=403)
        approved = await platform.api("POST", f"/jobs/{job['id']}/approve")
        assert (approved["job"]["state"], approved["job"]["approved_by"]) == ("QUEUED", "Ada")
        content = await platform.api("POST", f"/jobs/{job['id']}/approve", expect=409)
        audit = await platform.api("GET", "/admin/audit", by=platform.caller("admin"))
        written = [(one["act"], one["target"], one["outcome"]) for one in audit["entries"]]
        assert written[:2] == [("job.approve", job["id"], outcome) for outcome in (content["error"]["code"], "done")]
        assert content["error"]["code"] == "illegal_transition"
        await trainer.run(first["job"]["id"])
        await trainer.run(job["id"])
        await platform.in_state(job["id"], "SUCCEEDED")
    # A mentor's own jobs pass the cap; what the member used counts.
    async with open_trainer(platform):
        status, third = await platform.submit(dataset, by=member, max_minutes=12)
        assert third["job"]["reason"]["code"] == "needs_approval"
        await platform.queued(dataset, max_minutes=20)


async def test_a_plan_tells_the_place_or_the_refusal_before_anything_is_asked(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    ask = {"dataset_ids": [dataset], "steps": 40}
    plan = (await platform.api("POST", "/plans", ask))["plan"]
    assert (plan["place"], plan["refusal"]["code"], plan["retry_after_seconds"]) == (None, "no_capacity", 60)
    async with open_trainer(platform):
        plan = (await platform.api("POST", "/plans", ask))["plan"]
        assert plan["refusal"] is None
        assert plan["place"]["position"] == 1
        assert plan["place"]["start_from"] <= plan["place"]["start_to"] < plan["place"]["end_from"]
        running = await platform.queued(dataset)
        await platform.in_state(running, "PREPARING")
        waiting = await platform.queued(dataset)
        plan = (await platform.api("POST", "/plans", ask | {"max_minutes": 5}))["plan"]
        assert plan["refusal"]["code"] == "team_limit"
        other = platform.of_team("others")
        theirs = (await other.api("POST", "/plans", {**ask, "dataset_ids": [await other.add_dataset()]}))["plan"]
        assert theirs["place"]["start_from"] > plan_time()

        def told() -> bool:
            places = [e.body.places for e in platform.facts if isinstance(e.body, QueueMoved) and e.team == "demo"]
            return bool(places and places[-1] and places[-1][0].job_id == waiting and places[-1][0].start_to)

        await until(told)


def plan_time() -> str:
    return (datetime.now(UTC) + timedelta(seconds=1)).isoformat()


async def test_more_training_goes_on_from_the_parent_which_is_kept_while_it_is_used(platform: Platform) -> None:
    dataset, extra = await platform.add_dataset(), await platform.add_dataset("Extra")
    odd = await platform.add_dataset("Odd", labels=("Ball", "cube"))
    async with open_trainer(platform) as trainer:
        parent = await platform.queued(dataset)
        content = await platform.api("POST", f"/jobs/{parent}/more", {"description": "More"}, expect=409)
        assert content["error"]["code"] == "illegal_transition"
        await trainer.run(parent)
        await platform.in_state(parent, "SUCCEEDED")
        body = {"description": "More", "steps": 60, "max_minutes": 5}
        content = await platform.api("POST", f"/jobs/{parent}/more", {**body, "dataset_ids": [odd]}, expect=400)
        assert (content["error"]["code"], content["error"]["field"]) == ("labels_differ", "dataset_ids")
        headers = {"Idempotency-Key": "once"}
        body = {**body, "dataset_ids": [extra]}
        child = (await platform.api("POST", f"/jobs/{parent}/more", body, expect=201, headers=headers))["job"]
        same = (await platform.api("POST", f"/jobs/{parent}/more", body, expect=201, headers=headers))["job"]
        assert same["id"] == child["id"]
        assert (child["parent_id"], child["parent_description"], child["previous_steps"]) == (parent, "Balls", 40)
        assert child["dataset_ids"] == [dataset, extra]
        order = await trainer.holds(child["id"])
        assert (order.init_prefix, order.known_step, order.steps) == (f"jobs/{parent}/checkpoints/00000040-a1", 0, 60)
        # Parent and datasets are in use, by name.
        content = await platform.api("DELETE", f"/jobs/{parent}", expect=409)
        assert (content["error"]["code"], content["error"]["details"]["used_by"][0]["description"]) == (
            "model_in_use",
            "More",
        )
        status, content = await platform.call("DELETE", f"{platform.dataset.url}/api/datasets/{extra}")
        assert status == 409
        assert "More" in content["error"]["message"]
        await trainer.run(child["id"], step=60)
        await platform.in_state(child["id"], "SUCCEEDED")
        grandchild = await platform.api(
            "POST", f"/jobs/{child['id']}/more", {"description": "On", "steps": 20}, expect=201
        )
        assert grandchild["job"]["previous_steps"] == 100
        # A stop before it is given out would cancel it with no word to the trainer.
        await trainer.holds(grandchild["job"]["id"])
        await platform.api("POST", f"/jobs/{grandchild['job']['id']}/stop")
        await platform.api("DELETE", f"/jobs/{parent}", expect=409)
        await trainer.told(grandchild["job"]["id"], 1, "user")
        await trainer.ended(grandchild["job"]["id"], 1, "stopped", 0, 0.0)
        await platform.in_state(grandchild["job"]["id"], "CANCELED")
        # The youngest first, then its parents: each is free once nobody needs it.
        await platform.api("DELETE", f"/jobs/{grandchild['job']['id']}", expect=204)
        await platform.api("DELETE", f"/jobs/{child['id']}", expect=204)
    # Trained on and deleted at once: whichever comes first, a model that somebody trains on from exists.
    url = f"{platform.scheduler.url}/api/jobs/{parent}"
    nowhere = {"description": "On", "requires": {"pool": "nowhere"}}

    async def more() -> tuple[int, Any]:
        return await platform.call("POST", f"{url}/more", nowhere)

    async def delete() -> tuple[int, Any]:
        return await platform.call("DELETE", url)

    (made, child), (deleted, _) = await asyncio.gather(more(), delete())
    if made == 201:
        assert deleted == 409
        await platform.api("DELETE", f"/jobs/{child['job']['id']}", expect=204)
        (deleted, _), (made, child) = await asyncio.gather(delete(), more())
    if made == 201:
        assert deleted == 409
        await platform.api("DELETE", f"/jobs/{child['job']['id']}", expect=204)
        deleted, made = (await delete())[0], 404
    assert (made, deleted) == (404, 204)
    await platform.api("POST", f"/jobs/{parent}/more", {"description": "Late"}, expect=404)


@pytest.mark.parametrize(
    ("code", "field", "expected"),
    [("out_of_memory", "batch_size", 4), ("nan_loss", "learning_rate_scale", 0.1), ("stalled", "batch_size", 8)],
)
async def test_a_failure_with_a_remedy_is_tried_again_once_from_its_checkpoint(
    platform: Platform, code: str, field: str, expected: float
) -> None:
    dataset = await platform.add_dataset()
    reason = Reason(code=code, message="It went wrong.", remedy="Do otherwise.")
    async with open_trainer(platform) as trainer:
        job_id = await platform.queued(dataset)
        await trainer.holds(job_id)
        await trainer.started(job_id, 1)
        await trainer.checkpointed(job_id, 1, 20, 10.5)
        await trainer.ended(job_id, 1, "failed", 20, 10.5, reason)
        again = await platform.in_state(job_id, "PREPARING", attempt=2)
        order = await trainer.holds(job_id, 2)
        assert getattr(order, field) == pytest.approx(expected)
        assert order.known_step == 20
        assert [notice.code for notice in again.job.notices] == [f"{code}_retried"]
        assert "from step 20" in again.job.notices[0].message
        await trainer.ended(job_id, 2, "failed", 20, 10.5, reason)
        failed = await platform.in_state(job_id, "FAILED")
        assert failed.job.reason == reason
        assert (failed.job.used_seconds, failed.job.log_lines) == (10, 3)
        assert [attempt.reason and attempt.reason.code for attempt in failed.job.attempts] == [code, code]
        log = await platform.api("GET", f"/jobs/{job_id}/log")
        assert (log["lines"], log["attempt"]) == (["line 0", "line 1", "line 2"], 2)
        assert log["reason"]["code"] == code


async def test_a_stalled_job_goes_to_another_trainer_if_there_is_one(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    async with open_trainer(platform) as first, open_trainer(platform) as second:
        job_id = await platform.queued(dataset)
        held = await until(lambda: next((t for t in (first, second) if (job_id, 1) in t.held), None))
        other = second if held is first else first
        await held.started(job_id, 1)
        await held.ended(job_id, 1, "failed", 0, 0.0, Reason(code="stalled", message="No step for 60 s."))
        await other.holds(job_id, 2)


async def test_a_stop_that_nobody_answers_is_enforced_within_a_lease(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    async with open_trainer(platform) as trainer:
        job_id = await platform.queued(dataset)
        await trainer.holds(job_id)
        await trainer.started(job_id, 1)
        await trainer.checkpointed(job_id, 1, 20, 10.5)
        await platform.job(job_id, lambda change: change.job.steps_completed == 20)
        await platform.api("POST", f"/jobs/{job_id}/stop")
        await trainer.told(job_id, 1, "user")
        done = await platform.in_state(job_id, "STOPPED")
        assert (done.trigger, done.job.used_seconds, done.job.attempts[-1].outcome) == ("enforced", 10, "enforced")
        await trainer.told(job_id, 1, "release")
        await platform.queued(dataset)
