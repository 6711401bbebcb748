"""What becomes of jobs when the trainers that they were made for go, and others come: the whole scheduler on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from services.scheduler.budget import balance
from services.scheduler.domain import Job
from services.scheduler.settings import SchedulerSettings
from shared.contract.jobs import JobState
from shared.contract.starting_models import Accelerator
from tests.unit.scheduler.crew import Crew
from tests.unit.scheduler.plant import SECRET, Plant, patched, play
from tests.unit.scheduler.watch import Complaints, Watch

SETTINGS: dict[str, Any] = {
    "trainyard_secret": SECRET,
    "artifacts_url": "memory://plant",
    "min_steps": 10,
    "team_minutes": 6000,
    "lease_seconds": 8,
    "leader_seconds": 4,
    "audit_seconds": 5,
    "drain_seconds": 1,
    "max_wait_seconds": 0,
}
LEASE = 8


@pytest.fixture(autouse=True)
def around() -> Iterator[None]:
    with patched(), Complaints():
        yield


class Room:
    """A scheduler, its trainers and a member of a team; make it inside the event loop."""

    def __init__(self, **settings: Any) -> None:
        self.plant = Plant(SchedulerSettings(**{**SETTINGS, **settings}))
        self.crew = Crew(self.plant)
        self.watch = Watch(self.plant, self.crew)
        self.process = self.plant.start("a")
        self._token = self.plant.token("red", "member", "Ada")

    async def submit(self, **fields: Any) -> Job:
        """A new job, as it was queued or refused."""
        body = {"dataset_ids": ["data-1"], "description": "Balls", "steps": 100, **fields}
        number = f"{len(self.watch.jobs())}"
        status, content = await self.process.ask("POST", "/api/jobs", self._token, body, f"key {number}")
        assert status == 201, content
        return self.job(content["job"]["id"])

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer to a request that succeeds."""
        status, content = await self.process.ask(method, f"/api{path}", self._token, body)
        assert status < 300, content
        return content

    def job(self, job_id: str) -> Job:
        """A job as it was last written."""
        (found,) = (job for job in self.watch.jobs() if job.view.id == job_id)
        return found


def code_of(job: Job) -> str | None:
    return None if job.view.reason is None else job.view.reason.code


@pytest.mark.parametrize(("away", "expected"), [(LEASE + 2, None), (298, None), (302, "no_capacity")])
def test_a_trainer_is_expected_from_when_the_last_one_was_there_not_from_when_a_job_began_to_wait(
    away: float, expected: str | None
) -> None:
    async def scene() -> None:
        room = Room(expect_trainers_seconds=300)
        await asyncio.sleep(3)
        trainer = room.crew.join(1)
        await trainer.come_back()
        await room.submit(steps=8000, max_minutes=120)
        waits = await room.submit()
        await asyncio.sleep(400)
        assert room.job(waits.view.id).view.state is JobState.QUEUED
        # Up to its last word just now it was there, and busy.
        await trainer.beat()
        await trainer.crash()
        await asyncio.sleep(away)
        assert code_of(await room.submit()) == expected
        plan = (await room.ask("POST", "/plans", {"dataset_ids": ["data-1"], "steps": 100}))["plan"]
        assert (None if plan["refusal"] is None else plan["refusal"]["code"]) == expected
        assert not room.watch.wrong

    play(scene)


def test_while_the_scheduler_was_away_no_trainer_was_missing() -> None:
    async def scene() -> None:
        room = Room(expect_trainers_seconds=300, expected_accelerator="gpu")
        await asyncio.sleep(3)
        gpu = room.crew.join(1, accelerator="gpu")
        await gpu.come_back()
        await room.submit(steps=8000, max_minutes=120)
        waits = (await room.submit()).view.id
        await room.process.kill()
        await gpu.crash()
        await asyncio.sleep(400)
        room.process = room.plant.start("b")
        await asyncio.sleep(3 * LEASE)
        assert code_of(room.job(waits)) == "no_capacity"
        assert code_of(await room.submit()) is None
        await room.crew.join(1).come_back()
        await asyncio.sleep(200)
        assert room.job(waits).accelerator == "gpu"
        await asyncio.sleep(200)
        assert room.job(waits).accelerator == "cpu"
        assert not room.watch.wrong

    play(scene)


