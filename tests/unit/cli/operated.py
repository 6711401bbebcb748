"""The platform as operators see it: the fake one, which teams ask, with the routes of the role admin on top."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from shared.contract.api.admin import (
    BatchAnswer,
    CancelRequest,
    CreateTeamsRequest,
    GrantRequest,
    HeldJobRow,
    PauseRequest,
    PriorityRequest,
    QueueRow,
    ReconcileRequest,
    TeamOutcome,
    TeamRow,
    TeamsAnswer,
    TrainerRow,
)
from shared.contract.api.announcements import AnnouncementAnswer, AnnouncementsAnswer, AnnounceRequest
from shared.contract.api.errors import ErrorBody
from shared.contract.api.room import RoomAnswer
from shared.contract.api.teams import Pause
from shared.contract.jobs import JobState
from shared.contract.views import Announcement, Reason
from shared.runtime.auth import mint
from tests.support.answers import AUDIT, NOW, capacity_points
from tests.support.fake_platform import SECRET, Answering, FakePlatform


class OperatedPlatform(FakePlatform):
    """`admin_token` is an operator's. Teams in `strangers` fail in every batch, the others don't."""

    def __init__(self) -> None:
        super().__init__()
        self.admin_token = mint(SECRET, team="staff", role="admin", name="ops", now=NOW, lifetime=None)
        self.teams: list[TeamRow] = []
        self.pause: Pause | None = None
        self.strangers: set[str] = set()
        self.unspecified: list[HeldJobRow] = []
        self.for_room: list[HeldJobRow] = []
        self.waiting: list[QueueRow] = []
        self.trainers: list[TrainerRow] = []
        self.capacity_minutes = 60  # for so long it has been measured
        self.audit = AUDIT
        self.room = RoomAnswer(slots=0, busy=0, running=[], waiting=[])
        self.announced: list[Announcement] = []

    def _routes(self) -> list[web.RouteDef]:
        return [
            *super()._routes(),
            web.get("/api/admin/teams", self._of(lambda _: TeamsAnswer(teams=self.teams, pause=self.pause), "admin")),
            web.post("/api/admin/teams", self._batch(CreateTeamsRequest)),
            web.post("/api/admin/grants", self._batch(GrantRequest)),
            web.post("/api/admin/pauses", self._batch(PauseRequest)),
            web.get(
                "/api/admin/queue",
                self._of(
                    lambda _: {"queue": self.waiting, "unspecified": self.unspecified, "for_room": self.for_room},
                    "admin",
                ),
            ),
            web.post("/api/admin/jobs/{id}/priority", self._job(PriorityRequest, _priority, "admin")),
            web.post("/api/admin/jobs/{id}/cancel", self._job(CancelRequest, _canceled, "admin")),
            web.post("/api/admin/jobs/{id}/reconcile", self._job(ReconcileRequest, _reconciled, "admin")),
            web.get("/api/trainers", self._of(lambda _: {"trainers": self.trainers}, "admin")),
            web.post("/api/trainers/{id}/drain", self._of(self._drain, "admin")),
            web.get("/api/admin/capacity", self._of(self._capacity, "admin")),
            web.get("/api/queue", self._of(lambda _: self.room)),
            web.get(
                "/api/admin/announcements",
                self._of(lambda _: AnnouncementsAnswer(announcements=self.announced), "admin"),
            ),
            web.post("/api/admin/announcements", self._of(self._announce, "admin")),
            web.delete("/api/admin/announcements/{id}", self._of(lambda _: None, "admin")),
            web.get("/api/admin/audit", self._of(lambda r: {"entries": self.audit[: int(r.query["limit"])]}, "admin")),
        ]

    def _batch(self, kind: type[CreateTeamsRequest | GrantRequest | PauseRequest]) -> Answering:
        def content(_: web.Request) -> BatchAnswer:
            asked = self._asked_for(kind)
            balance = None if kind is PauseRequest else 36_000
            unknown = ErrorBody(code="no_team", message="There is no such team.")
            results = [
                TeamOutcome(team=team, error=unknown)
                if team in self.strangers
                else TeamOutcome(
                    team=team, balance_seconds=balance, token=f"token-of-{team}" if kind is CreateTeamsRequest else None
                )
                for team in asked.teams or []
            ]
            return BatchAnswer(results=results, failed=sum(result.error is not None for result in results))

        return self._of(content, "admin")

    def _announce(self, _: web.Request) -> AnnouncementAnswer:
        asked = self._asked_for(AnnounceRequest)
        made = Announcement(id="a" * 32, text=asked.text, kind=asked.kind, at=NOW, by="ops", until=asked.until)
        return AnnouncementAnswer(announcement=made)

    def _drain(self, request: web.Request) -> dict[str, Any]:
        row = self._found({row.id: row for row in self.trainers}, request)
        return {"trainer": msgspec.structs.replace(row, status="draining")}

    def _capacity(self, request: web.Request) -> dict[str, Any]:
        return {"points": capacity_points(min(self.capacity_minutes, 60 * int(request.query["hours"])))}


def _priority(asked: PriorityRequest) -> dict[str, Any]:
    return {"priority": asked.priority}


def _canceled(asked: CancelRequest) -> dict[str, Any]:
    return {"state": JobState.CANCELED, "reason": Reason(code="canceled", message=asked.reason)}


def _reconciled(asked: ReconcileRequest) -> dict[str, Any]:
    return {"state": JobState(asked.state)}
