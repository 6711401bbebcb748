"""The scheduler's composition root: everything is built and wired here, and nowhere else."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta

import aiohttp
from aiohttp import web

from services.scheduler.acts import Acts
from services.scheduler.admin_http import AdminRoutes
from services.scheduler.admin_views import AdminViews
from services.scheduler.announcements import AnnouncementStore
from services.scheduler.board import Board
from services.scheduler.books import Books
from services.scheduler.cleaner import Auditor, CapacityRecorder, Cleaner
from services.scheduler.datasets import DatasetService
from services.scheduler.domain import Job
from services.scheduler.ears import Ears
from services.scheduler.figures import Figures
from services.scheduler.handlers import Facts
from services.scheduler.http import Routes
from services.scheduler.leader import Leadership
from services.scheduler.members import MemberStore
from services.scheduler.nudge import Nudger
from services.scheduler.outlook import Outlook
from services.scheduler.planner import Planner, Usher
from services.scheduler.records import AuditLog, CapacityHistory
from services.scheduler.refit import Refitter
from services.scheduler.reserve import Reservations
from services.scheduler.room_http import RoomRoutes
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import ABOUT, JobStore, is_over
from services.scheduler.submit import Submissions
from services.scheduler.team_http import TeamRoutes
from services.scheduler.teams import TeamStore
from services.scheduler.teller import Teller
from services.scheduler.token_http import TokenRoutes
from services.scheduler.tokens import TokenStore
from services.scheduler.trainers import TrainerStore
from shared.contract import topology
from shared.contract.events import MembersAsked, Message, SchedulerPinged, TokenUsed
from shared.contract.jobs import TERMINAL
from shared.contract.wire import Envelope
from shared.runtime.artifacts import Artifacts
from shared.runtime.bus import Handlers
from shared.runtime.outbox import Relay
from shared.runtime.roles import Roles
from shared.runtime.service import Runtime
from shared.runtime.tokens import TokenUses

NAME = "scheduler"
_SOON = 2.0
# The broker drops a scheduler that stands still after at most three of these, and only then the next one hears anything.
_BROKER_HEARTBEAT_SECONDS = 2


async def compose(runtime: Runtime[SchedulerSettings], app: web.Application) -> None:
    """Build the scheduler on `runtime` and add its routes to `app`."""
    settings, clock = runtime.settings, runtime.clock
    lease = timedelta(seconds=settings.lease_seconds)

    def about_job(body: Message, job: Job) -> Envelope:
        return runtime.envelope(body, job.view.team, job_id=job.view.id, attempt=job.view.attempt)

    database = (await runtime.store()).database(NAME)
    jobs = JobStore(database, about_job)
    trainers = TrainerStore(database)
    books = Books(jobs)
    teams = TeamStore(database, jobs, books, settings.team_minutes * 60)
    members, tokens = MemberStore(teams, runtime.envelope), TokenStore(database, runtime.envelope)
    announcements = AnnouncementStore(database, runtime.envelope)
    audit, capacity = AuditLog(database), CapacityHistory(database)
    for part in (jobs, members, tokens, announcements, audit, capacity):
        await part.prepare()
    bus = await runtime.bus(heartbeat_seconds=_BROKER_HEARTBEAT_SECONDS)
    session = await runtime.stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)))
    datasets = DatasetService(session, settings.dataset_url, settings.trainyard_secret, clock)

    def touched(job: Job) -> bool:
        """Whether this is the first word of a line in the job's ledger: then its team's minutes are to be told."""
        known = board.recall(job.view.id)
        if known is not None and len(known.ledger) == len(job.ledger):
            return False
        teller.touch(job.view.team)
        return True

    def learned(job: Job) -> None:
        books.wrote(job)
        if board.live and touched(job):
            telling.wake()

    board = Board(
        jobs=jobs,
        trainers=trainers,
        clock=clock,
        lease=lease,
        half_life=timedelta(hours=settings.usage_half_life_hours),
        hours=settings.hours(),
        pause_lead=timedelta(seconds=settings.pause_lead_seconds),
        seen=learned,
    )

    # What is done when something was written. A scheduler that doesn't plan tells the one that does.
    nudger = Nudger(bus, about_job)

    def changed(job: Job) -> None:
        telling.wake()
        if not board.live:
            books.wrote(job)
            touched(job)
            nudger.nudge(job)
            return
        board.put(job)
        for loop in (relaying, planning):
            loop.wake()
        if job.view.state in TERMINAL:
            ushering.wake()

    def room_changed() -> None:
        for loop in (planning, telling, ushering, refitting, recording):
            loop.wake()

    def seen(team: str) -> None:
        teller.touch(team)
        telling.wake()

    async def asked(_: Envelope) -> None:
        teller.ask_lists()
        telling.wake()

    async def token_used(envelope: Envelope) -> None:
        fact = envelope.body
        assert isinstance(fact, TokenUsed)
        await tokens.used(envelope.team, fact.token, fact.day)

    # Who plans, and what begins and ends with it.
    facts = Facts(
        jobs=jobs,
        trainers=trainers,
        board=board,
        bus=bus,
        clock=clock,
        envelope=runtime.envelope,
        lease_seconds=settings.lease_seconds,
        changed=changed,
        room_changed=room_changed,
    )

    name = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    ears = Ears(name=name, bus=bus, clock=clock, lease=lease, envelope=runtime.envelope)

    async def pinged(envelope: Envelope) -> None:
        deaf = not ears.open()
        await ears.heard(envelope)
        if deaf:
            planning.wake()

    async def takes(term: int) -> None:
        ears.forget()
        await jobs.outrank(term)
        await board.go_live()
        # Meanwhile others have written what nobody told us of.
        books.forget()
        others: Handlers = {SchedulerPinged: pinged, MembersAsked: asked, TokenUsed: token_used}
        await bus.consume(topology.SCHEDULER_FACTS, {**facts.table(), **others})
        room_changed()
        for loop in (relaying, pinging):
            loop.wake()

    async def leaves() -> None:
        board.live = False
        await bus.stop_consuming(settings.drain_seconds)

    leadership = Leadership(
        database,
        name=name,
        clock=clock,
        seconds=settings.leader_seconds,
        takes=takes,
        leaves=leaves,
    )

    def term() -> int | None:
        return leadership.term

    # The duties of the one that plans.
    figures = Figures(settings, board, clock)
    reservations = Reservations(settings=settings, teams=teams, board=board, figures=figures, clock=clock)
    submissions = Submissions(
        settings=settings,
        jobs=jobs,
        teams=teams,
        board=board,
        figures=figures,
        reservations=reservations,
        datasets=datasets,
        clock=clock,
        changed=changed,
    )
    teller = Teller(
        board=board,
        teams=teams,
        lists=(members.lists, tokens.lists, announcements.lists),
        bus=bus,
        clock=clock,
        term=term,
        envelope=runtime.envelope,
    )
    planner = Planner(
        jobs=jobs,
        board=board,
        clock=clock,
        lease_seconds=settings.lease_seconds,
        term=term,
        can_hear=lambda: bus.connected and ears.open(),
        changed=changed,
    )
    usher = Usher(jobs=jobs, submissions=submissions, term=term)
    refitter = Refitter(
        settings=settings,
        jobs=jobs,
        board=board,
        figures=figures,
        reservations=reservations,
        clock=clock,
        term=term,
        changed=changed,
    )
    cleaner = Cleaner(
        jobs=jobs,
        trainers=trainers,
        teams=teams,
        datasets=datasets,
        artifacts=Artifacts(settings.artifacts_url),
        clock=clock,
        term=term,
    )
    auditor = Auditor(jobs=jobs, board=board, term=term, changed=changed)
    recorder = CapacityRecorder(board=board, history=capacity, clock=clock, lease=lease, term=term)
    relay = Relay(jobs.collection, bus, runtime.metrics, clock, fields=ABOUT, is_over=is_over)
    member_relay = Relay(members.collection, bus, runtime.metrics, clock)
    announcement_relay = Relay(announcements.collection, bus, runtime.metrics, clock)
    token_relay = Relay(tokens.collection, bus, runtime.metrics, clock)

    def while_planning(duty: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        async def round_() -> None:
            if term() is not None:
                await duty()

        return round_

    # What others wait for is tried again soon after an outage.
    relaying = runtime.duty("outbox", while_planning(relay.relay_once), seconds=1, longest_pause=_SOON)
    telling_members = runtime.duty("members", while_planning(member_relay.relay_once), seconds=1, longest_pause=_SOON)
    announcing = runtime.duty("announce", while_planning(announcement_relay.relay_once), seconds=1, longest_pause=_SOON)
    telling_tokens = runtime.duty("tokens", while_planning(token_relay.relay_once), seconds=1, longest_pause=_SOON)
    planning = runtime.duty("plan", planner.round, seconds=settings.plan_seconds, least=0.01, longest_pause=_SOON)
    pinging = runtime.duty("ping", while_planning(ears.round), seconds=ears.pace, longest_pause=_SOON)
    telling = runtime.duty("tell", teller.round, seconds=2, least=1)
    ushering = runtime.duty("usher", usher.round, seconds=5, least=0.5)
    refitting = runtime.duty("refit", refitter.round, seconds=5, least=1)
    nudger.wake = runtime.duty("nudge", nudger.round, seconds=60).wake
    runtime.duty("clean", cleaner.round, seconds=15)
    runtime.duty("audit", auditor.round, seconds=settings.audit_seconds)
    recording = runtime.duty("capacity", recorder.round, seconds=30, least=1)
    runtime.duty("lead", leadership.round, seconds=leadership.pace, longest_pause=_SOON)

    async def retire() -> None:
        # What is still written here is to be told to whoever plans next, not by what is remembered here.
        board.live = False
        await leadership.resign()

    runtime.on_drain(retire)

    # HTTP.
    def listed(team: str) -> None:
        telling_members.wake()
        telling_tokens.wake()
        # Its minutes are told with a new version, and a page that sees one looks at the lists too.
        seen(team)

    uses = TokenUses(clock, tokens.used)
    uses.wake = runtime.duty("token-uses", uses.round, seconds=60).wake
    roles, acts = Roles(members.standing, tokens.revoked, uses.note), Acts(audit, clock)
    app.middlewares.append(roles.middleware)
    views = AdminViews(board=board, jobs=jobs, teams=teams, places=teller.current_places, clock=clock, lease=lease)
    routes = Routes(
        settings=settings,
        jobs=jobs,
        roles=roles,
        submissions=submissions,
        acts=acts,
        clock=clock,
        changed=changed,
        seen=seen,
        released=cleaner.release_parent,
    )
    team_routes = TeamRoutes(
        settings=settings, teams=teams, members=members, tokens=tokens, acts=acts, clock=clock, listed=listed
    )
    room_routes = RoomRoutes(
        outlook=Outlook(settings=settings, board=board, figures=figures, clock=clock),
        announcements=announcements,
        acts=acts,
        clock=clock,
        announced=announcing.wake,
    )
    token_routes = TokenRoutes(
        secret=settings.trainyard_secret,
        tokens=tokens,
        members=members,
        acts=acts,
        clock=clock,
        listed=listed,
    )
    admin_routes = AdminRoutes(
        settings=settings,
        jobs=jobs,
        trainers=trainers,
        teams=teams,
        views=views,
        acts=acts,
        audit=audit,
        capacity=capacity,
        bus=bus,
        envelope=runtime.envelope,
        clock=clock,
        changed=changed,
        seen=seen,
    )
    for table in (
        routes.table(),
        team_routes.table(),
        token_routes.table(),
        room_routes.table(),
        admin_routes.table(),
    ):
        app.add_routes(table)
