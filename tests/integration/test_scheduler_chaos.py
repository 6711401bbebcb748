"""Three hundred jobs while schedulers, trainers, the broker and the store are killed: none is lost, run twice or stuck.

Two schedulers and five fake trainers, all real processes. What happens to whom is drawn from a seed, which is printed and can
be given: CHAOS_SEED=17. When it happens can't: a seed repeats the shape of a run, not the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import aio_pika
import aiohttp
import pytest
from msgspec.structs import replace

from services.scheduler.domain import Job
from shared.contract.events import JobChanged
from shared.contract.jobs import TERMINAL, JobState
from shared.contract.topology import QUEUES, STATUS_FACTS, trainer_queue
from shared.contract.wire import Envelope
from shared.runtime.bus import RabbitBus
from shared.runtime.metrics import Metrics
from shared.runtime.mongo import OUTAGES, Database, Store, from_document
from shared.runtime.trace import Tracing
from tests.support.broker import Broker
from tests.support.chaos import LEASE, STEP_CHARGE, STEPS_A_MINUTE, Asked, Room
from tests.support.journals import contradictions
from tests.support.store import Store as StoreProcess
from tests.support.waiting import until

TEAMS = [f"team-{number}" for number in range(6)]
JOBS, PEOPLE, TRAINERS = 300, 12, 5
# Seconds over which jobs are submitted and somebody is hurt, and in which all must come to rest afterwards.
SUBMITTING, HURTING, RESTING = 20.0, 28.0, 120.0
# And in which all must be told: a command for a queue that lost its leader with the broker is given up after a minute.
TELLING = 80.0


@pytest.fixture
async def room(private_rabbitmq: Broker, private_store: StoreProcess, tmp_path: Path) -> AsyncIterator[Room]:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=12)) as session:
        made = Room(tmp_path, private_rabbitmq, private_store, session, seed=seed, trainers=TRAINERS)
        try:
            await made.open()
            yield made
        finally:
            await made.close()
            print(dict(made.happened))


@pytest.mark.timeout(300)
async def test_no_job_is_lost_run_twice_or_stuck(room: Room) -> None:
    datasets = [await room.add_dataset(team) for team in TEAMS]
    orders = [_order(room.random, TEAMS[number % len(TEAMS)], datasets[number % len(TEAMS)]) for number in range(JOBS)]
    with closing(Store(room.store.url, "trainyard_")) as store:
        database = store.database("scheduler")
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(_mischief(room))
            for number in range(PEOPLE):
                group.create_task(_person(room, orders[number::PEOPLE]))
        await room.settled()
        print(f"at peace after {time.monotonic() - begun:.1f} s")
        await _ended(database, len(orders), RESTING)
        await until(lambda: _told(database), TELLING)
        print(f"at rest after {time.monotonic() - begun:.1f} s")
        jobs = {job.view.id: job async for job in _jobs(database)}
        terms = max([int(lease["term"]) async for lease in database["leases"].find({})])
    print(dict(Counter(job.view.state for job in jobs.values())), Counter(job.view.attempt for job in jobs.values()))
    found = [
        *_wrong_ends(orders, jobs),
        *await _wrong_books(room, jobs),
        *contradictions(room.folder, _accepted(jobs), patience=LEASE),
    ]
    found += [*await _dead_letters(room), *await _untold(room, jobs, terms), *_errors(room)]
    assert not found, "\n".join(found)
    # A run in which nobody was hurt would show nothing.
    assert room.happened["trainer kill"] + room.happened["scheduler kill"] >= 1
    assert (room.happened["broker kill"], room.happened["store kill"]) == (1, 1)


# --- what happens --------------------------------------------------------------------------------------------------------


def _order(rng: random.Random, team: str, dataset: str) -> Asked:
    body = {"dataset_ids": [dataset], "description": "Chaos", "steps": rng.randrange(20, 200), "max_minutes": 10}
    if rng.random() < 0.07:
        body |= {"steps": 2 * STEPS_A_MINUTE, "max_minutes": 1}
    return Asked(team=team, key=f"{rng.getrandbits(64):x}", body={**body, "when_room": True})


async def _person(room: Room, orders: Sequence[Asked]) -> None:
    """Submits one job after another, and stops some of them later."""
    stops = []
    for asked in orders:
        await asyncio.sleep(room.random.uniform(0, 2 * SUBMITTING / len(orders)))
        await room.submit(asked)
        if room.random.random() < 0.12:
            stops.append(asyncio.create_task(_stop_later(room, asked)))
    await asyncio.gather(*stops)


async def _stop_later(room: Room, asked: Asked) -> None:
    await asyncio.sleep(room.random.expovariate(0.3))
    await room.stop(asked)


async def _mischief(room: Room) -> None:
    """Now and then one more; once the broker, once the store."""
    begun = time.monotonic()
    parts = [(0.65 * HURTING, room.hurt_store), (0.25 * HURTING, room.hurt_broker)]
    while (passed := time.monotonic() - begun) < HURTING:
        if parts and passed > parts[-1][0]:
            parts.pop()[1]()
        room.one_more()
        await asyncio.sleep(room.random.uniform(0.5, 4))


async def _ended(database: Database, count: int, seconds: float) -> None:
    """Until so many jobs have ended."""
    ended = {"view.state": {"$in": sorted(TERMINAL - {JobState.TRY_AGAIN_LATER})}}
    # Stop was pressed while it waited for room.
    given_up = {"view.state": JobState.TRY_AGAIN_LATER, "view.when_room": False}

    async def look() -> bool:
        await asyncio.sleep(0.4)
        try:
            return bool(await database["jobs"].count_documents({"$or": [ended, given_up]}) >= count)
        except OUTAGES:
            return False

    try:
        await until(look, seconds)
    except TimeoutError:
        left = database["jobs"].find({"$nor": [ended, given_up]}, {"ledger": 0, "outbox": 0})
        raise AssertionError(f"stuck: {[document['view'] async for document in left]}") from None


async def _told(database: Database) -> bool:
    """Whether every outbox is empty."""
    return await database["jobs"].count_documents({"outbox.id": {"$exists": True}}) == 0


async def _jobs(database: Database) -> AsyncIterator[Job]:
    async for document in database["jobs"].find({}):
        yield from_document({**document, "view": {"id": document["_id"], **document["view"]}}, Job)


# --- what must be so -----------------------------------------------------------------------------------------------------


def _wrong_ends(orders: Sequence[Asked], jobs: dict[str, Job]) -> list[str]:
    """All are there once, in the state that they must have come to, with the steps that they must have made."""
    found = []
    if {asked.job_id for asked in orders} != set(jobs) or len(jobs) != len(orders):
        found.append(f"asked for were {len(orders)} jobs, there are {len(jobs)}")
    for asked in orders:
        view = jobs[asked.job_id].view
        limited = asked.body["max_minutes"] == 1
        right = {JobState.STOPPED if limited else JobState.SUCCEEDED}
        if asked.stopped:
            right |= {JobState.STOPPED, JobState.CANCELED, JobState.TRY_AGAIN_LATER}
        if view.state not in right:
            found.append(f"job {view.id} is {view.state}, not one of {sorted(right)}: {view.reason}")
        step = 0 if view.checkpoint is None else view.checkpoint.step
        if view.state is JobState.SUCCEEDED and step != view.steps_requested:
            found.append(f"job {view.id} succeeded at step {step} of {view.steps_requested}")
        if limited and not asked.stopped and step != STEPS_A_MINUTE:
            found.append(f"job {view.id} was stopped by its time limit at step {step}, not {STEPS_A_MINUTE}")
        if (view.state in {JobState.CANCELED, JobState.TRY_AGAIN_LATER}) != (step == 0):
            found.append(f"job {view.id} is {view.state} with a checkpoint of step {step}")
        if (view.used_seconds or 0) != int(step * STEP_CHARGE) or view.trainer is not None:
            found.append(
                f"job {view.id} at step {step} was charged {view.used_seconds} s; its trainer is {view.trainer}"
            )
        if [attempt.number for attempt in view.attempts] != list(range(1, view.attempt + 1)):
            found.append(f"job {view.id} in attempt {view.attempt} had {[one.number for one in view.attempts]}")
    return found


def _accepted(jobs: dict[str, Job]) -> set[tuple[str, int]]:
    """The attempts of which a word was heard while they were in force."""
    attempts = [(job.view.id, attempt) for job in jobs.values() for attempt in job.view.attempts]
    return {
        (job_id, attempt.number)
        for job_id, attempt in attempts
        if attempt.started_at is not None or attempt.outcome in {"succeeded", "stopped", "drained"}
    }


async def _wrong_books(room: Room, jobs: dict[str, Job]) -> list[str]:
    """Every team has what it was granted, less what its checkpoints took; nothing is reserved."""
    found, used = [], Counter[str]()
    for job in jobs.values():
        if job.view.checkpoint is not None:
            used[job.view.team] += int(job.view.checkpoint.stepping_seconds)
    for team in TEAMS:
        _, content = await room.ask(team, "GET", "/team")
        books = content["team"]
        granted, left, reserved = books["granted_seconds"], books["balance_seconds"], books["reserved_seconds"]
        lines = sum(line["seconds"] for line in content["ledger"])
        if not (lines == left == granted - used[team] and reserved == 0) or content["reservations"]:
            found.append(f"{team}: lines {lines}, used {used[team]}, {books}, {content['reservations']}")
    return found


async def _dead_letters(room: Room) -> list[str]:
    """Nothing was given up."""
    found = []
    async with await aio_pika.connect(room.broker.url) as connection:
        channel = await connection.channel()
        for name in sorted({*(queue.dead_name for queue in QUEUES), trainer_queue("any").dead_name}):
            queue = await channel.get_queue(name)
            while (message := await queue.get(fail=False, no_ack=True)) is not None:
                reason = message.headers.get("x-reason") or message.headers.get("x-death")
                found.append(f"in {name}: {message.type} {message.body.decode()}: {reason!r}")
    return found


async def _untold(room: Room, jobs: dict[str, Job], terms: int) -> list[str]:
    """Every version of every job was told but those in which another scheduler of so many `terms` has begun to plan, and the
    last one is what is kept."""
    told: dict[str, set[int]] = defaultdict(set)
    last: dict[str, JobChanged] = {}

    async def hear(envelope: Envelope) -> None:
        assert isinstance(envelope.body, JobChanged)
        view = envelope.body.job
        told[view.id].add(view.version)
        last[view.id] = max(envelope.body, last.get(view.id, envelope.body), key=lambda change: change.job.version)

    bus = RabbitBus(room.broker.url, service="test", metrics=Metrics(), tracing=Tracing("test"))
    await bus.connect()
    await bus.consume(STATUS_FACTS, {JobChanged: hear})
    count, before = 0, -1
    while count != before:
        before = count
        await asyncio.sleep(0.5)
        count = sum(map(len, told.values()))
    await bus.stop_consuming(2)
    await bus.close()
    found = []
    for job in jobs.values():
        view = job.view
        missing = sorted(set(range(1, view.version + 1)) - told[view.id])
        # A trainer's word that it is about to hand a job back is kept, but told to nobody.
        handed_back = sum(attempt.outcome != "succeeded" for attempt in view.attempts)
        # Nor that what a job held was let go, in two steps.
        let_go = 2 if view.state is JobState.TRY_AGAIN_LATER else 0
        shown = replace(last[view.id].job, version=view.version) if let_go else last[view.id].job
        if len(missing) > handed_back + terms + let_go or shown != view:
            found.append(f"of {view} versions {missing} were not told, last {last[view.id]}")
    return found


def _errors(room: Room) -> list[str]:
    """Nobody made a mistake that it noticed itself."""
    logs = {room.dataset.log, *(one.log for one in room.schedulers), *(one.log for one in room.trainers)}
    lines = [line for log in sorted(logs) for line in log.read_text().splitlines()]
    return [line for line in lines if _is_mistake(line)][:20]


def _is_mistake(line: str) -> bool:
    if not line.startswith("{"):
        return line.startswith("Traceback")
    entry = json.loads(line)
    # The broker's client calls each try to connect an error.
    return entry["level"] in {"error", "critical"} and not entry["logger"].startswith("aio")