@pytest.mark.parametrize(("before", "after", "batch"), [("cpu", "gpu", 32), ("gpu", "cpu", 8)])
def test_a_job_is_made_over_for_the_kind_of_trainer_that_took_the_place_of_its_own(
    before: Accelerator, after: Accelerator, batch: int
) -> None:
    async def scene() -> None:
        room = Room()
        await asyncio.sleep(3)
        old = room.crew.join(1, accelerator=before)
        await old.come_back()
        await room.submit(steps=8000, max_minutes=120)
        job_id = (await room.submit()).view.id
        await asyncio.sleep(LEASE + 2)
        await old.crash()
        new = room.crew.join(1, accelerator=after)
        new.slots = 2
        await new.come_back()
        # It may only be restarting. Meanwhile the job says what it waits for.
        await asyncio.sleep(40)
        waits = room.job(job_id)
        assert (waits.view.state, waits.accelerator, code_of(waits)) == (JobState.QUEUED, before, "no_capacity")
        assert waits.view.reason is not None
        assert f"needs a {before.upper()} trainer" in waits.view.reason.message
        await asyncio.sleep(40)
        made_over = room.job(job_id)
        assert (made_over.view.state, made_over.view.trainer) == (JobState.PREPARING, new.id)
        assert (made_over.accelerator, made_over.view.batch_size, code_of(made_over)) == (after, batch, None)
        (notice,) = made_over.view.notices
        assert notice.code == "refitted"
        assert f"waits for a {after.upper()} trainer, with {batch} pictures a step" in notice.message
        assert not room.watch.wrong

    play(scene)


def test_a_job_that_goes_on_keeps_its_batch_on_another_kind_of_trainer() -> None:
    async def scene() -> None:
        room = Room()
        await asyncio.sleep(3)
        old = room.crew.join(1, accelerator="gpu")
        await old.come_back()
        job_id = (await room.submit(steps=300)).view.id
        await asyncio.sleep(2)
        (attempt,) = old.held.values()
        for _ in range(2):
            await old.work(attempt)
        await asyncio.sleep(3)
        await old.crash()
        new = room.crew.join(1)
        await new.come_back()
        await asyncio.sleep(80)
        (attempt,) = new.held.values()
        job = room.job(job_id)
        assert (job.accelerator, job.view.batch_size, attempt.assign.batch_size) == ("cpu", 32, 32)
        assert attempt.assign.known_step == 100
        # At that batch it needs more memory than CPU runs otherwise do.
        await new.crash()
        await room.crew.join(1, memory_bytes=6_000_000_000).come_back()
        await asyncio.sleep(LEASE + 10)
        reason = room.job(job_id).view.reason
        assert reason is not None
        assert "needs a CPU trainer with 6.9 GB of memory" in reason.message
        assert not room.watch.wrong

    play(scene)


def test_what_a_job_waits_for_is_said_only_as_long_as_it_is_so() -> None:
    async def scene() -> None:
        room = Room()
        await asyncio.sleep(3)
        trainer = room.crew.join(1)
        await trainer.come_back()
        await room.submit(steps=8000, max_minutes=120)
        job_id = (await room.submit()).view.id
        await asyncio.sleep(LEASE + 2)
        assert code_of(room.job(job_id)) is None
        await trainer.part(asleep=True)
        await asyncio.sleep(LEASE + 6)
        assert code_of(room.job(job_id)) == "no_capacity"
        await trainer.come_back()
        await asyncio.sleep(6)
        job = room.job(job_id)
        assert (job.view.state, code_of(job), job.view.notices) == (JobState.QUEUED, None, [])
        assert not room.watch.wrong

    play(scene)


def minutes_of(job: Job) -> tuple[float, float, float]:
    """The maximum time, what is reserved, and what the job's own lines take."""
    return job.view.max_seconds / 60, job.view.reserved_seconds / 60, -balance(job.ledger) / 60


