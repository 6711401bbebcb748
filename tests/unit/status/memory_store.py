"""The status store in memory, which can fail at any of its writes, before or after their effect.

Held to the real one by tests/integration/test_status_store.py, which runs the same tests on both.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence

from services.status.domain import HistoryEntry
from services.status.room import Kept
from services.status.store import Conflict, Loaded, LogEntry
from services.status.views import Record


class MemoryStore:
    """What Folder and Hub need of a store. `fail(error, write, after)` lets one of the next writes (0 is the next) raise."""

    def __init__(self) -> None:
        self.views: dict[str, Record] = {}
        self.metrics: dict[str, Record] = {}
        self.stories: dict[str, tuple[str, str, HistoryEntry]] = {}
        self.logs: dict[str, dict[int, LogEntry]] = {}
        self.epochs: dict[str, str] = {}
        self.room = Kept()
        self.writes = 0
        self.unreadable: Exception | None = None  # raised by what reads the log or a team
        self._failure: tuple[BaseException, int, bool] | None = None

    def heal(self) -> None:
        """No write is going to fail."""
        self._failure = None

    def fail(self, error: BaseException, *, write: int = 0, after: bool = False) -> None:
        """Raise `error` at the `write`th write from now, `after` or before it takes effect."""
        self._failure = (error, self.writes + write, after)

    async def load(self, team: str) -> Loaded:
        self._check()
        log = self.logs.get(team, {})
        if not log or team not in self.epochs:
            self.epochs[team] = uuid.uuid4().hex
        views = {name: record for name, record in self.views.items() if record.team == team}
        return Loaded(epoch=self.epochs[team], last=max(log, default=0), records=views)

    async def log(self, team: str, after: int, upto: int) -> list[bytes]:
        self._check()
        log = self.logs.get(team, {})
        if any(seq not in log for seq in range(after + 1, upto + 1)):
            raise Conflict("trimmed")
        return [log[seq].data for seq in range(after + 1, upto + 1)]

    def _check(self) -> None:
        if self.unreadable is not None:
            raise self.unreadable

    async def has_logged(self, team: str, seq: int) -> bool:
        return seq in self.logs.get(team, {})

    async def metrics_by_key(self, keys: Sequence[str]) -> dict[str, Record]:
        return {name: self.metrics[name] for name in keys if name in self.metrics}

    async def logged(self, events: Sequence[str]) -> set[str]:
        return {entry.id for log in self.logs.values() for entry in log.values() if entry.id in events}

    async def add_history(self, team: str, entries: Sequence[tuple[str, HistoryEntry]]) -> None:
        async with _Write(self):
            for model_id, entry in entries:
                self.stories.setdefault(entry.event, (team, model_id, entry))

    async def write(self, changes: Mapping[str, tuple[str | None, Record]]) -> None:
        async with _Write(self):
            for name, (before, record) in changes.items():
                kept = self.metrics if record.kind == "metric" else self.views
                there = kept.get(name)
                if (None if there is None else there.event) != before:
                    raise Conflict(name)
                kept[name] = record

    async def forget_models(self, team: str, model_ids: Sequence[str]) -> None:
        async with _Write(self):
            for kept in (self.metrics, self.stories):
                for name in [name for name, value in kept.items() if _model_of(value) in model_ids]:
                    del kept[name]

    async def append(self, team: str, entries: Sequence[LogEntry]) -> None:
        async with _Write(self):
            log = self.logs.setdefault(team, {})
            known = await self.logged([entry.id for entry in entries])
            for entry in entries:
                if entry.seq in log or entry.id in known:
                    raise Conflict(str(entry.seq))
                log[entry.seq] = entry

    async def load_room(self) -> Kept:
        return self.room

    async def keep_room(self, kept: Kept) -> None:
        async with _Write(self):
            self.room = kept

    async def trim(self, team: str, upto: int) -> int:
        log = self.logs.get(team, {})
        old = [seq for seq in log if seq <= upto]
        for seq in old:
            del log[seq]
        return len(old)


class _Write:
    """Counts a write and raises the failure that is set for it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def __aenter__(self) -> None:
        await asyncio.sleep(0)  # as with the real one, others get a turn
        self._check(after=False)

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._check(after=True)
            self._store.writes += 1

    def _check(self, *, after: bool) -> None:
        failure = self._store._failure
        if failure is not None and failure[1:] == (self._store.writes, after):
            self._store._failure = None
            self._store.writes += 1
            raise failure[0]


def _model_of(value: object) -> str:
    if isinstance(value, Record):
        return value.id.rpartition(":")[0]
    assert isinstance(value, tuple)
    return str(value[1])
