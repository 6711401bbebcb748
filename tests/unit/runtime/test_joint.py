"""Work that is done once for many: who shares which call, failures, those who leave."""

from __future__ import annotations

import asyncio

import pytest

from shared.runtime.joint import Joint


class Maker:
    """Takes a turn of the loop and gives the number of the call."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        await self.open.wait()
        if self.fails:
            raise LookupError(number)
        return number


async def test_all_that_ask_together_share_a_call() -> None:
    maker = Maker()
    joint = Joint(maker)
    assert await asyncio.gather(*(joint() for _ in range(5))) == [1] * 5
    assert await joint() == 2


async def test_who_asks_while_one_is_under_way_gets_the_next() -> None:
    maker = Maker()
    joint = Joint(maker)
    maker.open.clear()
    first = asyncio.create_task(joint())
    while maker.calls == 0:
        await asyncio.sleep(0)
    others = [asyncio.create_task(joint()) for _ in range(3)]
    await asyncio.sleep(0)
    assert maker.calls == 1  # one after another
    maker.open.set()
    assert await first == 1
    assert await asyncio.gather(*others) == [2] * 3


async def test_a_failure_is_everybodys_and_the_next_call_is_a_new_one() -> None:
    maker = Maker()
    joint = Joint(maker)
    maker.fails = True
    outcomes = await asyncio.gather(*(joint() for _ in range(2)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 2
    maker.fails = False
    assert await joint() == 2


async def test_who_leaves_does_not_take_the_answer_along() -> None:
    maker = Maker()
    joint = Joint(maker)
    maker.open.clear()
    leaving, staying = asyncio.create_task(joint()), asyncio.create_task(joint())
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    maker.open.set()
    assert await staying == 1
