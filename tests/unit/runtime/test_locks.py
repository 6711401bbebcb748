"""Order by key."""

from __future__ import annotations

import asyncio

import pytest

from shared.runtime.locks import KeyedLocks
from tests.support.virtual_time import run


async def holder(locks: KeyedLocks, key: str, name: str, seconds: float, seen: list[str]) -> None:
    async with locks.hold(key):
        seen.append(f"{name} in")
        await asyncio.sleep(seconds)
        seen.append(f"{name} out")


def test_one_key_first_come_first_served() -> None:
    async def main() -> list[str]:
        locks, seen = KeyedLocks(), list[str]()
        await asyncio.gather(*(holder(locks, "k", name, 3 - n, seen) for n, name in enumerate("abc")))
        return seen

    assert run(main()) == ["a in", "a out", "b in", "b out", "c in", "c out"]


def test_different_keys_side_by_side() -> None:
    async def main() -> float:
        locks, seen = KeyedLocks(), list[str]()
        await asyncio.gather(*(holder(locks, key, key, 5, seen) for key in "abc"))
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(5)


def test_who_is_cancelled_while_waiting_leaves_the_line() -> None:
    async def main() -> tuple[list[str], KeyedLocks]:
        locks, seen = KeyedLocks(), list[str]()
        tasks = [asyncio.create_task(holder(locks, "k", name, 1, seen)) for name in "abc"]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return seen, locks

    seen, locks = run(main())
    assert seen == ["a in", "a out", "c in", "c out"]
    assert locks._locks == {}


def test_who_is_cancelled_or_fails_while_holding_lets_go() -> None:
    async def fail(locks: KeyedLocks) -> None:
        async with locks.hold("k"):
            raise ZeroDivisionError

    async def main() -> tuple[list[str], KeyedLocks]:
        locks, seen = KeyedLocks(), list[str]()
        first = asyncio.create_task(holder(locks, "k", "a", 100, seen))
        broken = asyncio.create_task(fail(locks))
        last = asyncio.create_task(holder(locks, "k", "c", 1, seen))
        await asyncio.sleep(0.5)
        first.cancel()
        results = await asyncio.gather(first, broken, last, return_exceptions=True)
        assert isinstance(results[1], ZeroDivisionError)
        return seen, locks

    seen, locks = run(main())
    assert seen == ["a in", "c in", "c out"]
    assert locks._locks == {}
