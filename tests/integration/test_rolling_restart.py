"""A rolling restart of all trainers under load: a real scheduler, real trainers, their children scripted."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from shared.contract.events import JobChanged, TrainingEnded
from shared.contract.topology import Queue
from shared.contract.views import JobView
from shared.contract.wire import Envelope
from tests.support.running import Service
from tests.support.scheduling import Platform, open_platform
from tests.support.scripted_child import Record
from tests.support.waiting import until

TRAINERS, JOBS, STEPS = 2, 4, 400
ALL_ENDS = Queue(name="test.ends", bindings=("training.ended",))


class Ends:
    """How trainers said that each attempt ended."""

    def __init__(self) -> None:
        self.heard: dict[tuple[str, int], TrainingEnded] = {}

    async def hear(self, envelope: Envelope) -> None:
        assert isinstance(envelope.body, TrainingEnded)
        assert envelope.job_id is not None
        assert envelope.attempt is not None
        self.heard[envelope.job_id, envelope.attempt] = envelope.body


async def test_a_rolling_restart_under_load_loses_no_step_and_costs_nothing_extra(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    settings = {"TEAM_MINUTES": "600", "MAX_STEPS": "1000", "LEASE_SECONDS": "10", "CHECKPOINT_EVERY": "1000"}
    async with (
        open_platform(amqp_url, mongo_url, mongo_prefix, tmp_path, **settings) as platform,
        AsyncExitStack() as stack,
    ):
        trainers = [_trainer(platform, number) for number in range(TRAINERS)]
        for trainer in trainers:
            await stack.enter_async_context(trainer)
        ends = Ends()
        await platform.bus.consume(ALL_ENDS, {TrainingEnded: ends.hear})
        dataset = await platform.add_dataset()
        await until(lambda: _live(platform, TRAINERS))
        jobs = [await platform.queued(dataset, steps=STEPS) for _ in range(JOBS)]
        await until(lambda: _running(platform, jobs) == TRAINERS)
        for trainer in trainers:
            (old,) = [
                one
                for one in await _all(platform)
                if one["id"].startswith(f"t{trainer.port}-") and one["status"] == "live"
            ]
            await platform.api("POST", f"/trainers/{old['id']}/drain", by=platform.caller("admin"))
            process = trainer.process
            assert process is not None
            # It saves, hands back and ends by itself, within the minute; whoever looks after it starts it again.
            assert await asyncio.to_thread(process.wait, 60) == 0
            await trainer.start()
            await until(lambda: _live(platform, TRAINERS), 30)
        ended = [await platform.job(job_id, lambda change: change.job.state == "SUCCEEDED", 60) for job_id in jobs]
        assert sum(_went_on_where_it_was(change.job, ends, tmp_path) for change in ended) >= TRAINERS
        answer = await platform.api("GET", "/team")
        assert answer["team"]["balance_seconds"] == 36000 - sum(change.job.used_seconds or 0 for change in ended)


def _trainer(platform: Platform, number: int) -> Service:
    service = Service("trainer", platform.folder, platform.environ)
    service._environ |= {
        "TRAINER_NAME": f"t{service.port}",
        "WORK_DIR": f"{platform.folder}/trainer-{number}",
        "CHILD_MODULE": "tests.support.scripted_child",
        "CHILD_RECORDS": str(platform.folder),
        "CHILD_SCRIPT": json.dumps({"step_seconds": 0.02}),
        "DRAIN_SECONDS": "30",
        "HEARTBEAT_SECONDS": "0.3",
    }
    return service


async def _all(platform: Platform) -> list[dict[str, Any]]:
    return list((await platform.api("GET", "/trainers", by=platform.caller("admin")))["trainers"])


async def _live(platform: Platform, count: int) -> bool:
    return sum(1 for one in await _all(platform) if one["status"] == "live") == count


def _running(platform: Platform, jobs: list[str]) -> int:
    states = {e.body.job.id: e.body.job.state for e in platform.facts if isinstance(e.body, JobChanged)}
    return sum(states.get(job_id) == "RUNNING" for job_id in jobs)


def _went_on_where_it_was(job: JobView, ends: Ends, folder: Path) -> int:
    """How often the job was handed back. Each attempt's child begins at the very step at which the one before it ended, so
    that every step is made once."""
    assert job.steps_completed == STEPS
    assert [attempt.outcome for attempt in job.attempts[:-1]] == ["drained"] * (len(job.attempts) - 1)
    reached, made = 0, 0
    for attempt in job.attempts:
        end = ends.heard[job.id, attempt.number]
        assert end.checkpoint_step == end.step
        record = folder / f"{job.id}-a{attempt.number}.json"
        if attempt.started_at is None:
            assert end.step == reached
            continue
        begun = msgspec.json.decode(record.read_bytes(), type=Record).spec.resume_step
        assert begun == (attempt.resumed_from or 0) == reached
        reached, made = end.step, made + end.step - begun
    assert (reached, made) == (STEPS, STEPS)
    return len(job.attempts) - 1
