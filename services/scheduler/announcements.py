"""What operators tell all teams: one list, in one document.

Owns that the list and the fact that tells it are one write, and that versions rise by one: of two changes at once, one is made
on top of the other. What is over its time leaves the list with the next change; until then it is passed over by
the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from services.scheduler.members import TeamEnveloper
from shared.contract.api.announcements import MOST_ANNOUNCEMENTS
from shared.contract.errors import KeyReused, Retry, UserError
from shared.contract.events import AnnouncementsChanged
from shared.contract.views import Announcement
from shared.runtime import outbox
from shared.runtime.mongo import Database, Document, DuplicateKeyError, ensure_indexes, from_document, to_document

_ID = "all"
_CONFLICTS = 20
Change = Callable[[Sequence[Announcement]], Sequence[Announcement]]


class AnnouncementStore:
    """The list, newest first."""

    def __init__(self, database: Database, envelope: TeamEnveloper) -> None:
        self.collection = database["announcements"]
        self._envelope = envelope

    async def prepare(self) -> None:
        """Create the index."""
        await ensure_indexes(self.collection, [outbox.INDEX])

    async def live(self, now: datetime) -> list[Announcement]:
        """Those that are in force."""
        return in_force((await self.told()).announcements, now)

    async def told(self) -> AnnouncementsChanged:
        """The list as it is to be told; version 0 where nothing was ever announced."""
        return _fact(await self.collection.find_one({"_id": _ID}))

    async def lists(self) -> list[tuple[str, AnnouncementsChanged]]:
        """The list as it is to be told again, of no team."""
        told = await self.told()
        return [("", told)] if told.version else []

    async def publish(self, announcement: Announcement) -> Announcement:
        """Add one, once by its id; gives the one that is there. Raises UserError `idempotency_key_reused`,
        `too_many_announcements`, and Retry."""

        def added(listed: Sequence[Announcement]) -> Sequence[Announcement]:
            return publish(listed, announcement)

        listed = await self._change(announcement.at, added)
        return next(one for one in listed if one.id == announcement.id)

    async def remove(self, announcement_id: str, now: datetime) -> Announcement:
        """Take one back; gives what it was. Raises UserError `not_found` and Retry."""
        removed: list[Announcement] = []

        def without(listed: Sequence[Announcement]) -> Sequence[Announcement]:
            removed[:] = [one for one in listed if one.id == announcement_id]
            if not removed:
                raise UserError("not_found", f"There is no announcement {announcement_id[:100]!r}.", status=404)
            return [one for one in listed if one.id != announcement_id]

        await self._change(now, without)
        return removed[0]

    async def _change(self, now: datetime, change: Change) -> Sequence[Announcement]:
        """Write what `change` makes of those in force, and the fact that tells it, where nobody else was quicker."""
        for _ in range(_CONFLICTS):
            known = await self.told()
            before = in_force(known.announcements, now)
            after = change(before)
            if after == before:
                return after
            fact = AnnouncementsChanged(announcements=list(after), version=known.version + 1)
            try:
                result = await self.collection.update_one(
                    {"_id": _ID, "version": known.version},
                    {
                        "$set": {
                            "announcements": [to_document(one) for one in after],
                            "version": fact.version,
                        },
                        "$push": outbox.push([outbox.entry(self._envelope(fact, ""))]),
                    },
                    upsert=known.version == 0,
                )
            except DuplicateKeyError:
                continue  # somebody else wrote the very first one
            if result.matched_count == 1 or result.upserted_id is not None:
                return after
        raise Retry(f"the announcements kept changing under {_CONFLICTS} writes")


def in_force(listed: Sequence[Announcement], now: datetime) -> list[Announcement]:
    """Those that aren't over."""
    return [one for one in listed if one.until is None or one.until > now]


def publish(listed: Sequence[Announcement], new: Announcement) -> Sequence[Announcement]:
    """The list with `new` in front, or as it is where the same request has put it there. Raises UserError."""
    known = next((one for one in listed if one.id == new.id), None)
    if known is not None:
        if (known.text, known.kind, known.until) != (new.text, new.kind, new.until):
            raise KeyReused("announcement")
        return listed
    if len(listed) >= MOST_ANNOUNCEMENTS:
        raise UserError(
            "too_many_announcements",
            f"{len(listed)} announcements are in force; {MOST_ANNOUNCEMENTS} is the limit. Remove one first.",
            "announcements",
            status=409,
        )
    return [new, *listed]


def _fact(document: Document | None) -> AnnouncementsChanged:
    if document is None:
        return AnnouncementsChanged(announcements=[], version=0)
    listed = [from_document(one, Announcement) for one in document["announcements"]]
    return AnnouncementsChanged(announcements=listed, version=document["version"])
