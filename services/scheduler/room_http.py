"""The scheduler's HTTP routes about the room as everybody may see it. Thin: read, hand on, answer."""

from __future__ import annotations

from aiohttp import web

from services.scheduler.outlook import Outlook
from shared.runtime.web import answer, require


class RoomRoutes:
    """The handlers and what they need."""

    def __init__(self, outlook: Outlook) -> None:
        self._outlook = outlook

    def table(self) -> list[web.RouteDef]:
        """All routes."""
        return [web.get("/api/queue", self.queue)]

    async def queue(self, request: web.Request) -> web.Response:
        """What runs and what waits in the whole room; of other teams neither who nor what."""
        return answer(await self._outlook.room(require(request, "viewer").team))
