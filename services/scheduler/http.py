"""The scheduler's HTTP routes. Thin: read, hand on, answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from aiohttp import web

from services.scheduler import domain
from services.scheduler.domain import Job
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import JobStore, TeamStore
from services.scheduler.submit import LONGEST_DESCRIPTION, Submissions
from shared.contract import epochs
from shared.contract.api.jobs import (
    JobAnswer,
    JobRequest,
    Limits,
    PlanAnswer,
    PlanRequest,
    Session,
    SessionRequest,
    StartingModels,
    StartingModelView,
    TeamAnswer,
)
from shared.contract.jobs import JobState
from shared.contract.starting_models import DEFAULT_STARTING_MODEL, STARTING_MODELS
from shared.runtime import auth
from shared.runtime.auth import Principal
from shared.runtime.clock import Clock
from shared.runtime.web import COOKIE, answer, body, creation_id, principal, whole_number

_COOKIE_LIFETIME = timedelta(days=30)
_DEFAULT_STEPS = 3000


class Routes:
    """The handlers and what they need."""

    def __init__(
        self,
        *,
        settings: SchedulerSettings,
        jobs: JobStore,
        teams: TeamStore,
        submissions: Submissions,
        clock: Clock,
        changed: Callable[[Job], None],
        seen: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._teams = teams
        self._submissions = submissions
        self._clock = clock
        self._changed = changed
        self._seen = seen

    def table(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/api/session", self.session),
            web.post("/api/session", self.sign_in),
            web.delete("/api/session", self.sign_out),
            web.get("/api/starting-models", self.starting_models),
            web.post("/api/plans", self.plan),
            web.post("/api/jobs", self.submit),
            web.post("/api/jobs/{id}/stop", self.stop),
            web.delete("/api/jobs/{id}", self.delete),
            web.get("/api/team", self.team),
        ]

    async def session(self, request: web.Request) -> web.Response:
        """Who the token says that I am. A page begins with it, so a new team's minutes are told now."""
        who = principal(request)
        self._seen(who.team)
        return answer(_session(who))

    async def sign_in(self, request: web.Request) -> web.Response:
        """Keep a token as a cookie that scripts can't read."""
        wanted = await body(request, SessionRequest)
        who = auth.verify(self._settings.trainyard_secret, wanted.token.strip())
        response = answer(_session(who))
        response.set_cookie(
            COOKIE,
            wanted.token.strip(),
            max_age=int(_COOKIE_LIFETIME.total_seconds()),
            httponly=True,
            samesite="Strict",
            secure=self._settings.secure_cookie,
        )
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        """Forget the cookie."""
        response = web.Response(status=204)
        response.del_cookie(COOKIE)
        return response

    async def starting_models(self, request: web.Request) -> web.Response:
        """What can be started from, with the batch size for so many training pictures, and the installation's limits."""
        auth.require(principal(request), "viewer")
        frames = whole_number(request, "frames", 0, 0, 10_000_000)
        limits = self._settings
        models = [
            StartingModelView(
                key=model.key,
                name=model.name,
                summary=model.summary,
                input_size=model.input_size,
                batch_size={
                    kind: epochs.fitting_batch_size(size, frames) if frames else size
                    for kind, size in model.batch_size.items()
                },
            )
            for model in STARTING_MODELS.values()
        ]
        return answer(
            StartingModels(
                default=DEFAULT_STARTING_MODEL,
                starting_models=models,
                limits=Limits(
                    min_steps=limits.min_steps,
                    max_steps=limits.max_steps,
                    default_steps=max(limits.min_steps, min(_DEFAULT_STEPS, limits.max_steps)),
                    checkpoint_every=limits.checkpoint_every,
                    max_description=LONGEST_DESCRIPTION,
                    max_minutes=limits.max_minutes,
                ),
            )
        )

    async def plan(self, request: web.Request) -> web.Response:
        """The figures of a run before it exists."""
        who = principal(request)
        auth.require(who, "viewer")
        plan = await self._submissions.plan(who.team, await body(request, PlanRequest))
        return answer(PlanAnswer(plan=plan))

    async def submit(self, request: web.Request) -> web.Response:
        """Queue a job, or say why not now."""
        who = principal(request)
        auth.require(who, "member")
        wanted = await body(request, JobRequest)
        job = await self._submissions.submit(who, creation_id(request, who.team), wanted)
        headers = {}
        if job.view.state is JobState.TRY_AGAIN_LATER and job.view.retry_after is not None:
            wait = (job.view.retry_after - self._clock.now()).total_seconds()
            headers["Retry-After"] = str(max(1, int(wait)))
        return answer(JobAnswer(job=job.view), status=201, headers=headers)

    async def stop(self, request: web.Request) -> web.Response:
        """Stop a job that waits, prepares or runs."""
        who = principal(request)
        auth.require(who, "member")
        now = self._clock.now()
        job = await self._jobs.decide(request.match_info["id"], lambda job: domain.stop(job, now), team=who.team)
        self._changed(job)
        return answer(JobAnswer(job=job.view))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete an ended job with its model."""
        who = principal(request)
        auth.require(who, "member")
        now = self._clock.now()
        job = await self._jobs.decide(request.match_info["id"], lambda job: domain.delete(job, now), team=who.team)
        self._changed(job)
        return web.Response(status=204)

    async def team(self, request: web.Request) -> web.Response:
        """The team's minutes and its statement."""
        who = principal(request)
        auth.require(who, "viewer")
        now = self._clock.now()
        view = await self._teams.view(who.team, now)
        return answer(TeamAnswer(team=view, ledger=await self._teams.lines(who.team, now)))


def _session(who: Principal) -> Session:
    return Session(team=who.team, role=who.role, name=who.name, expires=who.expires)
