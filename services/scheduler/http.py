"""The scheduler's HTTP routes about sessions, plans and jobs. Thin: read, hand on, answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from aiohttp import web

from services.scheduler import orders
from services.scheduler.acts import Acts
from services.scheduler.domain import Change, Job
from services.scheduler.figures import LONGEST_DESCRIPTION
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import JobStore
from services.scheduler.submit import Submissions
from shared.contract import epochs
from shared.contract.api.jobs import (
    JobAnswer,
    JobLog,
    JobRequest,
    Limits,
    MoreRequest,
    PlanAnswer,
    PlanRequest,
    RetryRequest,
    Session,
    SessionRequest,
    StartingModels,
    StartingModelView,
)
from shared.contract.errors import UserError
from shared.contract.jobs import JobState
from shared.contract.starting_models import DEFAULT_STARTING_MODEL, STARTING_MODELS
from shared.runtime import auth
from shared.runtime.auth import Principal
from shared.runtime.clock import Clock
from shared.runtime.roles import Roles
from shared.runtime.web import COOKIE, answer, body, creation_id, principal, require, whole_number

_COOKIE_LIFETIME = timedelta(days=30)


class Routes:
    """The handlers and what they need."""

    def __init__(
        self,
        *,
        settings: SchedulerSettings,
        jobs: JobStore,
        roles: Roles,
        submissions: Submissions,
        acts: Acts,
        clock: Clock,
        changed: Callable[[Job], None],
        seen: Callable[[str], None],
        released: Callable[[Job], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._roles = roles
        self._submissions = submissions
        self._acts = acts
        self._clock = clock
        self._changed = changed
        self._seen = seen
        self._released = released

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
            web.post("/api/jobs/{id}/retry", self.retry),
            web.post("/api/jobs/{id}/approve", self.approve),
            web.post("/api/jobs/{id}/more", self.more),
            web.get("/api/jobs/{id}/log", self.log),
            web.delete("/api/jobs/{id}", self.delete),
        ]

    async def session(self, request: web.Request) -> web.Response:
        """Who the token says that I am. A page begins with it, so a new team's minutes are told now."""
        who = principal(request)
        self._seen(who.team)
        return answer(_session(who))

    async def sign_in(self, request: web.Request) -> web.Response:
        """Keep a token as a cookie that scripts can't read."""
        wanted = await body(request, SessionRequest)
        who = await self._roles.bounded(auth.verify(self._settings.trainyard_secret, wanted.token.strip()))
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
        require(request, "viewer")
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
                    default_steps=limits.default_steps,
                    checkpoint_every=limits.checkpoint_every,
                    max_description=LONGEST_DESCRIPTION,
                    max_minutes=limits.max_minutes,
                ),
            )
        )

    async def plan(self, request: web.Request) -> web.Response:
        """The figures of a run before it exists, when it would start, or why it would be refused."""
        who = require(request, "viewer")
        plan = await self._submissions.plan(who, await body(request, PlanRequest))
        return answer(PlanAnswer(plan=plan))

    async def submit(self, request: web.Request) -> web.Response:
        """Queue a job, or say why not now."""
        who = require(request, "member")
        wanted = await body(request, JobRequest)
        return self._created(await self._submissions.submit(who, creation_id(request, who.team), wanted))

    async def more(self, request: web.Request) -> web.Response:
        """Train a finished model more, as a new job."""
        who = require(request, "member")
        wanted = await body(request, MoreRequest)
        parent_id = request.match_info["id"]
        return self._created(await self._submissions.more(who, parent_id, creation_id(request, who.team), wanted))

    async def retry(self, request: web.Request) -> web.Response:
        """Try a job again that had to be tried later."""
        who = require(request, "member")
        wanted = await body(request, RetryRequest)
        job = await self._submissions.retry(who, request.match_info["id"], when_room=wanted.when_room)
        return answer(JobAnswer(job=job.view), headers=self._retry_after(job))

    async def approve(self, request: web.Request) -> web.Response:
        """Let a member's job pass the team's cap."""
        who, job_id = require(request, "mentor"), request.match_info["id"]
        async with self._acts.act(who, "job.approve", job_id[:100]) as found:
            job = await self._submissions.approve(who, job_id)
            found["state"] = job.view.state.value
        return answer(JobAnswer(job=job.view), headers=self._retry_after(job))

    async def stop(self, request: web.Request) -> web.Response:
        """Stop a job that waits, prepares or runs, or that would queue by itself."""
        who = require(request, "member")
        now = self._clock.now()
        job = await self._jobs.decide(request.match_info["id"], lambda job: orders.stop(job, now), team=who.team)
        self._changed(job)
        return answer(JobAnswer(job=job.view))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete an ended job with its model."""
        who = require(request, "member")
        job_id, now = request.match_info["id"], self._clock.now()
        job = await self._jobs.get(who.team, job_id)
        children = await self._jobs.descriptions([child.id for child in job.children])

        def decide(job: Job) -> Change:
            try:
                return orders.delete(job, now)
            except UserError as error:
                if error.code == "model_in_use":
                    raise _in_use(children) from error
                raise

        job = await self._jobs.decide(job_id, decide, team=who.team)
        await self._released(job)
        self._changed(job)
        return web.Response(status=204)

    async def log(self, request: web.Request) -> web.Response:
        """The last lines of the attempt that ended last."""
        who = require(request, "viewer")
        job = await self._jobs.get(who.team, request.match_info["id"])
        last = next((one for one in reversed(job.view.attempts) if one.number == job.log_attempt), None)
        reason = None if last is None else last.reason
        return answer(JobLog(lines=job.log_tail, attempt=job.log_attempt, reason=reason))

    def _created(self, job: Job) -> web.Response:
        return answer(JobAnswer(job=job.view), status=201, headers=self._retry_after(job))

    def _retry_after(self, job: Job) -> dict[str, str]:
        if job.view.state is not JobState.TRY_AGAIN_LATER or job.view.retry_after is None:
            return {}
        wait = (job.view.retry_after - self._clock.now()).total_seconds()
        return {"Retry-After": str(max(1, int(wait)))}


def _session(who: Principal) -> Session:
    return Session(team=who.team, role=who.role, name=who.name, expires=who.expires)


def _in_use(children: Mapping[str, str]) -> UserError:
    names = ", ".join(sorted(children.values())) or "a model that is being started"
    return UserError(
        "model_in_use",
        f"Other models were trained on from this one: {names}. Delete them first.",
        status=409,
        details={"used_by": [{"job_id": job_id, "description": name} for job_id, name in sorted(children.items())]},
    )
