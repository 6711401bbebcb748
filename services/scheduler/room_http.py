"""The scheduler's HTTP routes about the room as everybody may see it, and about what operators tell everybody. Thin: read, hand
on, answer."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from services.scheduler.acts import Acts
from services.scheduler.announcements import AnnouncementStore
from services.scheduler.outlook import Outlook
from services.scheduler.words import to_come, words
from shared.contract.api.announcements import (
    LONGEST_ANNOUNCEMENT,
    AnnouncementAnswer,
    AnnouncementsAnswer,
    AnnounceRequest,
)
from shared.contract.views import Announcement
from shared.runtime.clock import Clock
from shared.runtime.mongo import to_millisecond
from shared.runtime.web import answer, body, creation_id, require


class RoomRoutes:
    """The handlers and what they need; `announced` is called when the announcements were written."""

    def __init__(
        self,
        *,
        outlook: Outlook,
        announcements: AnnouncementStore,
        acts: Acts,
        clock: Clock,
        announced: Callable[[], None],
    ) -> None:
        self._outlook = outlook
        self._announcements = announcements
        self._acts = acts
        self._clock = clock
        self._announced = announced

    def table(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/api/queue", self.queue),
            web.get("/api/admin/announcements", self.announcements),
            web.post("/api/admin/announcements", self.announce),
            web.delete("/api/admin/announcements/{id}", self.remove),
        ]

    async def queue(self, request: web.Request) -> web.Response:
        """What runs and what waits in the whole room; of other teams neither who nor what."""
        return answer(await self._outlook.room(require(request, "viewer").team))

    async def announcements(self, request: web.Request) -> web.Response:
        """Those in force. Teams are told them by the stream."""
        require(request, "admin")
        return answer(AnnouncementsAnswer(announcements=await self._announcements.live(self._clock.now())))

    async def announce(self, request: web.Request) -> web.Response:
        """Tell all teams something; the same Idempotency-Key tells it once."""
        who, wanted, now = require(request, "admin"), await body(request, AnnounceRequest), self._clock.now()
        until = to_come(wanted.until, now)
        announcement = Announcement(
            id=creation_id(request, who.team),
            text=words(wanted.text, "text", least=1, most=LONGEST_ANNOUNCEMENT),
            kind=wanted.kind,
            # As the store has them, so that it is the same whoever tells it.
            at=to_millisecond(now),
            by=who.name,
            until=None if until is None else to_millisecond(until),
        )
        details = {
            "text": announcement.text,
            "kind": wanted.kind,
            "until": None if until is None else until.isoformat(),
        }
        async with self._acts.act(who, "announcement.publish", announcement.id, details):
            published = await self._announcements.publish(announcement)
        self._announced()
        return answer(AnnouncementAnswer(announcement=published), status=201)

    async def remove(self, request: web.Request) -> web.Response:
        """Take one back."""
        who, announcement_id = require(request, "admin"), request.match_info["id"]
        async with self._acts.act(who, "announcement.remove", announcement_id[:100]) as found:
            found["text"] = (await self._announcements.remove(announcement_id, self._clock.now())).text
        self._announced()
        return web.Response(status=204)
