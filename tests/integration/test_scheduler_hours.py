"""Lab hours: jobs are saved and paused when the lab closes, and nothing starts while it is closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.scheduling import Platform, open_platform, open_trainer
from tests.support.waiting import until


def hours(opens: datetime, closes: datetime) -> str:
    return f"Mo-Su {opens:%H:%M}-{closes:%H:%M}"


async def test_running_jobs_are_saved_and_paused_when_the_lab_closes(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    # The lab closes within four minutes: time enough for a first checkpoint, as long as no lead is taken from it.
    now = datetime.now(UTC)
    settings = {"LAB_HOURS": hours(now - timedelta(hours=1), now + timedelta(minutes=4)), "PAUSE_LEAD_SECONDS": "0"}
    async with open_platform(amqp_url, mongo_url, mongo_prefix, tmp_path, **settings) as platform:
        dataset = await platform.add_dataset()
        async with open_trainer(platform) as trainer:
            job_id = await platform.queued(dataset)
            await trainer.holds(job_id)
            await trainer.started(job_id, 1)
            await platform.in_state(job_id, "RUNNING")
            platform.scheduler._environ["PAUSE_LEAD_SECONDS"] = "300"
            await _again(platform, settings["LAB_HOURS"])
            await trainer.told(job_id, 1, "drain")
            await trainer.checkpointed(job_id, 1, 23, 11.0)
            await trainer.ended(job_id, 1, "drained", 23, 11.0)
            paused = await platform.job(job_id, lambda change: change.trigger == "drained")
            assert (paused.job.state, paused.job.steps_completed) == ("QUEUED", 23)
            assert [notice.code for notice in paused.job.notices] == ["lab_hours"]
            # It waits for the morning, and says when that is.
            plan = (await platform.api("POST", "/plans", {"dataset_ids": [dataset], "steps": 40}))["plan"]
            assert plan["refusal"] is None, plan["refusal"]
            assert datetime.fromisoformat(plan["place"]["start_from"]) > now + timedelta(hours=2)
            assert (job_id, 2) not in trainer.held
            # Where the next opening is days away, a job is told so instead, and waits for room if it was told to.
            far = f"{(now + timedelta(days=3)):%a}"[:2]
            await _again(platform, f"{far} 10:00-18:00")
            status, content = await platform.submit(dataset, when_room=True)
            late = content["job"]
            assert (status, late["state"], late["reason"]["code"]) == (201, "TRY_AGAIN_LATER", "wait_too_long")
            retried = await platform.api("POST", f"/jobs/{late['id']}/retry", {"when_room": True})
            assert retried["job"]["reason"]["code"] == "wait_too_long"
            await _again(platform, "24/7")
            order = await trainer.holds(job_id, 2)
            assert order.known_step == 23
            admitted = await platform.in_state(late["id"], "QUEUED")
            assert [notice.code for notice in admitted.job.notices] == ["room_appeared"]


async def _again(platform: Platform, lab_hours: str) -> None:
    """The scheduler, started again with other hours, once it has heard the trainer."""
    platform.scheduler.end()
    platform.scheduler._environ["LAB_HOURS"] = lab_hours
    await platform.scheduler.start()

    async def heard() -> bool:
        answer = await platform.api("GET", "/trainers", by=platform.caller("admin"))
        return any(one["status"] == "live" for one in answer["trainers"])

    await until(heard)
