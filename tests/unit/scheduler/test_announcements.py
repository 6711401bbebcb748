"""What operators tell all teams: bounds, once by its key, how many."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import pytest

from services.scheduler.announcements import AnnouncementStore, in_force, publish
from services.scheduler.words import to_come, words
from shared.contract.api.announcements import LONGEST_ANNOUNCEMENT, MOST_ANNOUNCEMENTS
from shared.contract.errors import UserError
from shared.contract.events import Message
from shared.contract.views import Announcement
from shared.contract.wire import Envelope
from tests.support.memory_store import MemoryStore, Moment
from tests.unit.scheduler.samples import NOW, after


def announcement(name: str = "a", text: str = "Snow", **fields: Any) -> Announcement:
    return Announcement(**{"id": name, "text": text, "kind": "info", "at": NOW, "by": "Op", **fields})


def test_the_newest_stands_first_and_what_is_over_stands_no_more() -> None:
    old, short = announcement("old"), announcement("short", until=after(60))
    listed = publish(publish([], old), short)
    assert [one.id for one in listed] == ["short", "old"]
    assert in_force(listed, after(59)) == [short, old]
    assert in_force(listed, after(60)) == [old]


def test_the_same_request_publishes_once_and_its_key_serves_no_other() -> None:
    listed = publish([], announcement())
    assert publish(listed, announcement(at=after(5))) == listed
    for other in ({"text": "Ice"}, {"kind": "warning"}, {"until": after(9)}):
        with pytest.raises(UserError, match="another announcement") as refused:
            publish(listed, announcement(**other))
        assert (refused.value.code, refused.value.field) == ("idempotency_key_reused", "Idempotency-Key")


def test_so_many_are_in_force_at_a_time() -> None:
    listed = [announcement(str(number)) for number in range(MOST_ANNOUNCEMENTS)]
    with pytest.raises(UserError, match=f"{MOST_ANNOUNCEMENTS} announcements are in force") as refused:
        publish(listed, announcement("one more"))
    assert (refused.value.status, refused.value.field) == (409, "announcements")
    assert len(publish(listed[1:], announcement("one more"))) == MOST_ANNOUNCEMENTS


async def test_two_first_ones_at_once_are_both_there() -> None:
    """Nothing was ever announced: each finds no list to change and makes one, and one of them is too late."""
    memory = MemoryStore()

    def envelope(message: Message, team: str) -> Envelope:
        return Envelope(id=uuid.uuid4().hex, time=NOW, source="test", team=team, body=message)

    theirs = AnnouncementStore(memory.database(), envelope)

    async def between(moment: Moment, operation: str, _: str) -> None:
        if (moment, operation) == ("before", "update_one") and not memory.documents("announcements"):
            await theirs.publish(announcement("theirs"))

    await AnnouncementStore(memory.database(between), envelope).publish(announcement("ours"))
    assert [one.id for one in (await theirs.told()).announcements] == ["ours", "theirs"]
    assert (await theirs.told()).version == 2


@pytest.mark.parametrize("text", ["", "  \n ", "x" * (LONGEST_ANNOUNCEMENT + 1), "bell\a"])
def test_a_bad_text_names_field_value_and_limit(text: str) -> None:
    with pytest.raises(UserError, match=r"text must be 1 to 280 printable characters; it has \d+\.") as refused:
        words(text, "text", least=1, most=LONGEST_ANNOUNCEMENT)
    assert (refused.value.code, refused.value.field) == ("bad_text", "text")


def test_a_good_text_has_single_spaces() -> None:
    assert words("  The lab\n closes ", "text", least=1, most=14) == "The lab closes"
    assert words("", "note", most=5) == ""
    with pytest.raises(UserError, match="note must be at most 5 printable characters; it has 6"):
        words("sixsix", "note", most=5)


def test_a_time_to_come_has_a_zone_and_lies_ahead() -> None:
    assert to_come(None, NOW) is None
    assert to_come(after(1), NOW) == after(1)
    for bad in (NOW, after(-1), datetime(2099, 1, 1)):
        with pytest.raises(UserError, match="a time to come, with its zone") as refused:
            to_come(bad, NOW)
        assert refused.value.field == "until"
