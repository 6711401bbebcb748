"""The scheduler's composition root: everything is built and wired here, and nowhere else."""

from __future__ import annotations

from datetime import timedelta

import aiohttp
from aiohttp import web

from services.scheduler.datasets import DatasetService
from services.scheduler.domain import Job
from services.scheduler.handlers import Facts
from services.scheduler.http import Routes
from services.scheduler.loops import Cleaner, Planner, Teller
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import JobStore, TeamStore, TrainerStore
from services.scheduler.submit import Submissions
from shared.contract import topology
from shared.contract.events import Message
from shared.contract.wire import Envelope
from shared.runtime.artifacts import Artifacts
from shared.runtime.outbox import Relay
from shared.runtime.service import Runtime

NAME = "scheduler"


async def compose(runtime: Runtime[SchedulerSettings], app: web.Application) -> None:
    """Build the scheduler on `runtime` and add its routes to `app`."""
    settings, clock = runtime.settings, runtime.clock
    lease = timedelta(seconds=settings.lease_seconds)

    def about_job(body: Message, job: Job) -> Envelope:
        return runtime.envelope(body, job.view.team, job_id=job.view.id, attempt=job.view.attempt)

    store = await runtime.store()
    database = store.database(NAME)
    jobs = JobStore(database, about_job)
    trainers = TrainerStore(database)
    teams = TeamStore(database, jobs, settings.team_minutes * 60)
    await jobs.prepare()
    bus = await runtime.bus()
    session = await runtime.stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)))
    datasets = DatasetService(session, settings.dataset_url, settings.trainyard_secret, clock)

    teller = Teller(
        jobs=jobs, trainers=trainers, teams=teams, bus=bus, clock=clock, lease=lease, envelope=runtime.envelope
    )

    def seen(team: str) -> None:
        teller.touch(team)
        telling.wake()

    def changed(job: Job) -> None:
        teller.touch(job.view.team)
        for loop in (relaying, planning, telling):
            loop.wake()

    planner = Planner(
        jobs=jobs, trainers=trainers, clock=clock, lease=lease, can_hear=lambda: bus.connected, changed=changed
    )
    cleaner = Cleaner(
        jobs=jobs,
        trainers=trainers,
        teams=teams,
        datasets=datasets,
        artifacts=Artifacts(settings.artifacts_url),
        clock=clock,
    )
    relay = Relay(jobs.collection, bus, runtime.metrics)
    relaying = runtime.duty("outbox", relay.relay_once, seconds=1)
    planning = runtime.duty("plan", planner.round, seconds=settings.plan_seconds)
    telling = runtime.duty("tell", teller.round, seconds=2)
    runtime.duty("clean", cleaner.round, seconds=15)

    facts = Facts(
        jobs=jobs,
        trainers=trainers,
        bus=bus,
        clock=clock,
        envelope=runtime.envelope,
        lease_seconds=settings.lease_seconds,
        changed=changed,
    )
    submissions = Submissions(
        settings=settings, jobs=jobs, trainers=trainers, teams=teams, datasets=datasets, clock=clock, changed=changed
    )
    routes = Routes(
        settings=settings, jobs=jobs, teams=teams, submissions=submissions, clock=clock, changed=changed, seen=seen
    )
    app.add_routes(routes.table())
    await bus.consume(topology.SCHEDULER_FACTS, facts.table())
