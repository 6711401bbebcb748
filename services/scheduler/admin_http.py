"""The HTTP routes for operators (role admin): teams, queue, trainers, capacity, audit. Thin: read, hand on, answer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

from aiohttp import web

from services.scheduler import orders
from services.scheduler.acts import Acts
from services.scheduler.admin_views import AdminViews
from services.scheduler.domain import Change, Job
from services.scheduler.records import AuditLog, CapacityHistory
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import JobStore
from services.scheduler.teams import TeamStore
from services.scheduler.trainers import TrainerStore
from services.scheduler.words import to_come, words
from shared.contract import topology
from shared.contract.api.admin import (
    AuditAnswer,
    BatchAnswer,
    CancelRequest,
    CapacityAnswer,
    CreateTeamsRequest,
    GrantRequest,
    PauseRequest,
    PriorityRequest,
    QueueAnswer,
    ReconcileRequest,
    TeamOutcome,
    TeamsAnswer,
    TrainerAnswer,
    TrainersAnswer,
)
from shared.contract.api.errors import ErrorBody
from shared.contract.api.jobs import JobAnswer
from shared.contract.api.teams import Pause
from shared.contract.errors import NotFound, Retry, UserError
from shared.contract.events import TrainerDrain
from shared.contract.jobs import JobState
from shared.contract.views import LedgerEntry, Reason
from shared.contract.wire import Envelope
from shared.runtime import auth, log
from shared.runtime.auth import Principal
from shared.runtime.bus import Bus, Unroutable
from shared.runtime.clock import Clock
from shared.runtime.web import answer, body, creation_id, principal, whole_number

_TEAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_MOST_MINUTES = 1_000_000
_MENTOR_DAYS = 90
_LONGEST_NOTE = 200


class AdminRoutes:
    """The handlers and what they need."""

    def __init__(
        self,
        *,
        settings: SchedulerSettings,
        jobs: JobStore,
        trainers: TrainerStore,
        teams: TeamStore,
        views: AdminViews,
        acts: Acts,
        audit: AuditLog,
        capacity: CapacityHistory,
        bus: Bus,
        envelope: Callable[[TrainerDrain, str], Envelope],
        clock: Clock,
        changed: Callable[[Job], None],
        seen: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._trainers = trainers
        self._teams = teams
        self._views = views
        self._acts = acts
        self._audit = audit
        self._capacity = capacity
        self._bus = bus
        self._envelope = envelope
        self._clock = clock
        self._changed = changed
        self._seen = seen
        self._log = log.get("admin")

    def table(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/api/admin/teams", self.teams),
            web.post("/api/admin/teams", self.create),
            web.post("/api/admin/grants", self.grant),
            web.post("/api/admin/pauses", self.pause),
            web.get("/api/admin/queue", self.queue),
            web.post("/api/admin/jobs/{id}/priority", self.priority),
            web.post("/api/admin/jobs/{id}/cancel", self.cancel),
            web.post("/api/admin/jobs/{id}/reconcile", self.reconcile),
            web.get("/api/trainers", self.trainers),
            web.post("/api/trainers/{id}/drain", self.drain),
            web.get("/api/admin/capacity", self.capacity),
            web.get("/api/admin/audit", self.audit),
        ]

    async def teams(self, request: web.Request) -> web.Response:
        """All teams with their minutes, jobs and pauses."""
        _admin(request)
        pause = await self._teams.paused(None, self._clock.now())
        return answer(TeamsAnswer(teams=await self._views.teams(), pause=pause))

    async def create(self, request: web.Request) -> web.Response:
        """New teams, each with its first mentor's token."""
        who, wanted = _admin(request), await body(request, CreateTeamsRequest)
        minutes = None if wanted.minutes is None else _minutes(wanted.minutes, lowest=0)
        request_id = creation_id(request, who.team)

        async def create(team: str) -> TeamOutcome:
            if not _TEAM.fullmatch(team):
                raise UserError(
                    "bad_teams",
                    f"A team's name has 1 to 40 letters, digits, '.', '_' and '-'; {team[:60]!r} isn't one.",
                    "teams",
                )
            now = self._clock.now()
            if not await self._teams.create(team, None if minutes is None else minutes * 60, now, who.name, request_id):
                raise UserError("team_exists", f"There is a team {team} already.", "teams", status=409)
            token = auth.mint(
                self._settings.trainyard_secret,
                team=team,
                role="mentor",
                name="mentor",
                now=now,
                lifetime=timedelta(days=_MENTOR_DAYS),
            )
            return TeamOutcome(
                team=team, token=token, balance_seconds=(await self._teams.view(team, now)).balance_seconds
            )

        return await self._batch(who, "team.create", wanted.teams, create, {"minutes": minutes})

    async def grant(self, request: web.Request) -> web.Response:
        """Minutes for teams; the same Idempotency-Key grants once."""
        who, wanted = _admin(request), await body(request, GrantRequest)
        minutes, note = _minutes(wanted.minutes, lowest=-_MOST_MINUTES), _note(wanted.note, "note")
        grant_id = creation_id(request, who.team)

        async def grant(team: str) -> TeamOutcome:
            now = self._clock.now()
            words = f"{wanted.kind} grant: {note}" if note else f"{wanted.kind} grant"
            line = LedgerEntry(kind="grant", seconds=minutes * 60, at=now, note=words, by=who.name)
            await self._teams.grant(team, grant_id, line)
            self._seen(team)
            return TeamOutcome(team=team, balance_seconds=(await self._teams.view(team, now)).balance_seconds)

        return await self._batch(
            who, "team.grant", wanted.teams, grant, {"minutes": minutes, "kind": wanted.kind, "note": note}
        )

    async def pause(self, request: web.Request) -> web.Response:
        """Close or open training, for teams or for everybody."""
        who, wanted, now = _admin(request), await body(request, PauseRequest), self._clock.now()
        message, until = _note(wanted.message, "message"), to_come(wanted.until, now)
        pause = Pause(by=who.name, at=now, message=message, until=until) if wanted.paused else None
        act = "training.pause" if wanted.paused else "training.resume"
        details = {"message": message, "until": None if until is None else until.isoformat()}
        if wanted.teams is None:
            async with self._acts.act(who, act, "everybody", details):
                await self._teams.pause(None, pause)
            return answer(BatchAnswer(results=[], failed=0))

        async def one(team: str) -> TeamOutcome:
            await self._teams.pause(team, pause)
            return TeamOutcome(team=team)

        return await self._batch(who, act, wanted.teams, one, details)

    async def queue(self, request: web.Request) -> web.Response:
        """All that waits, next first."""
        _admin(request)
        views = self._views
        queue, unspecified, for_room = await views.queue(), await views.unspecified(), await views.for_room()
        return answer(QueueAnswer(queue=queue, unspecified=unspecified, for_room=for_room))

    async def priority(self, request: web.Request) -> web.Response:
        """Another class for a job."""
        who, wanted = _admin(request), await body(request, PriorityRequest)
        return await self._job(
            who,
            "job.priority",
            request,
            lambda job: orders.set_priority(job, wanted.priority),
            {"priority": wanted.priority},
        )

    async def cancel(self, request: web.Request) -> web.Response:
        """End a team's job, or its wait for room, with a reason that the team sees."""
        who, wanted, now = _admin(request), await body(request, CancelRequest), self._clock.now()
        words = _note(wanted.reason, "reason")
        why = Reason(code="operator", message=f"Ended by an operator: {words}")
        return await self._job(who, "job.cancel", request, lambda job: orders.stop(job, now, why), {"reason": words})

    async def reconcile(self, request: web.Request) -> web.Response:
        """The way out of STATE_UNSPECIFIED."""
        who, wanted, now = _admin(request), await body(request, ReconcileRequest), self._clock.now()
        target = JobState(wanted.state)
        return await self._job(
            who, "job.reconcile", request, lambda job: orders.resolve(job, target, now), {"state": wanted.state}
        )

    async def trainers(self, request: web.Request) -> web.Response:
        """All trainers with what they hold."""
        _admin(request)
        return answer(TrainersAnswer(trainers=await self._views.trainers()))

    async def drain(self, request: web.Request) -> web.Response:
        """Let a trainer save and hand back its jobs and end."""
        who, trainer_id = _admin(request), request.match_info["id"]
        async with self._acts.act(who, "trainer.drain", trainer_id[:100]):
            trainer = await self._trainers.ask_drain(trainer_id)
            if trainer is None:
                raise UserError("not_found", f"There is no trainer {trainer_id[:100]!r}.", status=404)
            self._views.drain_asked(trainer)
            try:
                await self._bus.command(topology.trainer_queue(trainer_id).name, self._envelope(TrainerDrain(), ""))
            except Unroutable as error:
                raise UserError("trainer_gone", f"Trainer {trainer_id} isn't connected.", status=409) from error
            except Retry as error:
                # It is written down: each heartbeat that doesn't know of it yet is answered with the command.
                self._log.warning("drain.untaken", trainer=trainer_id, error=str(error))
        return answer(TrainerAnswer(trainer=await self._views.trainer(trainer)))

    async def capacity(self, request: web.Request) -> web.Response:
        """How full the room was."""
        _admin(request)
        hours = whole_number(request, "hours", 24, 1, 720)
        return answer(CapacityAnswer(points=await self._capacity.since(self._clock.now() - timedelta(hours=hours))))

    async def audit(self, request: web.Request) -> web.Response:
        """What operators and mentors did."""
        _admin(request)
        return answer(AuditAnswer(entries=await self._audit.newest(whole_number(request, "limit", 100, 1, 1000))))

    async def _job(
        self,
        who: Principal,
        act: str,
        request: web.Request,
        decide: Callable[[Job], Change],
        details: dict[str, object],
    ) -> web.Response:
        job_id = request.match_info["id"]
        async with self._acts.act(who, act, job_id[:100], details) as found:
            try:
                job = await self._jobs.decide(job_id, decide)
            except NotFound as error:
                raise UserError("not_found", f"There is no job {job_id[:100]!r}.", status=404) from error
            found["team"] = job.view.team
            found["state"] = job.view.state.value
        self._changed(job)
        return answer(JobAnswer(job=job.view))

    async def _batch(
        self,
        who: Principal,
        act: str,
        teams: Sequence[str],
        do: Callable[[str], Awaitable[TeamOutcome]],
        details: Mapping[str, object],
    ) -> web.Response:
        """Each team for itself: what one can't have doesn't keep the others from it."""
        results: list[TeamOutcome] = []
        for team in dict.fromkeys(teams):
            try:
                async with self._acts.act(who, act, team[:100], details):
                    results.append(await do(team))
            except UserError as error:
                told = ErrorBody(code=error.code, message=error.message, field=error.field)
                results.append(TeamOutcome(team=team, error=told))
        return answer(BatchAnswer(results=results, failed=sum(one.error is not None for one in results)))


def _admin(request: web.Request) -> Principal:
    who = principal(request)
    auth.require(who, "admin")
    return who


def _minutes(minutes: int, *, lowest: int) -> int:
    if not lowest <= minutes <= _MOST_MINUTES:
        raise UserError(
            "bad_minutes", f"minutes must be from {lowest:,} to {_MOST_MINUTES:,}; it is {minutes:,}.", "minutes"
        )
    return minutes


def _note(text: str, field: str) -> str:
    return words(text, field, most=_LONGEST_NOTE)
