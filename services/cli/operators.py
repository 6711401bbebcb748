"""What operators (role admin) can ask over HTTP: one typed method a request.

Owns those paths and parameters. Every failure is a UserError (transport.py). Knows nothing of terminals.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from services.cli.transport import Transport, part
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
    TeamsAnswer,
    TrainerAnswer,
    TrainerRow,
    TrainersAnswer,
)
from shared.contract.api.announcements import AnnouncementAnswer, AnnouncementsAnswer, AnnounceRequest
from shared.contract.api.jobs import JobAnswer
from shared.contract.views import Announcement, JobView


class Operators:
    """Of all teams: their minutes, the queue, the trainers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def teams(self) -> TeamsAnswer:
        """All teams, and the pause of everybody."""
        return await self._transport.request("GET", "/api/admin/teams", TeamsAnswer, safe=True)

    async def create_teams(self, teams: Sequence[str], minutes: int | None) -> BatchAnswer:
        """New teams with a season grant. Where no answer comes it is sent again with the same key, and the second one has the
        tokens as well."""
        body = CreateTeamsRequest(teams=list(teams), minutes=minutes)
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return await self._transport.request(
            "POST", "/api/admin/teams", BatchAnswer, body=body, headers=headers, safe=True
        )

    async def grant(
        self, teams: Sequence[str], minutes: int, kind: Literal["season", "extra"], note: str
    ) -> BatchAnswer:
        """Minutes for each team. Where no answer comes it is sent again with the same key: they are given once at most."""
        body = GrantRequest(teams=list(teams), minutes=minutes, kind=kind, note=note)
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return await self._transport.request(
            "POST", "/api/admin/grants", BatchAnswer, body=body, headers=headers, safe=True
        )

    async def pause(
        self, teams: Sequence[str] | None, *, paused: bool, until: datetime | None = None, message: str = ""
    ) -> BatchAnswer:
        """Closes or opens training for these teams, None for everybody."""
        body = PauseRequest(teams=None if teams is None else list(teams), paused=paused, until=until, message=message)
        return await self._transport.request("POST", "/api/admin/pauses", BatchAnswer, body=body, safe=True)

    async def queue(self) -> QueueAnswer:
        """The whole queue, next first."""
        return await self._transport.request("GET", "/api/admin/queue", QueueAnswer, safe=True)

    async def set_priority(self, job_id: str, priority: int) -> JobView:
        """A job's priority class: higher goes first."""
        return await self._job(job_id, "priority", PriorityRequest(priority=priority), safe=True)

    async def cancel(self, job_id: str, reason: str) -> JobView:
        """Ends a team's job; the team sees the reason."""
        return await self._job(job_id, "cancel", CancelRequest(reason=reason))

    async def reconcile(self, job_id: str, state: Literal["QUEUED", "FAILED"]) -> JobView:
        """Leads a job out of STATE_UNSPECIFIED."""
        return await self._job(job_id, "reconcile", ReconcileRequest(state=state))

    async def trainers(self) -> TrainersAnswer:
        """All trainers heard of within a day."""
        return await self._transport.request("GET", "/api/trainers", TrainersAnswer, safe=True)

    async def drain(self, trainer_id: str) -> TrainerRow:
        """Has a trainer hand back its jobs and end."""
        path = f"/api/trainers/{part(trainer_id)}/drain"
        return (await self._transport.request("POST", path, TrainerAnswer)).trainer

    async def capacity(self, hours: int) -> CapacityAnswer:
        """The room of the last hours, a point a minute."""
        params = {"hours": str(hours)}
        return await self._transport.request("GET", "/api/admin/capacity", CapacityAnswer, params=params, safe=True)

    async def announcements(self) -> AnnouncementsAnswer:
        """What is announced to all teams, newest first."""
        return await self._transport.request("GET", "/api/admin/announcements", AnnouncementsAnswer, safe=True)

    async def announce(self, text: str, kind: Literal["info", "warning"], until: datetime | None) -> Announcement:
        """Tells all teams something. Where no answer comes it is sent again with the same key: it is told once."""
        body = AnnounceRequest(text=text, kind=kind, until=until)
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        path = "/api/admin/announcements"
        request = self._transport.request("POST", path, AnnouncementAnswer, body=body, headers=headers, safe=True)
        return (await request).announcement

    async def remove_announcement(self, announcement_id: str) -> None:
        """Takes one back."""
        await self._transport.request("DELETE", f"/api/admin/announcements/{part(announcement_id)}", type(None))

    async def audit(self, limit: int) -> AuditAnswer:
        """What operators and mentors did, newest first."""
        params = {"limit": str(limit)}
        return await self._transport.request("GET", "/api/admin/audit", AuditAnswer, params=params, safe=True)

    async def _job(self, job_id: str, act: str, body: object, *, safe: bool = False) -> JobView:
        path = f"/api/admin/jobs/{part(job_id)}/{act}"
        return (await self._transport.request("POST", path, JobAnswer, body=body, safe=safe)).job
