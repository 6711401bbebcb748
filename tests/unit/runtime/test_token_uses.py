"""Which tokens were used: each is told once a day, and a telling that fails is made good."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from shared.contract.errors import Retry
from shared.runtime.auth import Principal, TokenId
from shared.runtime.tokens import TokenUses

FIRST = date(2026, 3, 14)


class World:
    """A clock that is set, and what was told."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 14, 23, 59, tzinfo=UTC)
        self.down = False
        self.told: list[tuple[str, str, date]] = []
        self.woken = 0
        self.uses = TokenUses(self, self.tell)
        self.uses.wake = self.wake

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")

    async def tell(self, team: str, token: str, day: date) -> None:
        if self.down:
            raise Retry("no broker")
        self.told.append((team, token, day))

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def world() -> World:
    return World()


def using(token: str | None, team: str = "demo") -> Principal:
    identity = None if token is None else TokenId(id=token, listed=1)
    return Principal(team=team, role="member", name="Bo", token=identity)


async def test_each_token_is_told_once_a_day(world: World) -> None:
    for who in (using("t1"), using("t1"), using("t2"), using("t1", "other"), using(None)):
        world.uses.note(who)
    assert world.woken == 3
    await world.uses.round()
    assert world.told == [("demo", "t1", FIRST), ("demo", "t2", FIRST), ("other", "t1", FIRST)]
    world.uses.note(using("t1"))
    await world.uses.round()
    assert (len(world.told), world.woken) == (3, 3)
    world.time += timedelta(minutes=2)
    await world.uses.round()
    world.uses.note(using("t1"))
    await world.uses.round()
    assert world.told[3:] == [("demo", "t1", FIRST + timedelta(days=1))]


async def test_what_could_not_be_told_is_told_later(world: World) -> None:
    world.down = True
    world.uses.note(using("t1"))
    with pytest.raises(Retry):
        await world.uses.round()
    world.uses.note(using("t1"))
    assert world.woken == 1
    world.down = False
    await world.uses.round()
    assert world.told == [("demo", "t1", FIRST)]


async def test_a_day_that_begins_while_one_is_told_is_told_too(world: World) -> None:
    tell = world.uses._tell

    async def midnight(team: str, token: str, day: date) -> None:
        await tell(team, token, day)
        if day == FIRST:
            world.time += timedelta(minutes=2)
            world.uses.note(using("t1"))

    world.uses._tell = midnight
    world.uses.note(using("t1"))
    await world.uses.round()
    assert [day for _, _, day in world.told] == [FIRST, FIRST + timedelta(days=1)]
