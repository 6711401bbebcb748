"""The scheduler's HTTP routes about tokens for scripts and devices. Thin: read, hand on, answer.

A repeated POST (the same Idempotency-Key by the same person) gets the same secret again, although none is kept: a token is made
of what its entry says and of the installation's secret. Were it refused instead, a broken connection would leave a token whose
secret nobody has ever seen. Nobody else can ask for it: the key counts together with the team and the person.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import date

from aiohttp import web

from services.scheduler import keyring
from services.scheduler.acts import Acts
from services.scheduler.keyring import Key
from services.scheduler.members import MemberStore
from services.scheduler.tokens import TokenStore
from shared.contract.api.tokens import TokenAnswer, TokenRequest, TokensAnswer, TokenView
from shared.runtime import auth
from shared.runtime.clock import Clock
from shared.runtime.web import answer, body, creation_id, require


class TokenRoutes:
    """The handlers and what they need; `secret` signs tokens, `listed` is called when a list of tokens was written."""

    def __init__(
        self,
        *,
        secret: str,
        tokens: TokenStore,
        members: MemberStore,
        acts: Acts,
        clock: Clock,
        listed: Callable[[], None],
    ) -> None:
        self._secret = secret
        self._tokens = tokens
        self._members = members
        self._acts = acts
        self._clock = clock
        self._listed = listed

    def table(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/api/team/tokens", self.tokens),
            web.post("/api/team/tokens", self.make),
            web.delete("/api/team/tokens/{id}", self.revoke),
        ]

    async def tokens(self, request: web.Request) -> web.Response:
        """The live tokens that this person made; for a mentor, those of the whole team."""
        who = require(request, "viewer")
        keys, used = await self._tokens.live(who.team, self._clock.now())
        views = await self._views(who.team, keyring.seen(keys, who), used)
        return answer(TokensAnswer(tokens=views, live=len(keys), limit=keyring.MOST))

    async def make(self, request: web.Request) -> web.Response:
        """Make a token; the answer has its secret."""
        who = require(request, "member")
        auth.in_person(who)
        asked = keyring.wanted(await body(request, TokenRequest), who)
        # By person too: nobody gets the secret of somebody else's token for guessing a key.
        made_by = creation_id(request, f"{who.team}\n{who.name}")
        details = {"role": asked.role, "days": asked.days}
        async with self._acts.act(who, "token.make", f"{who.team}/{asked.name}", details) as found:
            key = await self._tokens.make(who, asked, self._clock.now(), identifier=uuid.uuid4().hex, request=made_by)
            found["id"] = key.id
        self._listed()
        _, used = await self._tokens.live(who.team, self._clock.now())
        (view,) = await self._views(who.team, [key], used)
        secret = keyring.secret(key, who.team, self._secret)
        # No browser or proxy is to keep a secret.
        headers = {"Cache-Control": "no-store"}
        return answer(TokenAnswer(token=view, secret=secret), status=201, headers=headers)

    async def revoke(self, request: web.Request) -> web.Response:
        """End a token, in every service."""
        who = require(request, "viewer")
        identifier = request.match_info["id"]
        async with self._acts.act(who, "token.revoke", f"{who.team}/{identifier[:100]}") as found:
            key = await self._tokens.revoke(who, identifier, self._clock.now())
            found |= {"name": key.name, "made_by": key.made_by}
        self._listed()
        return web.Response(status=204)

    async def _views(self, team: str, keys: Sequence[Key], used: Mapping[str, date]) -> list[TokenView]:
        standings = {name: await self._members.standing(team, name) for name in {key.made_by for key in keys}}
        return [keyring.view(key, team, standings[key.made_by], used.get(key.id)) for key in keys]