@pytest.mark.parametrize(("before", "after", "minutes"), [("gpu", "cpu", (16, 38)), ("cpu", "gpu", (38, 16))])
def test_a_default_limit_follows_the_kind_of_trainer_and_a_chosen_one_stays(
    before: Accelerator, after: Accelerator, minutes: tuple[int, int]
) -> None:
    async def scene() -> None:
        room = Room(max_queued=3)
        await asyncio.sleep(3)
        old = room.crew.join(1, accelerator=before)
        await old.come_back()
        await room.submit(steps=8000, max_minutes=120)
        await asyncio.sleep(2)
        usual, shown, chosen = [
            (await room.submit(steps=3000, **fields)).view.id
            for fields in ({}, {"max_minutes": minutes[0]}, {"max_minutes": 20})
        ]
        later = await room.submit(steps=3000, when_room=True)
        assert (code_of(later), later.view.max_seconds) == ("queue_full", 60 * minutes[0])
        for job_id in (usual, shown):
            assert minutes_of(room.job(job_id)) == (minutes[0],) * 3
        await old.crash()
        await room.crew.join(8, accelerator=after).come_back()
        await asyncio.sleep(90)
        for job_id in (usual, shown, later.view.id):
            job = room.job(job_id)
            assert (job.view.state, job.accelerator) == (JobState.PREPARING, after)
            assert minutes_of(job) == (minutes[1],) * 3
        assert minutes_of(room.job(chosen)) == (20, 20, 20)
        (notice,) = room.job(usual).view.notices
        assert f"maximum time is {minutes[1]} minutes now, not {minutes[0]}" in notice.message
        assert "maximum" not in room.job(chosen).view.notices[0].message
        assert not any(team["pending"] for team in room.plant.store.documents("teams") if "+" in str(team["pending"]))
        assert not room.watch.wrong
        assert not room.watch.books()

    play(scene)


def test_a_job_that_would_cost_more_than_is_left_on_another_kind_of_trainer_waits_and_says_so() -> None:
    async def scene() -> None:
        room = Room(team_minutes=40)
        await asyncio.sleep(3)
        old = room.crew.join(1, accelerator="gpu")
        await old.come_back()
        other = (await room.submit(max_minutes=20)).view.id
        waits = (await room.submit(steps=3000)).view.id
        await asyncio.sleep(2)
        await old.crash()
        new = room.crew.join(1)
        await new.come_back()
        await asyncio.sleep(90)
        job = room.job(waits)
        assert (job.view.state, job.accelerator, minutes_of(job)) == (JobState.QUEUED, "gpu", (16, 16, 16))
        assert code_of(job) == "not_enough_minutes"
        assert job.view.reason is not None
        assert "22 minutes more on a CPU trainer, as no GPU trainer is there any more; your team has 4 left" in (
            job.view.reason.message
        )
        # The other one ends and gives its minutes back.
        await room.ask("POST", f"/jobs/{other}/stop")
        await asyncio.sleep(2)
        (attempt,) = new.held.values()
        await new.work(attempt)
        await asyncio.sleep(20)
        job = room.job(waits)
        assert (job.view.state, job.accelerator, minutes_of(job)) == (JobState.PREPARING, "cpu", (38, 38, 38))
        assert not room.watch.wrong

    play(scene)


