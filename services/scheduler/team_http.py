"""The scheduler's HTTP routes about a team: minutes, statement, members. Thin: read, hand on, answer."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import timedelta

from aiohttp import web

from services.scheduler.acts import Acts
from services.scheduler.budget import balance
from services.scheduler.members import MemberStore
from services.scheduler.settings import SchedulerSettings
from services.scheduler.teams import TeamStore
from shared.contract.api.teams import LedgerAnswer, Member, MemberAnswer, MemberRequest, TeamAnswer, TeamRequest
from shared.contract.errors import UserError
from shared.contract.views import LedgerEntry
from shared.runtime import auth
from shared.runtime.auth import Principal
from shared.runtime.clock import Clock
from shared.runtime.web import answer, body, require

LONGEST_NAME = 60
TOKEN_DAYS = 90


class TeamRoutes:
    """The handlers and what they need; `listed` is called when a list of members was written."""

    def __init__(
        self,
        *,
        settings: SchedulerSettings,
        teams: TeamStore,
        members: MemberStore,
        acts: Acts,
        clock: Clock,
        listed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._teams = teams
        self._members = members
        self._acts = acts
        self._clock = clock
        self._listed = listed

    def table(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/api/team", self.team),
            web.patch("/api/team", self.change),
            web.get("/api/team/ledger", self.ledger),
            web.put("/api/team/members/{name}", self.put_member),
            web.delete("/api/team/members/{name}", self.remove_member),
        ]

    async def team(self, request: web.Request) -> web.Response:
        """The team's minutes, its statement, what is reserved, its people."""
        return answer(await self._team(require(request, "viewer")))

    async def change(self, request: web.Request) -> web.Response:
        """Set the cap for members."""
        who = require(request, "mentor")
        cap = (await body(request, TeamRequest)).member_cap_minutes
        highest = self._settings.max_minutes * self._settings.max_team_jobs
        if cap is not None and not 0 <= cap <= highest:
            raise UserError(
                "bad_member_cap_minutes",
                f"A member's cap must be from 0 to {highest:,} minutes, or null for none; it is {cap:,}.",
                "member_cap_minutes",
            )
        async with self._acts.act(who, "team.cap", who.team, {"member_cap_minutes": cap}):
            await self._teams.set_cap(who.team, cap, self._clock.now())
        return answer(await self._team(who))

    async def ledger(self, request: web.Request) -> web.Response:
        """The statement, as JSON or as CSV for a spreadsheet."""
        who = require(request, "viewer")
        kind = request.query.get("format", "json")
        if kind not in {"json", "csv"}:
            raise UserError("bad_parameter", f"format must be json or csv, not {kind[:40]!r}.", "format")
        lines = await self._teams.lines(who.team, self._clock.now())
        if kind == "json":
            return answer(LedgerAnswer(ledger=lines, balance_seconds=balance(lines)))
        return web.Response(
            text=_csv(lines),
            content_type="text/csv",
            headers={"Content-Disposition": 'attachment; filename="ledger.csv"'},
        )

    async def put_member(self, request: web.Request) -> web.Response:
        """Add a person or change a role; answers with a fresh token in that name."""
        who = require(request, "mentor")
        auth.in_person(who)
        name, wanted, now = _name(request.match_info["name"]), await body(request, MemberRequest), self._clock.now()
        member = Member(name=name, role=wanted.role, added_at=now, added_by=who.name)
        async with self._acts.act(who, "member.put", f"{who.team}/{name}", {"role": wanted.role}):
            await self._members.put(who.team, member, now)
        self._listed()
        token = auth.mint(
            self._settings.trainyard_secret,
            team=who.team,
            role=wanted.role,
            name=name,
            now=now,
            lifetime=timedelta(days=TOKEN_DAYS),
        )
        return answer(MemberAnswer(member=member, token=token, days=TOKEN_DAYS))

    async def remove_member(self, request: web.Request) -> web.Response:
        """Take a person off the list: that person's tokens are no good any more, in any service."""
        who = require(request, "mentor")
        name = _name(request.match_info["name"])
        if name == who.name:
            raise UserError(
                "bad_name", "Nobody can take themselves off the list: ask another mentor.", "name", status=409
            )
        async with self._acts.act(who, "member.remove", f"{who.team}/{name}"):
            await self._members.remove(who.team, name, self._clock.now())
        self._listed()
        return web.Response(status=204)

    async def _team(self, who: Principal) -> TeamAnswer:
        now = self._clock.now()
        return TeamAnswer(
            team=await self._teams.view(who.team, now),
            ledger=await self._teams.lines(who.team, now),
            reservations=await self._teams.reservations(who.team),
            members=await self._members.all(who.team, now),
            member_cap_minutes=await self._teams.cap(who.team, now),
            pause=await self._teams.paused(who.team, now),
        )


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not (1 <= len(name) <= LONGEST_NAME and name.isprintable()):
        raise UserError(
            "bad_name",
            f"A name has 1 to {LONGEST_NAME} printable characters; {text[:LONGEST_NAME]!r} has {len(name)}.",
            "name",
        )
    return name


def _csv(lines: Sequence[LedgerEntry]) -> str:
    """A line an entry, with the running balance; seconds, and minutes to two places for people."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["at", "kind", "seconds", "minutes", "balance_seconds", "job_id", "note", "by"])
    total = 0
    for line in lines:
        total += line.seconds
        note, by = _plain(line.note), _plain(line.by)
        row = [
            line.at.isoformat(),
            line.kind,
            line.seconds,
            f"{line.seconds / 60:.2f}",
            total,
            line.job_id or "",
            note,
            by,
        ]
        writer.writerow(row)
    return out.getvalue()


def _plain(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
