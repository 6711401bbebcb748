"""The scheduler as a process, on real RabbitMQ and the store, with the real dataset service; the trainer is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from shared.contract.events import JobChanged, QueueMoved, TeamChanged, TrainerGone, TrainingEnded
from tests.support.running import Caller, token
from tests.support.scheduling import LEASE, Platform, ScriptedTrainer, open_trainer


@pytest.fixture
async def trainer(platform: Platform) -> AsyncIterator[ScriptedTrainer]:
    async with open_trainer(platform) as scripted:
        yield scripted


async def test_the_whole_life_of_a_job_with_exact_minutes(platform: Platform, trainer: ScriptedTrainer) -> None:
    dataset = await platform.add_dataset()
    status, content = await platform.submit(dataset)
    assert status == 201, content
    job_id = content["job"]["id"]
    assert content["job"]["state"] == "QUEUED"
    preparing = await platform.in_state(job_id, "PREPARING")
    assert preparing.job.trainer == trainer.id
    await trainer.started(job_id, 1)
    await platform.in_state(job_id, "RUNNING")
    await trainer.checkpointed(job_id, 1, 40, 95.7)
    await trainer.ended(job_id, 1, "succeeded", 40, 95.7)
    done = await platform.in_state(job_id, "SUCCEEDED")
    assert (done.job.used_seconds, done.job.refunded_seconds) == (95, 505)
    _, team = await platform.call("GET", f"{platform.scheduler.url}/api/team")
    assert team["team"]["balance_seconds"] == 30 * 60 - 95
    assert sum(line["seconds"] for line in team["ledger"]) == 30 * 60 - 95
    versions = [
        e.body.job.version for e in platform.facts if isinstance(e.body, JobChanged) and e.body.job.id == job_id
    ]
    assert versions == sorted(versions)
    told = [e.body.team.balance_seconds for e in platform.facts if isinstance(e.body, TeamChanged)]
    async with asyncio.timeout(10):
        while told[-1:] != [30 * 60 - 95]:
            await asyncio.sleep(0.05)
            told = [e.body.team.balance_seconds for e in platform.facts if isinstance(e.body, TeamChanged)]


async def test_a_lost_trainers_job_resumes_on_another_and_its_late_word_changes_nothing(
    platform: Platform, trainer: ScriptedTrainer
) -> None:
    dataset = await platform.add_dataset()
    _, content = await platform.submit(dataset)
    job_id = content["job"]["id"]
    await platform.in_state(job_id, "PREPARING")
    await trainer.started(job_id, 1)
    await trainer.checkpointed(job_id, 1, 20, 30.0)
    await platform.job(job_id, lambda change: change.job.steps_completed == 20)
    await trainer.silence()
    other = ScriptedTrainer(platform)
    await other.start()
    again = await platform.in_state(job_id, "PREPARING", attempt=2)
    assert again.job.trainer == other.id
    async with asyncio.timeout(5):
        while (job_id, 2) not in other.held:
            await asyncio.sleep(0.02)
    assert other.held[job_id, 2].known_step == 20
    # The first one wakes up, says that it is done, and is told to let go.
    trainer.resume()
    await trainer.say(TrainingEnded(outcome="succeeded", step=40, checkpoint_step=40, stepping_seconds=99.0), job_id, 1)
    async with asyncio.timeout(5):
        while (job_id, 1, "release") not in trainer.stops:
            await asyncio.sleep(0.02)
    await other.started(job_id, 2, resumed_from=20)
    await other.checkpointed(job_id, 2, 40, 55.0)
    await other.ended(job_id, 2, "succeeded", 40, 55.0)
    done = await platform.in_state(job_id, "SUCCEEDED")
    assert (done.job.attempt, done.job.used_seconds) == (2, 55)
    assert [attempt.outcome for attempt in done.job.attempts] == ["lost", "succeeded"]
    await other.silence()


async def test_stop_reaches_the_trainer_and_a_stop_while_waiting_never_runs(
    platform: Platform, trainer: ScriptedTrainer
) -> None:
    dataset = await platform.add_dataset()
    _, first = await platform.submit(dataset)
    _, second = await platform.submit(dataset)
    busy, waiting = first["job"]["id"], second["job"]["id"]
    await platform.in_state(busy, "PREPARING")
    async with asyncio.timeout(10):
        while not any(
            isinstance(e.body, QueueMoved) and [p.job_id for p in e.body.places] == [waiting] for e in platform.facts
        ):
            await asyncio.sleep(0.05)
    status, content = await platform.call("POST", f"{platform.scheduler.url}/api/jobs/{waiting}/stop")
    assert (status, content["job"]["state"]) == (200, "CANCELED")
    status, content = await platform.call("POST", f"{platform.scheduler.url}/api/jobs/{waiting}/stop")
    assert (status, content["error"]["code"]) == (409, "illegal_transition")
    assert "CANCELED" in content["error"]["message"]
    await trainer.started(busy, 1)
    await trainer.checkpointed(busy, 1, 20, 12.2)
    await platform.job(busy, lambda change: change.job.steps_completed == 20)
    status, content = await platform.call("POST", f"{platform.scheduler.url}/api/jobs/{busy}/stop")
    assert content["job"]["state"] == "STOP_REQUESTED"
    async with asyncio.timeout(5):
        while (busy, 1, "user") not in trainer.stops:
            await asyncio.sleep(0.02)
    await trainer.ended(busy, 1, "stopped", 20, 12.2)
    done = await platform.in_state(busy, "STOPPED")
    assert done.job.used_seconds == 12
    assert not any(job_id == waiting for job_id, _ in trainer.held)


async def test_try_again_later_says_why_and_when_and_reserves_nothing(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    status, content = await platform.submit(dataset)
    job = content["job"]
    assert (status, job["state"], job["reason"]["code"]) == (201, "TRY_AGAIN_LATER", "no_capacity")
    assert job["retry_after"] > job["created_at"]
    _, team = await platform.call("GET", f"{platform.scheduler.url}/api/team")
    assert team["team"]["balance_seconds"] == 30 * 60
    async with open_trainer(platform):
        _, content = await platform.submit(dataset, max_minutes=31)
        assert content["job"]["reason"]["code"] == "not_enough_minutes"


async def test_two_submissions_at_once_cannot_spend_the_same_minutes(
    platform: Platform, trainer: ScriptedTrainer
) -> None:
    dataset = await platform.add_dataset()
    answers = await asyncio.gather(*(platform.submit(dataset, max_minutes=10) for _ in range(6)))
    states = sorted(content["job"]["state"] for _, content in answers)
    assert states == ["QUEUED"] * 3 + ["TRY_AGAIN_LATER"] * 3
    _, team = await platform.call("GET", f"{platform.scheduler.url}/api/team")
    assert team["team"]["balance_seconds"] == 0


async def test_a_repeated_request_finds_the_job_that_the_first_one_made(
    platform: Platform, trainer: ScriptedTrainer
) -> None:
    dataset = await platform.add_dataset()
    answers = await asyncio.gather(*(platform.submit(dataset, key="once") for _ in range(4)))
    assert {status for status, _ in answers} == {201}, answers
    assert len({content["job"]["id"] for _, content in answers}) == 1
    status, content = await platform.submit(dataset, key="once", steps=60)
    assert (status, content["error"]["code"]) == (422, "idempotency_key_reused")
    _, team = await platform.call("GET", f"{platform.scheduler.url}/api/team")
    assert team["team"]["reserved_seconds"] == 600


async def test_bad_input_names_the_field_and_changes_nothing(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    refusals: list[tuple[dict[str, Any], int, str, str]] = [
        ({"steps": 19}, 400, "bad_steps", "steps"),
        ({"steps": "many"}, 400, "bad_request", "steps"),
        ({"max_minutes": 0}, 400, "bad_max_minutes", "max_minutes"),
        ({"description": "x" * 31}, 400, "bad_description", "description"),
        ({"description": " "}, 400, "bad_description", "description"),
        ({"description": "a\x07b"}, 400, "bad_description", "description"),
        ({"starting_model": "yolo"}, 400, "bad_starting_model", "starting_model"),
        ({"dataset_ids": []}, 400, "bad_dataset_ids", "dataset_ids"),
        ({"dataset_ids": [dataset, dataset]}, 400, "bad_dataset_ids", "dataset_ids"),
        ({"dataset_ids": ["nope"]}, 404, "not_found", "dataset_ids"),
        ({"colour": "red"}, 400, "bad_request", "colour"),
    ]
    for fields, expected, code, field in refusals:
        status, content = await platform.submit(dataset, **fields)
        error = content["error"]
        assert (status, error["code"], error["field"]) == (expected, code, field), fields
    status, _ = await platform.call("DELETE", f"{platform.dataset.url}/api/datasets/{dataset}")
    assert status == 204


async def test_datasets_with_other_labels_are_refused_and_not_left_claimed(
    platform: Platform, trainer: ScriptedTrainer
) -> None:
    one = await platform.add_dataset()
    two = await platform.add_dataset("Other", labels=("Ball", "cube"))
    status, content = await platform.submit(one, two)
    assert (status, content["error"]["code"]) == (400, "labels_differ")
    assert content["error"]["details"]["differences"][0]["missing"] == ["ball"]
    for dataset in (one, two):
        status, _ = await platform.call("DELETE", f"{platform.dataset.url}/api/datasets/{dataset}")
        assert status == 204


async def test_a_dataset_in_use_cannot_be_deleted_until_the_job_is(
    platform: Platform, trainer: ScriptedTrainer
) -> None:
    dataset = await platform.add_dataset()
    _, content = await platform.submit(dataset)
    job_id = content["job"]["id"]
    status, refusal = await platform.call("DELETE", f"{platform.dataset.url}/api/datasets/{dataset}")
    assert (status, refusal["error"]["code"]) == (409, "dataset_in_use")
    assert "Balls" in refusal["error"]["message"]
    await platform.in_state(job_id, "PREPARING")
    status, _ = await platform.call("DELETE", f"{platform.scheduler.url}/api/jobs/{job_id}")
    assert status == 409
    await trainer.ended(job_id, 1, "failed", 0, 0.0)
    await platform.in_state(job_id, "FAILED")
    status, _ = await platform.call("DELETE", f"{platform.scheduler.url}/api/jobs/{job_id}")
    assert status == 204
    async with asyncio.timeout(30):
        while (await platform.call("DELETE", f"{platform.dataset.url}/api/datasets/{dataset}"))[0] != 204:
            await asyncio.sleep(0.2)


async def test_a_scheduler_that_was_killed_goes_on_where_it_was(platform: Platform, trainer: ScriptedTrainer) -> None:
    dataset = await platform.add_dataset()
    _, content = await platform.submit(dataset)
    job_id = content["job"]["id"]
    await platform.in_state(job_id, "PREPARING")
    platform.scheduler.kill()
    await trainer.started(job_id, 1)
    await trainer.checkpointed(job_id, 1, 40, 10.0)
    # Longer than a lease: nobody listened, so nobody was silent.
    await asyncio.sleep(LEASE * 1.5)
    await platform.scheduler.start()
    await platform.in_state(job_id, "RUNNING")
    await trainer.ended(job_id, 1, "succeeded", 40, 10.0)
    done = await platform.in_state(job_id, "SUCCEEDED")
    assert (done.job.attempt, done.job.used_seconds) == (1, 10)


async def test_losing_every_trainer_fails_the_job_with_a_reason(platform: Platform) -> None:
    dataset = await platform.add_dataset()
    async with open_trainer(platform):
        job_id = await platform.queued(dataset)
        await platform.in_state(job_id, "PREPARING", attempt=1)
    second = ScriptedTrainer(platform)
    await second.start()
    await platform.in_state(job_id, "PREPARING", attempt=2)
    await second.say(TrainerGone(trainer=second.id))
    await second.silence()
    failed = await platform.in_state(job_id, "FAILED")
    assert failed.job.reason is not None
    assert failed.job.reason.code == "trainers_lost"
    assert (failed.job.used_seconds, failed.job.refunded_seconds) == (0, 600)


async def test_another_team_sees_nothing_and_a_viewer_changes_nothing(
    platform: Platform, trainer: ScriptedTrainer
) -> None:
    dataset = await platform.add_dataset()
    _, content = await platform.submit(dataset)
    stop = f"{platform.scheduler.url}/api/jobs/{content['job']['id']}/stop"
    async with aiohttp.ClientSession() as session:
        assert (await Caller(session, token("others"))("POST", stop))[0] == 404
        assert (await Caller(session, token(role="viewer"))("POST", stop))[0] == 403
        assert (await Caller(session, "nonsense")("POST", stop))[0] == 401
        status, content = await Caller(session, token("others"))(
            "POST", f"{platform.scheduler.url}/api/plans", {"dataset_ids": [dataset]}
        )
        assert (status, content["error"]["field"]) == (404, "dataset_ids")


async def test_what_a_page_asks_before_submitting(platform: Platform, trainer: ScriptedTrainer) -> None:
    dataset = await platform.add_dataset()
    status, content = await platform.call(
        "POST", f"{platform.scheduler.url}/api/plans", {"dataset_ids": [dataset], "steps": 40}
    )
    assert status == 200
    plan = content["plan"]
    assert plan["train_frames"] + plan["eval_frames"] == 10
    assert plan["batch_size"] == 8
    assert (plan["steps_per_epoch"], plan["epochs"]) == (1, 40)
    assert plan["default_max_minutes"] == 10
    assert plan["minutes_left"] == 30
    assert len(plan["sentences"]) == 5
    status, content = await platform.call("GET", f"{platform.scheduler.url}/api/starting-models?frames=3")
    assert content["starting_models"][0]["batch_size"] == {"cpu": 2, "gpu": 2}
    status, content = await platform.call("GET", f"{platform.scheduler.url}/api/starting-models?frames=x")
    assert (status, content["error"]["field"]) == (400, "frames")

    await _session_cookie(platform)


async def _session_cookie(platform: Platform) -> None:
    """A token is kept as a cookie that scripts can't read, and forgotten."""
    url = f"{platform.scheduler.url}/api/session"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.post(url, json={"token": token("robots")}) as response:
            assert response.status == 200
            cookie = response.cookies["trainyard_token"]
            assert cookie["httponly"]
            assert cookie["samesite"] == "Strict"
        async with session.get(url) as response:
            assert (await response.json())["team"] == "robots"
        # A team that nobody has seen is told its minutes as soon as its page opens.
        async with asyncio.timeout(5):
            while not any(e.team == "robots" and isinstance(e.body, TeamChanged) for e in platform.facts):
                await asyncio.sleep(0.05)
        async with session.delete(url) as response:
            assert response.status == 204
        async with session.get(url) as response:
            assert response.status == 401
        async with session.post(url, json={"token": "nonsense"}) as response:
            assert response.status == 401
