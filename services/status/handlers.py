"""What happens to each fact: folded, kept, logged, handed to whoever watches.

Owns the order of writes that survives a crash between any two: views first, then the log, then memory and clients. A fact
whose view was written but not its log entry comes again, is found to be REPEATED, and is logged then. Knows no rule of folding.

Facts of a team are folded one after another under the team's lock, but written together: whoever gets the lock folds all that
wait, which makes one write of many under load and costs nothing without.
"""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

import msgspec
from prometheus_client import Counter

from services.status import views
from services.status.channel import Channel
from services.status.domain import HistoryEntry, progress_of
from services.status.hub import Hub
from services.status.store import LogEntry
from services.status.views import Record, Verdict
from shared.contract.errors import Reject, Stale
from shared.contract.events import (
    DatasetCreated,
    DatasetDeleted,
    JobChanged,
    JobDeleted,
    QueueMoved,
    TeamChanged,
    TrainingCheckpointed,
    TrainingProgressed,
)
from shared.contract.stream import StreamEvent
from shared.contract.wire import Envelope
from shared.runtime import log
from shared.runtime.bus import Handlers
from shared.runtime.clock import Clock
from shared.runtime.metrics import Metrics
from shared.runtime.mongo import OUTAGES

_encode = msgspec.json.encode
_LOG_DECIDES = frozenset({Verdict.REPEATED, Verdict.TIED})


class Keeper(Protocol):
    """What folding needs of the store; see StatusStore."""

    async def metrics_by_key(self, keys: Sequence[str]) -> dict[str, Record]: ...
    async def logged(self, events: Sequence[str]) -> set[str]: ...
    async def add_history(self, team: str, entries: Sequence[tuple[str, HistoryEntry]]) -> None: ...
    async def write(self, changes: Mapping[str, tuple[str | None, Record]]) -> None: ...
    async def forget_models(self, team: str, model_ids: Sequence[str]) -> None: ...
    async def append(self, team: str, entries: Sequence[LogEntry]) -> None: ...
    async def trim(self, team: str, upto: int) -> int: ...


class _Waiting(msgspec.Struct, eq=False):
    """A fact that waits for its team's lock; `settled` gets its outcome. `alone`: a batch with it failed."""

    envelope: Envelope
    settled: asyncio.Future[None]
    alone: bool = False


class _Round(msgspec.Struct):
    """What one turn under the lock is going to write: views by key, with the fact that made what each replaces."""

    views: dict[str, tuple[str | None, Record]]
    history: list[tuple[str, HistoryEntry]]
    gone: list[str]
    told: list[tuple[_Waiting, StreamEvent]]
    stale: list[tuple[_Waiting, Stale]]