@pytest.mark.parametrize(("closes", "expected"), [("13:11", "no_capacity"), ("13:12", None)])
def test_a_job_that_can_never_save_anything_in_the_labs_hours_is_refused_at_once(
    closes: str, expected: str | None
) -> None:
    async def scene() -> None:
        # 1,000 steps of 0.6 s, and 45 s around them; the last minute of each day is for saving.
        hours = f"Mo-Fr 13:00-{closes}"
        room = Room(lab_hours=hours, checkpoint_every=1000, pause_lead_seconds=60)
        await asyncio.sleep(3)
        await room.crew.join(1).come_back()
        plan = (await room.ask("POST", "/plans", {"dataset_ids": ["data-1"], "steps": 1500}))["plan"]
        job = await room.submit(steps=1500, when_room=True)
        assert code_of(job) == expected
        if expected is None:
            assert (plan["refusal"], job.view.state) == (None, JobState.QUEUED)
            assert plan["place"]["start_from"].startswith("2026-03-02T13:00")
            # The hours are cut afterwards: the job waits still, and says why.
            await room.process.kill()
            room.plant.settings = SchedulerSettings(
                **{**SETTINGS, "lab_hours": "Mo-Fr 13:00-13:05", "checkpoint_every": 1000, "pause_lead_seconds": 60}
            )
            room.process = room.plant.start("b")
            await asyncio.sleep(3 * LEASE)
            assert (room.job(job.view.id).view.state, code_of(room.job(job.view.id))) == (
                JobState.QUEUED,
                "no_capacity",
            )
        else:
            assert (plan["refusal"]["code"], plan["retry_after_seconds"], job.view.retry_after) == (
                expected,
                None,
                None,
            )
            assert job.view.reason is not None
            assert job.view.reason.message == (
                f"The lab's hours ({hours}) never leave more than 10 minutes in a row for training. On a CPU trainer this job"
                " needs 11 minutes until its first checkpoint: it could never save any."
            )
            # On a quicker one it can.
            await room.crew.join(1, accelerator="gpu").come_back()
            await asyncio.sleep(10)
            assert (room.job(job.view.id).view.state, room.job(job.view.id).accelerator) == (JobState.QUEUED, "gpu")
        assert not room.watch.wrong

    play(scene)


def test_whoever_waits_is_told_until_when_the_lab_is_closed() -> None:
    async def scene() -> None:
        room = Room(lab_hours="Mo-Su 12:10-18:00")
        await asyncio.sleep(3)
        await room.crew.join(1).come_back()
        job_id = (await room.submit()).view.id
        await asyncio.sleep(2 * LEASE)
        waits = room.job(job_id).view
        assert waits.reason is not None
        assert (waits.state, waits.reason.code) == (JobState.QUEUED, "lab_hours")
        assert waits.reason.message.startswith("The lab is closed until Mon 02 Mar, 12:10 (UTC).")
        await asyncio.sleep(600)
        assert (room.job(job_id).view.attempt, room.job(job_id).view.reason) == (1, None)
        assert not room.watch.wrong

    play(scene)


@pytest.mark.parametrize(("pictures", "expected"), [(120, "no_capacity"), (20, None)])
def test_a_small_gpu_holds_a_run_whose_batch_is_small(pictures: int, expected: str | None) -> None:
    async def scene() -> None:
        room = Room()
        views = room.plant.datasets.views
        views["data-1"] = replace(views["data-1"], train_frames=pictures)
        await asyncio.sleep(3)
        await room.crew.join(1, accelerator="gpu", memory_bytes=3_000_000_000).come_back()
        job = await room.submit()
        assert code_of(job) == expected
        if expected is None:
            assert (job.accelerator, job.view.batch_size) == ("gpu", 16)
            await asyncio.sleep(2)
            assert room.job(job.view.id).view.state is JobState.PREPARING
        assert not room.watch.wrong

    play(scene)


def test_a_run_with_half_its_batch_needs_less_memory() -> None:
    async def scene() -> None:
        room = Room()
        await asyncio.sleep(3)
        large = room.crew.join(1, accelerator="gpu", memory_bytes=4_000_000_000)
        await large.come_back()
        job_id = (await room.submit()).view.id
        await asyncio.sleep(2)
        (attempt,) = large.held.values()
        await large.work(attempt)
        small = room.crew.join(1, accelerator="gpu", memory_bytes=3_000_000_000)
        await small.come_back()
        await large.work(attempt, failure="out_of_memory")
        await large.crash()
        await asyncio.sleep(2 * LEASE + 2)
        job = room.job(job_id)
        assert (job.view.trainer, job.view.batch_size) == (small.id, 16)
        assert not room.watch.wrong

    play(scene)
