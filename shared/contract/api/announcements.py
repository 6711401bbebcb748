"""What operators tell all teams, and how they ask for it. Owns the structs alone."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from shared.contract.views import Announcement

LONGEST_ANNOUNCEMENT = 280
MOST_ANNOUNCEMENTS = 20


class AnnounceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tell all teams `text`, of 1 to 280 characters; `until` None: until it is removed."""

    text: str
    kind: Literal["info", "warning"] = "info"
    until: datetime | None = None


class AnnouncementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An announcement that was published."""

    announcement: Announcement


class AnnouncementsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All that are in force, newest first."""

    announcements: list[Announcement]
