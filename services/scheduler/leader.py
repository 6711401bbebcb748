"""Which of several schedulers plans: a lease in the store with a term that rises with each change of hands.

Owns the lease. A challenger never compares clocks: it takes over once the holder's count of renewals has stood still for a
lease by its own clock. The term goes into whatever a planner writes, and into all jobs that have not ended when it begins, so
that one which was replaced and doesn't know it yet can't change them. What remains to it is a job that was submitted since: it
may still give that to a trainer. And whatever is believed in error, a job runs once: an attempt that was given up is fenced.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from shared.runtime import log
from shared.runtime.clock import Clock
from shared.runtime.mongo import Database, Document, DuplicateKeyError

_ID = "planner"
# A holder renews this often within a lease, and gives up this much of it before others may take it.
_RENEWALS = 6
_MARGIN = 0.75


class Held(msgspec.Struct, frozen=True):
    """Somebody's hold on the lease as it was last seen."""

    holder: str
    term: int
    renewals: int


class Leadership:
    """One a scheduler. `round` is to be called every `pace` seconds; `term` is not None while this one plans.

    `takes` is awaited on becoming the planner, `leaves` on being it no more; where `takes` fails, the lease is let go.
    """

    def __init__(
        self,
        database: Database,
        *,
        name: str,
        clock: Clock,
        seconds: float,
        takes: Callable[[int], Awaitable[None]],
        leaves: Callable[[], Awaitable[None]],
    ) -> None:
        self._collection = database["leases"]
        self._name = name
        self._clock = clock
        self._seconds = seconds
        self._takes = takes
        self._leaves = leaves
        self._seen: Held | None = None
        self._seen_at = clock.monotonic()
        self._renewed_at = clock.monotonic()
        self._term: int | None = None
        self._resigned = False
        self._log = log.get("leader")

    @property
    def pace(self) -> float:
        """Seconds between two rounds."""
        return self._seconds / _RENEWALS

    @property
    def term(self) -> int | None:
        """The term in which this scheduler plans, None while another one does. Over when it couldn't renew for most of a lease:
        nobody else can have it yet by then."""
        if self._term is None or self._clock.monotonic() - self._renewed_at > self._seconds * _MARGIN:
            return None
        return self._term

    async def round(self) -> None:
        """Renew what we hold, or take what nobody renews. Raises what the store raises; where that has lasted for most of a
        lease, the work is laid down all the same: another scheduler may reach the store."""
        if self._resigned:
            return
        if self._term is None:
            await self._challenge()
            return
        try:
            await self._renew(self._term)
        except Exception:
            if self.term is None:
                self._log.warning("leader.lapsed")
                await self._lay_down()
            raise

    async def resign(self) -> None:
        """Let go at once, so that another one needs no lease's time to take over."""
        self._resigned = True
        if self._term is None:
            return
        term, self._term = self._term, None
        await self._collection.update_one({"_id": _ID, "holder": self._name, "term": term}, {"$set": {"holder": ""}})
        self._log.info("leader.resigned", term=term)

    async def _renew(self, term: int) -> None:
        begun = self._clock.monotonic()
        result = await self._collection.update_one(
            {"_id": _ID, "holder": self._name, "term": term}, {"$inc": {"renewals": 1}}
        )
        if result.matched_count == 1:
            self._renewed_at = begun
            return
        self._log.warning("leader.replaced", term=term)
        await self._lay_down()

    async def _challenge(self) -> None:
        found = await self._collection.find_one({"_id": _ID})
        now = self._clock.monotonic()
        if found is None:
            await self._found()
            return
        held = Held(found["holder"], int(found["term"]), int(found["renewals"]))
        if held != self._seen:
            self._seen, self._seen_at = held, now
        if held.holder and now - self._seen_at <= self._seconds:
            return
        guard: Document = {"_id": _ID, "holder": held.holder, "term": held.term, "renewals": held.renewals}
        result = await self._collection.update_one(guard, {"$set": {"holder": self._name}, "$inc": {"term": 1}})
        if result.matched_count == 1:
            await self._take(held.term + 1, now)

    async def _found(self) -> None:
        now = self._clock.monotonic()
        try:
            await self._collection.insert_one({"_id": _ID, "holder": self._name, "term": 1, "renewals": 0})
        except DuplicateKeyError:
            return  # another one was quicker
        await self._take(1, now)

    async def _take(self, term: int, at: float) -> None:
        self._term, self._renewed_at = term, at
        self._log.info("leader.took", term=term)
        try:
            await self._takes(term)
        except BaseException:
            await self._lay_down()
            raise

    async def _lay_down(self) -> None:
        self._term = None
        await self._leaves()
