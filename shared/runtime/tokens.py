"""A service's own copy of the teams' lists of tokens, and word of which of them are used.

Each fact is a whole list with its version (newest.py). Nothing secret is in it: the ids alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date

from shared.contract.errors import Reject
from shared.contract.events import Message, TokensChanged, TokenUsed
from shared.contract.wire import Envelope
from shared.runtime.auth import Principal
from shared.runtime.bus import Bus
from shared.runtime.clock import Clock
from shared.runtime.mongo import Database, from_document
from shared.runtime.newest import Newest

# Says that a team's token (its id) was used on a day (UTC).
TellUse = Callable[[str, str, date], Awaitable[None]]


class TokenLists:
    """The lists of all teams, as this service knows them. They are asked for with those of members."""

    def __init__(self, database: Database) -> None:
        self._newest = Newest(database["tokens"])

    async def fold(self, envelope: Envelope) -> None:
        """Keep the list that a fact tells. Raises Stale for one that isn't newer than what is kept, Reject for another fact."""
        body = envelope.body
        if not isinstance(body, TokensChanged):
            raise Reject(f"{envelope.type} is not a list of tokens")
        await self._newest.keep(envelope.team, body, body.version)

    async def of(self, team: str) -> TokensChanged | None:
        """The newest list of a team, None where none was heard of."""
        document = await self._newest.of(team, ("tokens", "version"))
        return None if document is None else from_document(document, TokensChanged)


class TokenUses:
    """Which tokens were used on which day: each is told once a day. `note` notes a use; `round`, run in a Loop that `wake`
    wakes, tells of what was noted, and of what could not be told before."""

    def __init__(self, clock: Clock, tell: TellUse) -> None:
        self._clock = clock
        self._tell = tell
        self._waiting: dict[tuple[str, str], date] = {}
        self._told: dict[tuple[str, str], date] = {}
        self.wake: Callable[[], None] = lambda: None

    def note(self, who: Principal) -> None:
        """Somebody was let in; of tokens without an id nothing is kept."""
        if who.token is None:
            return
        key, day = (who.team, who.token.id), self._clock.now().date()
        if day not in (self._told.get(key), self._waiting.get(key)):
            self._waiting[key] = day
            self.wake()

    async def round(self) -> None:
        """See the class. Raises what telling raises."""
        while self._waiting:
            key, day = next(iter(self._waiting.items()))
            await self._tell(*key, day)
            self._told[key] = day
            if self._waiting[key] == day:
                del self._waiting[key]
        today = self._clock.now().date()
        self._told = {key: day for key, day in self._told.items() if day >= today}


def over(bus: Bus, envelope: Callable[[Message, str], Envelope]) -> TellUse:
    """Tells the scheduler, which keeps it. Raises Retry."""

    async def tell(team: str, token: str, day: date) -> None:
        await bus.publish(envelope(TokenUsed(token=token, day=day), team))

    return tell
