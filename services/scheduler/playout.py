"""The queue played forward many times at once: each row of an array is a job, each column a draw.

Owns chance and the slots of the future; estimate.py says what is played. Pure: the same call gives the same figures. All
chance comes from fixed tables, read from a place that follows from a job's id. So a job's luck is the same from one look
to the next, and its range moves only with what happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from services.scheduler.snapshot import Needs, Trainer, can_hold

Floats = NDArray[np.float64]
Indexes = NDArray[np.intp]
_TABLE = 8192
_MOST_DRAWS, _LEAST_DRAWS = 200, 40
# Jobs times slots times draws that one forecast may cost.
_AFFORDABLE = 5_000_000


class Luck(IntEnum):
    """What is drawn."""

    PACE = 0
    NOISE = 1
    STOP = 2
    NEWCOMERS = 3
    LENGTH = 4


class Chance:
    """As many draws as can be afforded where one draw takes so many `cells`: jobs times slots."""

    def __init__(self, cells: int) -> None:
        self.draws = max(_LEAST_DRAWS, min(_MOST_DRAWS, _AFFORDABLE // max(1, cells)))

    def uniform(self, luck: Luck, names: Sequence[str]) -> Floats:
        """(names, draws) between 0 and 1."""
        return self._read(_tables()[0][luck], names)

    def normal(self, luck: Luck, names: Sequence[str]) -> Floats:
        """(names, draws) around 0 with a deviation of 1."""
        return self._read(_tables()[1][luck], names)

    def _read(self, table: Floats, names: Sequence[str]) -> Floats:
        begins = np.asarray([[crc32(name.encode()) % _TABLE] for name in names], dtype=np.intp).reshape(-1, 1)
        found: Floats = table[begins + np.arange(self.draws)]
        return found


@cache
def _tables() -> tuple[Floats, Floats]:
    generator, shape = np.random.default_rng(1), (len(Luck), _TABLE + _MOST_DRAWS)
    return generator.random(shape), generator.standard_normal(shape)


class Slots:
    """When each slot of each trainer comes free, in each draw."""

    def __init__(self, trainers: Sequence[Trainer], draws: int) -> None:
        self._trainers = [trainer for trainer in trainers for _ in range(trainer.slots)]
        self._free = np.zeros((draws, len(self._trainers)))
        self._draws = np.arange(draws)
        self._able: dict[Needs, Indexes] = {}
        self._untaken: dict[str, list[int]] = {}
        for column, trainer in enumerate(self._trainers):
            self._untaken.setdefault(trainer.id, []).append(column)

    def occupy(self, trainer: str, until: Floats) -> None:
        """A running job keeps a slot until then."""
        columns = self._untaken.get(trainer)
        if columns:
            self._free[:, columns.pop()] = until

    def able(self, needs: Needs) -> Indexes:
        """The slots that can hold these needs, the least capable first if the trainers were."""
        if needs not in self._able:
            found = [column for column, trainer in enumerate(self._trainers) if can_hold(trainer, needs)]
            self._able[needs] = np.asarray(found, dtype=np.intp)
        return self._able[needs]

    def first(self, needs: Needs, newcomers: Indexes, length: Floats) -> tuple[Floats, Indexes]:
        """When the first slot comes free, and which, after so many `newcomers`, each of that `length`, have taken the
        first before. What is free now they can't take: they aren't here yet."""
        able = self.able(needs)
        start, slot = self._earliest(able)
        for number in range(int(newcomers.max(initial=0))):
            gone = np.flatnonzero((newcomers > number) & (start > 0))
            if not len(gone):
                break
            self._free[gone, slot[gone]] += length[gone]
            start, slot = self._earliest(able)
        return start, slot

    def take(self, slot: Indexes, until: Floats) -> None:
        """A job keeps that slot until then."""
        self._free[self._draws, slot] = until

    def _earliest(self, able: Indexes) -> tuple[Floats, Indexes]:
        free = self._free if len(able) == len(self._trainers) else self._free[:, able]
        slot = free.argmin(axis=1)
        return free[self._draws, slot], able[slot]
