"""Whether a scheduler hears: its own words must come back, soon, through the queue that trainers speak through."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any, cast

import pytest

from services.scheduler.ears import Ears
from shared.contract.errors import Retry, Stale
from shared.contract.events import Message
from shared.contract.wire import Envelope
from tests.unit.scheduler.samples import NOW

LEASE = 25.0


class World:
    """A clock, and a bus that keeps what is said."""

    def __init__(self) -> None:
        self.time = 100.0
        self.away = False
        self.said: list[Envelope] = []
        ids = count()

        def envelope(body: Message, team: str) -> Envelope:
            return Envelope(id=str(next(ids)), time=NOW, source="scheduler", team=team, body=body)

        me = cast(Any, self)
        self.ears = Ears(name="a", bus=me, clock=me, lease=timedelta(seconds=LEASE), envelope=envelope)

    def monotonic(self) -> float:
        return self.time

    async def publish(self, envelope: Envelope) -> None:
        if self.away:
            raise Retry("the broker is away")
        self.said.append(envelope)


async def test_it_hears_once_its_word_has_come_back_and_for_a_while() -> None:
    world = World()
    assert not world.ears.open()
    await world.ears.round()
    assert not world.ears.open()
    await world.ears.heard(world.said[0])
    assert world.ears.open()
    world.time += LEASE * 0.39
    assert world.ears.open()
    world.time += LEASE * 0.02
    assert not world.ears.open()


async def test_a_word_that_took_long_tells_of_the_time_when_it_was_said() -> None:
    world = World()
    await world.ears.round()
    world.time += LEASE * 0.5
    await world.ears.heard(world.said[0])
    assert not world.ears.open()


async def test_words_of_others_of_another_time_or_twice_do_not_count() -> None:
    world, other = World(), World()
    await other.ears.round()
    with pytest.raises(Stale):
        await world.ears.heard(other.said[0])
    await world.ears.round()
    await world.ears.heard(world.said[0])
    with pytest.raises(Stale):
        await world.ears.heard(world.said[0])
    await world.ears.round()
    world.ears.forget()
    assert not world.ears.open()
    with pytest.raises(Stale):
        await world.ears.heard(world.said[1])


async def test_a_broker_that_is_away_is_silence() -> None:
    world = World()
    world.away = True
    await world.ears.round()
    assert (world.said, world.ears.open()) == ([], False)
    world.away = False
    await world.ears.round()
    await world.ears.heard(world.said[0])
    assert world.ears.open()
    assert world.ears.pace == pytest.approx(LEASE / 8)
