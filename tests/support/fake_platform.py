"""A server that speaks Trainyard's HTTP and websocket contract from memory, in a thread of its own: for the CLI's tests.

A real aiohttp server with the services' own middlewares (tokens, errors); what it answers is told by the test. The real
services have their own tests: nothing here decides anything.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from aiohttp import WSCloseCode, web
from aiohttp.typedefs import Handler, Middleware

from shared.contract.api.datasets import CompatibilityRequest
from shared.contract.api.jobs import JobRequest, MoreRequest, PlanRequest, RetryRequest
from shared.contract.api.teams import LedgerAnswer, Member, MemberAnswer, MemberRequest, TeamRequest
from shared.contract.api.tokens import TokenAnswer, TokenRequest, TokensAnswer, TokenView
from shared.contract.errors import NotFound, UserError
from shared.contract.stream import EventsFrame, MetricPoint, Progress, SnapshotFrame, StreamEvent
from shared.contract.views import DatasetView, JobView, QueuePlace
from shared.runtime.auth import Role, mint, require
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing
from shared.runtime.web import answer, application, creation_id, principal
from tests.support.answers import (
    COMPATIBLE,
    HISTORY,
    INCOMPATIBLE,
    LEDGER_CSV,
    LOG,
    MODEL_BYTES,
    NOW,
    PLAN,
    REPORT,
    STARTING_MODELS,
    STATISTICS,
    TEAM,
    dataset_view,
    job_view,
)

T = TypeVar("T")
Answering = Callable[[web.Request], Awaitable[web.Response]]
SECRET = "a secret for tests that is long enough"
# Fields whose keys are data: names of losses, metrics, accelerators, labels.
_MAPS = frozenset(
    {"batch_size", "read", "skipped_by_code", "losses", "training", "evaluation", "checks", "requires", "labels"}
)


class Asked(msgspec.Struct):
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class FakePlatform:
    """What is in `datasets`, `jobs`, … is answered; what comes is kept in `asked`. Its methods may be called by any thread."""

    def __init__(self) -> None:
        self.token = mint(SECRET, team="demo", role="mentor", name="tester", now=NOW, lifetime=None)
        self.url = ""
        self.epoch = "e1"
        self.seq = 0
        self.datasets: dict[str, DatasetView] = {}
        self.jobs: dict[str, JobView] = {}
        self.points: dict[str, list[MetricPoint]] = {}
        self.queue: list[QueuePlace] = []
        self.progress: dict[str, Progress] = {}
        self.plan: dict[str, Any] = PLAN
        self.compatible = True
        self.newer = False  # every object that is sent has a field more than clients know
        self.team = TEAM
        self.tokens: dict[str, TokenView] = {}
        self.log = LOG
        self.on_submit: Callable[[JobView], JobView] = lambda job: job
        self.download_bytes = MODEL_BYTES
        self.asked: list[Asked] = []
        self.connected: list[dict[str, str]] = []
        # Answers to give instead of the real one, in turn, by "METHOD path".
        self.instead: dict[str, list[Callable[[web.Request], Awaitable[web.StreamResponse]]]] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._arrived = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> FakePlatform:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def publish(self, *events: StreamEvent, progress: Progress | None = None) -> None:
        """Sends events to all clients; their `seq` is set here. A model's put and gone are kept for later answers too."""
        frame = self._frame(list(events), progress)
        self._call(self._send(frame))

    def send_raw(self, text: str) -> None:
        """Sends whatever it is."""
        self._call(self._send(text.encode()))

    def hang_up(self, code: int = WSCloseCode.GOING_AWAY, reason: str = "") -> None:
        """Closes all websockets."""

        async def close() -> None:
            for socket in list(self._sockets):
                await socket.close(code=code, message=reason.encode())

        self._call(close())

    def wait_connected(self, times: int = 1) -> None:
        """Until `times` websockets were opened in all and the last of them is served."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.connected) >= times, 10), self.connected

    def times(self, method: str, path: str) -> int:
        """How often something was asked for."""
        return sum((asked.method, asked.path) == (method, path) for asked in self.asked)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        async def problems() -> dict[str, str]:
            return {}

        app = application(secret=SECRET, metrics=Metrics(), tracing=Tracing("fake"), problems=problems)
        app.middlewares.append(self._remember())
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _routes(self) -> list[web.RouteDef]:
        """What teams can ask for; a platform that answers more adds its own."""
        return [
            web.post("/api/datasets", self._add_dataset),
            web.get("/api/datasets", self._of(lambda _: {"datasets": list(self.datasets.values())})),
            web.post("/api/datasets/compatibility", self._of(self._compatibility)),
            web.get("/api/datasets/{id}", self._of(self._dataset)),
            web.get("/api/datasets/{id}/statistics", self._of(lambda _: STATISTICS)),
            web.delete("/api/datasets/{id}", self._delete(lambda: self.datasets)),
            web.get("/api/session", self._of(principal)),
            web.get("/api/starting-models", self._of(lambda _: STARTING_MODELS)),
            web.post("/api/plans", self._of(self._plan)),
            web.post("/api/jobs", self._submit),
            web.post("/api/jobs/{id}/more", self._submit_more),
            web.post("/api/jobs/{id}/retry", self._job(RetryRequest, lambda asked: {"when_room": asked.when_room})),
            web.post("/api/jobs/{id}/approve", self._job(None, lambda _: {"approved_by": "tester"}, "mentor")),
            web.get("/api/jobs/{id}/log", self._of(lambda r: self._found(self.jobs, r) and self.log)),
            web.post("/api/jobs/{id}/stop", self._of(lambda r: {"job": self._found(self.jobs, r)})),
            web.delete("/api/jobs/{id}", self._delete(lambda: self.jobs)),
            web.get("/api/team", self._of(lambda _: self.team)),
            web.patch("/api/team", self._of(self._cap, "mentor")),
            web.get("/api/team/ledger", self._ledger),
            web.put("/api/team/members/{id}", self._of(self._member, "mentor")),
            web.delete(
                "/api/team/members/{id}",
                self._delete(lambda: {member.name: member for member in self.team.members}),
            ),
            web.get("/api/team/tokens", self._of(self._tokens)),
            web.post("/api/team/tokens", self._of(self._token, "member")),
            web.delete("/api/team/tokens/{id}", self._delete(lambda: self.tokens)),
            web.get("/api/models", self._of(lambda _: {"models": list(self.jobs.values())})),
            web.get("/api/models/{id}", self._of(self._model)),
            web.get("/api/models/{id}/events", self._of(lambda _: {"events": HISTORY})),
            web.get("/api/models/{id}/download", self._download),
            web.get("/api/ws", self._websocket),
        ]

    async def _stop(self) -> None:
        for socket in list(self._sockets):
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _remember(self) -> Middleware:
        @web.middleware
        async def remember(request: web.Request, handler: Handler) -> web.StreamResponse:
            waiting = self.instead.get(f"{request.method} {request.path}")
            body = b"" if waiting or request.path == "/api/ws" else await request.content.read()
            self.asked.append(Asked(request.method, request.path, dict(request.query), dict(request.headers), body))
            response = await (waiting.pop(0)(request) if waiting else handler(request))
            if self.newer and isinstance(response, web.Response) and response.content_type == "application/json":
                assert isinstance(response.body, bytes)
                response.body = self._sent(response.body)
            return response

        return remember

    def _sent(self, content: bytes) -> bytes:
        return msgspec.json.encode(_extended(msgspec.json.decode(content))) if self.newer else content

    @staticmethod
    def _of(content: Callable[[web.Request], Any], role: Role = "viewer") -> Answering:
        async def handle(request: web.Request) -> web.Response:
            require(principal(request), role)
            return answer(content(request))

        return handle

    @staticmethod
    def _found(things: dict[str, Any], request: web.Request) -> Any:
        identifier = request.match_info["id"]
        if identifier not in things:
            raise NotFound("thing", identifier)
        return things[identifier]

    def _job(self, kind: type[T] | None, change: Callable[[T], Mapping[str, Any]], role: Role = "member") -> Answering:
        """A command about one job: `change` says of the body what becomes of it."""

        def content(request: web.Request) -> dict[str, Any]:
            job = self._found(self.jobs, request)
            asked: Any = None if kind is None else self._asked_for(kind)
            return {"job": msgspec.structs.replace(job, **change(asked))}

        return self._of(content, role)

    def _cap(self, _: web.Request) -> Any:
        asked = self._asked_for(TeamRequest)
        return msgspec.structs.replace(self.team, member_cap_minutes=asked.member_cap_minutes)

    async def _ledger(self, request: web.Request) -> web.Response:
        if request.query["format"] == "csv":
            return web.Response(text=LEDGER_CSV, content_type="text/csv")
        return answer(LedgerAnswer(ledger=self.team.ledger, balance_seconds=self.team.team.balance_seconds))

    def _member(self, request: web.Request) -> MemberAnswer:
        role = self._asked_for(MemberRequest).role
        member = Member(name=request.match_info["id"], role=role, added_at=NOW, added_by="tester")
        return MemberAnswer(member=member, token="header.claims.signature" * 10, days=365)

    def _tokens(self, _: web.Request) -> TokensAnswer:
        return TokensAnswer(tokens=list(self.tokens.values()), live=len(self.tokens), limit=20)

    def _token(self, request: web.Request) -> TokenAnswer:
        asked = self._asked_for(TokenRequest)
        made = TokenView(
            id=creation_id(request, "demo"),
            name=asked.name,
            role=asked.role,
            present_role=asked.role,
            made_by="tester",
            made_at=NOW,
            expires_at=NOW + timedelta(days=asked.days),
        )
        self.tokens[made.id] = made
        return TokenAnswer(token=made, secret="header.claims.signature" * 10)

    def _delete(self, things: Callable[[], dict[str, Any]]) -> Answering:
        async def handle(request: web.Request) -> web.Response:
            self._found(things(), request)
            del things()[request.match_info["id"]]
            return web.Response(status=204)

        return handle

    async def _add_dataset(self, request: web.Request) -> web.Response:
        view = dataset_view(creation_id(request, "demo"), name=request.query["name"])
        self.datasets[view.id] = view
        return answer({"dataset": view, "report": REPORT}, status=201)

    def _dataset(self, request: web.Request) -> dict[str, Any]:
        view = self._found(self.datasets, request)
        return {"dataset": view, "report": {**REPORT, "warnings": view.warnings}, "used_by": []}

    def _compatibility(self, _: web.Request) -> dict[str, Any]:
        self._asked_for(CompatibilityRequest)
        return COMPATIBLE if self.compatible else INCOMPATIBLE

    def _asked_for(self, kind: type[T]) -> T:
        """The body of the request that is being answered: read as strictly as the services do."""
        return msgspec.json.decode(self.asked[-1].body, type=kind)

    def _plan(self, _: web.Request) -> dict[str, Any]:
        self._asked_for(PlanRequest)
        return {"plan": self.plan}

    async def _submit(self, request: web.Request) -> web.Response:
        wanted = self._asked_for(JobRequest)
        steps = 300 if wanted.steps is None else wanted.steps
        job = job_view(creation_id(request, "demo"), description=wanted.description, steps_requested=steps)
        job = self.on_submit(job)
        self.jobs[job.id] = job
        return answer({"job": job}, status=201)

    async def _submit_more(self, request: web.Request) -> web.Response:
        parent, wanted = self._found(self.jobs, request), self._asked_for(MoreRequest)
        job = job_view(creation_id(request, "demo"), description=wanted.description, parent_id=parent.id)
        job = self.on_submit(job)
        self.jobs[job.id] = job
        return answer({"job": job}, status=201)

    def _model(self, request: web.Request) -> dict[str, Any]:
        job = self._found(self.jobs, request)
        return {"model": job, "progress": self.progress.get(job.id), "metrics": self.points.get(job.id, [])}

    async def _download(self, request: web.Request) -> web.StreamResponse:
        job, wanted = self._found(self.jobs, request), request.query["format"]
        if job.export is None:
            raise UserError("no_export", "This model has no file yet.", status=404)
        name = f'attachment; filename="../{job.description}-{wanted}.tflite"'
        return web.Response(body=self.download_bytes, headers={"Content-Disposition": name})

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        if request.query.get("epoch") == self.epoch and request.query.get("seq") == str(self.seq):
            await socket.send_str(self._sent(self._frame([], None)).decode())
        else:
            await socket.send_str(self._sent(self._snapshot()).decode())
        self._sockets.add(socket)
        with self._arrived:
            self.connected.append(dict(request.query))
            self._arrived.notify_all()
        try:
            async for _ in socket:
                pass
        finally:
            self._sockets.discard(socket)
        return socket

    async def _send(self, frame: bytes) -> None:
        for socket in list(self._sockets):
            await socket.send_str(self._sent(frame).decode())

    def _frame(self, events: list[StreamEvent], progress: Progress | None) -> bytes:
        numbered = []
        for event in events:
            self.seq += 1
            numbered.append(msgspec.structs.replace(event, seq=self.seq))
        return msgspec.json.encode(
            EventsFrame(
                epoch=self.epoch,
                time=datetime.now(UTC),
                events=numbered,
                progress=[] if progress is None else [progress],
            )
        )

    def _snapshot(self) -> bytes:
        return msgspec.json.encode(
            SnapshotFrame(
                epoch=self.epoch,
                seq=self.seq,
                time=datetime.now(UTC),
                team="demo",
                minutes=None,
                models=list(self.jobs.values()),
                datasets=list(self.datasets.values()),
                queue=self.queue,
                progress=list(self.progress.values()),
            )
        )


def _extended(value: Any) -> Any:
    match value:
        case dict():
            known = {
                # A dataset's labels are a list of objects, a trainer's a map.
                name: inner if name in _MAPS and isinstance(inner, dict) else _extended(inner)
                for name, inner in value.items()
            }
            return {**known, "of_a_newer_version": {"any": ["thing"]}}
        case list():
            return [_extended(inner) for inner in value]
        case _:
            return value


async def bad_gateway(_: web.Request) -> web.StreamResponse:
    """What a proxy says while a service starts again."""
    return web.Response(status=502, text="<html>Bad Gateway</html>")


async def break_off(request: web.Request) -> web.StreamResponse:
    """The connection breaks in the middle of an answer."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport is not None
    request.transport.close()
    return response
