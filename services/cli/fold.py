"""What the live stream says, as one value: the state of the team, folded from frames.

Pure: no network, no clock, no terminal. The law: a snapshot folded with every later event equals a fresh snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

import msgspec

from shared.contract.jobs import TERMINAL
from shared.contract.stream import (
    DatasetGone,
    DatasetPut,
    EventsFrame,
    Frame,
    MetricPoint,
    MetricsAdded,
    ModelGone,
    ModelPut,
    Progress,
    QueuePut,
    SnapshotFrame,
    StreamEvent,
    TeamPut,
)
from shared.contract.views import Announcement, DatasetView, JobView, QueuePlace, TeamView

K = TypeVar("K")
V = TypeVar("V")


class Position(msgspec.Struct, frozen=True):
    """How far the stream was read."""

    epoch: str
    seq: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is known. `position` is None before the first snapshot; `snapshots` counts them: what was fetched beside the
    stream has to be fetched again after each. `metrics` is by model, then step; `room_moved_at` is when what runs and
    waits in the whole room last changed."""

    position: Position | None = None
    snapshots: int = 0
    minutes: TeamView | None = None
    models: Mapping[str, JobView] = MappingProxyType({})
    datasets: Mapping[str, DatasetView] = MappingProxyType({})
    queue: Mapping[str, QueuePlace] = MappingProxyType({})
    progress: Mapping[str, Progress] = MappingProxyType({})
    metrics: Mapping[str, Mapping[int, MetricPoint]] = MappingProxyType({})
    room_moved_at: datetime | None = None
    announcements: Sequence[Announcement] = ()


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a kind that a newer server sends: it counts in the sequence and changes nothing here."""

    seq: int


class Gap(Exception):
    """Events are missing before a frame: only a fresh snapshot helps."""


class _LooseEvents(msgspec.Struct, tag_field="kind", tag="events"):
    epoch: str
    events: list[msgspec.Raw] = []


def decode_frame(data: str | bytes) -> tuple[Frame, list[StreamEvent | UnknownEvent]]:
    """A frame and its events, those of unknown kinds included. Raises msgspec.DecodeError for what can't be read."""
    try:
        frame = msgspec.json.decode(data, type=Frame)
        return frame, list(frame.events) if isinstance(frame, EventsFrame) else []
    except msgspec.ValidationError:
        loose = msgspec.json.decode(data, type=_LooseEvents)
        events = [_event(raw) for raw in loose.events]
        rest = {**msgspec.json.decode(data), "events": []}
        return msgspec.convert(rest, EventsFrame, strict=True), events


def fold(state: State, frame: Frame, events: Iterable[StreamEvent | UnknownEvent]) -> State:
    """The state after a frame. Raises Gap where events before it are missing."""
    if isinstance(frame, SnapshotFrame):
        return _from_snapshot(state, frame)
    start = state.position
    if start is None or start.epoch != frame.epoch:
        raise Gap
    seq = start.seq
    for event in events:
        if event.seq <= seq:
            continue  # sent twice
        if event.seq != seq + 1:
            raise Gap
        state, seq = _apply(state, event), event.seq
    if seq != start.seq:
        state = _with(state, position=Position(frame.epoch, seq))
    for progress in frame.progress:
        state = _with_progress(state, progress)
    if frame.room_moved_at is not None:
        state = _with(state, room_moved_at=frame.room_moved_at)
    if frame.announcements is not None:
        state = _with(state, announcements=frame.announcements)
    return state


def with_model(state: State, model: JobView) -> State:
    """The state with a model that a command's answer brought: the stream brings it too, perhaps it already has."""
    known = state.models.get(model.id)
    if known is not None and known.version >= model.version:
        return state
    state = _with(state, models=_put(state.models, model.id, model))
    progress = state.progress.get(model.id)
    if progress is not None and (model.state in TERMINAL or progress.attempt < model.attempt):
        state = _with(state, progress=_without(state.progress, model.id))
    return state


def _event(raw: msgspec.Raw) -> StreamEvent | UnknownEvent:
    known: StreamEvent
    try:
        known = msgspec.json.decode(raw, type=StreamEvent)
        return known
    except msgspec.ValidationError:
        return msgspec.json.decode(raw, type=UnknownEvent)


def _from_snapshot(state: State, frame: SnapshotFrame) -> State:
    models = {model.id: model for model in frame.models}
    fresh = State(
        position=Position(frame.epoch, frame.seq),
        snapshots=state.snapshots + 1,
        minutes=frame.minutes,
        models=models,
        datasets={dataset.id: dataset for dataset in frame.datasets},
        queue={place.job_id: place for place in frame.queue},
        # Not part of a snapshot: kept until they are fetched again.
        metrics={model_id: points for model_id, points in state.metrics.items() if model_id in models},
        room_moved_at=frame.room_moved_at,
        announcements=frame.announcements,
    )
    for progress in frame.progress:
        fresh = _with_progress(fresh, progress)
    return fresh


def _apply(state: State, event: StreamEvent | UnknownEvent) -> State:
    match event:
        case ModelPut():
            return with_model(state, event.model)
        case ModelGone():
            return _with(
                state,
                models=_without(state.models, event.model_id),
                progress=_without(state.progress, event.model_id),
                metrics=_without(state.metrics, event.model_id),
            )
        case MetricsAdded():
            return _with_point(state, event.point)
        case DatasetPut():
            return _with(state, datasets=_put(state.datasets, event.dataset.id, event.dataset))
        case DatasetGone():
            return _with(state, datasets=_without(state.datasets, event.dataset_id))
        case QueuePut():
            return _with(state, queue={place.job_id: place for place in event.places})
        case TeamPut():
            stale = state.minutes is not None and event.team.version < state.minutes.version
            return state if stale else _with(state, minutes=event.team)
        case UnknownEvent():
            return state


def _with_progress(state: State, progress: Progress) -> State:
    model = state.models.get(progress.model_id)
    if model is None or model.state in TERMINAL or progress.attempt < model.attempt:
        return state
    known = state.progress.get(progress.model_id)
    if known is not None and (progress.attempt, progress.at) < (known.attempt, known.at):
        return state
    return _with(state, progress=_put(state.progress, progress.model_id, progress))


def _with_point(state: State, point: MetricPoint) -> State:
    points = state.metrics.get(point.model_id, {})
    known = points.get(point.step)
    if known is not None and known.attempt > point.attempt:
        return state
    return _with(state, metrics=_put(state.metrics, point.model_id, _put(points, point.step, point)))


def _with(state: State, **changes: object) -> State:
    return msgspec.structs.replace(state, **changes)


def _put(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    return {**mapping, key: value}


def _without(mapping: Mapping[K, V], key: K) -> Mapping[K, V]:
    return {other: value for other, value in mapping.items() if other != key}