class Folder:
    """Folds facts into views and log."""

    def __init__(self, store: Keeper, hub: Hub, clock: Clock, metrics: Metrics, *, log_keep: int) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock
        self._log_keep = log_keep
        self._inboxes: dict[str, list[_Waiting]] = {}
        self._trimmed: dict[str, int] = {}
        self._logger = log.get("folder")
        self._logged = Counter(
            "trainyard_stream_events_total", "Events given a number and logged.", registry=metrics.registry
        )

    def facts(self) -> Handlers:
        """The handler table of `status.facts`."""
        return {
            DatasetCreated: self.fold,
            DatasetDeleted: self.fold,
            JobChanged: self.fold,
            JobDeleted: self.fold,
            QueueMoved: self.fold,
            TeamChanged: self.fold,
            TrainingCheckpointed: self.fold,
        }

    def transient(self) -> Handlers:
        """The handler table of `status.progress`."""
        return {TrainingProgressed: self.progress}

    async def fold(self, envelope: Envelope) -> None:
        """Fold one fact; raises Stale if it changed nothing, Reject if it never can."""
        inbox = self._inboxes.setdefault(envelope.team, [])
        waiting = _Waiting(envelope, asyncio.get_running_loop().create_future())
        inbox.append(waiting)
        try:
            while not waiting.settled.done():
                async with self._hub.hold(envelope.team) as channel:
                    if not waiting.settled.done():
                        batch = [waiting] if waiting.alone else [other for other in inbox if not other.alone]
                        await self._turn(channel, batch)
        except OUTAGES as error:
            for other in inbox:
                _settle(other, error)
        finally:
            # Whoever is cancelled leaves; the others take their own turn.
            inbox.remove(waiting)
            if not inbox:
                self._inboxes.pop(envelope.team, None)
        waiting.settled.result()

    async def progress(self, envelope: Envelope) -> None:
        """Show a running model's newest figures; they are kept in memory alone."""
        body = envelope.body
        assert isinstance(body, TrainingProgressed)
        if envelope.job_id is None or envelope.attempt is None:
            raise Reject("progress that names no job and attempt")
        channel = await self._hub.channel(envelope.team)
        if not channel.put_progress(progress_of(envelope.job_id, envelope.attempt, self._clock.now(), body)):
            raise Stale("the model doesn't run, or newer figures are known")

    async def tidy(self) -> None:
        """Trim the logs of the teams in memory to their newest events."""
        for channel in self._hub.channels():
            upto = channel.last - self._log_keep
            if upto > self._trimmed.get(channel.team, 0):
                removed = await self._store.trim(channel.team, upto)
                self._trimmed[channel.team] = upto
                self._logger.info("log.trimmed", team=channel.team, events=removed)

    async def _turn(self, channel: Channel, batch: list[_Waiting]) -> None:
        """Fold and write a batch. After a failure that isn't an outage each takes a turn of its own, so that one bad fact
        doesn't take the others along."""
        try:
            await self._write(channel, batch)
        except OUTAGES:
            raise
        except Exception as error:  # noqa: BLE001 - settled: the bus logs, counts and retries it
            if len(batch) == 1:
                _settle(batch[0], error)
            for waiting in batch:
                waiting.alone = True

    async def _write(self, channel: Channel, batch: list[_Waiting]) -> None:
        round_ = await self._folded(channel, batch)
        numbers = range(channel.last + 1, channel.last + 1 + len(round_.told))
        entries = [
            LogEntry(id=waiting.envelope.id, seq=seq, data=_encode(msgspec.structs.replace(event, seq=seq)))
            for seq, (waiting, event) in zip(numbers, round_.told, strict=True)
        ]
        try:
            await _both(self._store.add_history(channel.team, round_.history), self._store.write(round_.views))
            await self._store.forget_models(channel.team, round_.gone)
            await self._store.append(channel.team, entries)
        except BaseException:
            # How much of it was written is unknown: memory is compared with the database before its next use.
            channel.doubtful = True
            raise
        kept = {name: record for name, (_, record) in round_.views.items() if record.kind != "metric"}
        channel.publish(kept, [entry.data for entry in entries])
        self._logged.inc(len(entries))
        for waiting, _ in round_.told:
            _settle(waiting)
        for waiting, error in round_.stale:
            _settle(waiting, error)

    async def _folded(self, channel: Channel, batch: list[_Waiting]) -> _Round:
        metrics = await self._store.metrics_by_key(
            [name for waiting in batch if (name := views.metric_key(waiting.envelope)) is not None]
        )
        before = ChainMap(metrics, channel.records)
        foldable, unsure = _sort_out(before, batch)
        told = await self._store.logged(unsure)
        changed: dict[str, Record] = {}
        known = ChainMap(changed, metrics, channel.records)
        round_ = _Round(views={}, history=[], gone=[], told=[], stale=[])
        for waiting in foldable:
            outcome = views.fold(known, waiting.envelope)
            verdict, record = outcome.verdict, outcome.record
            if outcome.history is not None:
                round_.history.append((record.id, outcome.history))
            if verdict is Verdict.OLD or waiting.envelope.id in told:
                round_.stale.append((waiting, Stale(f"{verdict.value}: {record.kind} {record.id}")))
                continue
            if verdict is not Verdict.REPEATED:
                changed[record.key] = record
            if record.kind == "model" and record.gone:
                round_.gone.append(record.id)
            told.add(waiting.envelope.id)
            round_.told.append((waiting, outcome.event))
        for name, record in changed.items():
            replaced = before.get(name)
            round_.views[name] = (None if replaced is None else replaced.event, record)
        return round_


def _sort_out(known: Mapping[str, Record], batch: list[_Waiting]) -> tuple[list[_Waiting], list[str]]:
    """The facts that can be folded, and the ids of those of which only the log can tell whether clients were told.

    What can never be folded is settled with the reason.
    """
    foldable: list[_Waiting] = []
    unsure: list[str] = []
    for waiting in batch:
        try:
            verdict = views.fold(known, waiting.envelope).verdict
        except Reject as error:
            _settle(waiting, error)
            continue
        foldable.append(waiting)
        if verdict in _LOG_DECIDES:
            unsure.append(waiting.envelope.id)
    return foldable, unsure


async def _both(one: Awaitable[None], other: Awaitable[None]) -> None:
    """Both at once; a failure is raised after both have ended, so that nothing is written behind our back."""
    for outcome in await asyncio.gather(one, other, return_exceptions=True):
        if outcome is not None:
            raise outcome


def _settle(waiting: _Waiting, error: Exception | None = None) -> None:
    if waiting.settled.done():
        return
    if error is None:
        waiting.settled.set_result(None)
    else:
        waiting.settled.set_exception(error)
        waiting.settled.exception()  # whoever waited may have been cancelled: then nobody else looks at it
