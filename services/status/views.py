"""The views that the status service keeps, and how a fact changes them.

Owns `fold`: from the views as they are and one fact to what becomes of them. Pure: no clock, no I/O, no sequence numbers, no
knowledge of how views are kept or who watches them.

The rules make a fact's effect the same however often and in whatever order facts come: a job by its version, minutes by
theirs, the queue by the fact's time, metrics by attempt; what was deleted stays deleted. Each view remembers the id of the
fact that made it: so one that was applied but not yet logged when the process died is told from one that is merely late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Literal, TypeVar

import msgspec

from services.status.domain import HistoryEntry, history_entry
from shared.contract.errors import Reject
from shared.contract.events import (
    DatasetCreated,
    DatasetDeleted,
    JobChanged,
    JobDeleted,
    QueueMoved,
    TeamChanged,
    TrainingCheckpointed,
)
from shared.contract.jobs import JobState
from shared.contract.stream import (
    DatasetGone,
    DatasetPut,
    MetricPoint,
    MetricsAdded,
    ModelGone,
    ModelPut,
    QueuePut,
    StreamEvent,
    TeamPut,
)
from shared.contract.wire import Envelope

Kind = Literal["model", "dataset", "queue", "minutes", "metric"]
T = TypeVar("T", int, datetime)
_encode = msgspec.json.encode


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One view as it is kept. `data` is its public struct as JSON, None for what was deleted.

    `event` is the id of the fact that made it, `order` what later facts are compared with (a version, or an attempt for
    metrics), `at` when the thing was created, saved or last told. `state` and `attempt` are those of a model.
    """

    kind: Kind
    team: str
    id: str
    event: str
    at: datetime
    order: int = 0
    data: bytes | None = None
    state: JobState | None = None
    attempt: int = 0

    @property
    def key(self) -> str:
        """Unique over all kinds and teams."""
        return key(self.kind, self.team, self.id)

    @property
    def gone(self) -> bool:
        """Whether it stands for something deleted."""
        return self.data is None


class Verdict(Enum):
    """What a fact is to the views.

    Only the log can tell more of two: a REPEATED fact made the view as it is, but clients may not have been told; a TIED one
    is as new as the fact that did, and comes after it unless it is in the log already.
    """

    APPLIED = "applied"
    REPEATED = "repeated"
    TIED = "tied"
    OLD = "old"


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a fold. `record` is the view to keep (APPLIED, TIED), `event` what clients are to be told (its `seq`
    still 0) unless OLD; `history` is a line of the model's story, kept even of an old fact."""

    verdict: Verdict
    record: Record
    event: StreamEvent
    history: HistoryEntry | None = None


def key(kind: Kind, team: str, identifier: str = "") -> str:
    """A record's key; a team has one queue and one minutes record, without an identifier."""
    return f"{kind}:{team}:{identifier}"


def metric_id(model_id: str, step: int) -> str:
    """Sorts by step within a model."""
    return f"{model_id}:{step:010d}"


def metric_key(envelope: Envelope) -> str | None:
    """The key of the metrics that a fact brings, None where it brings none: they aren't held in memory."""
    if isinstance(envelope.body, TrainingCheckpointed):
        return key("metric", envelope.team, metric_id(envelope.job_id or "", envelope.body.step))
    return None


def fold(known: Mapping[str, Record], envelope: Envelope) -> Folded:
    """What `envelope` changes in the views of its team, given them (and the metrics of its `metric_key`, if there are any).

    Raises Reject for a fact that contradicts itself or isn't one that views are made of.
    """
    new, event = _proposal(envelope)
    old = known.get(new.key)
    verdict = _verdict(old, new)
    if new.kind == "metric" and verdict is not Verdict.REPEATED and _superseded(known, envelope):
        verdict = Verdict.OLD
    history = None
    if isinstance(envelope.body, JobChanged) and not (old is not None and old.gone):
        history = history_entry(envelope.id, envelope.time, envelope.body)
    return Folded(verdict=verdict, record=new, event=event, history=history)


def _verdict(old: Record | None, new: Record) -> Verdict:
    if old is None:
        return Verdict.APPLIED
    if old.event == new.event:
        return Verdict.REPEATED
    if old.gone:
        return Verdict.OLD
    match new.kind:
        case "model" | "dataset" if new.gone:
            return Verdict.APPLIED
        case "model":
            return Verdict.APPLIED if new.order > old.order else Verdict.OLD
        case "dataset":
            return Verdict.OLD  # a dataset never changes
        case "queue":
            return _compared(new.at, old.at)
        case "minutes":
            return _compared(new.order, old.order)
        case "metric":
            return Verdict.OLD if new.data == old.data else _compared(new.order, old.order)


def _compared(new: T, old: T) -> Verdict:
    if new == old:
        return Verdict.TIED
    return Verdict.APPLIED if new > old else Verdict.OLD


def _superseded(known: Mapping[str, Record], envelope: Envelope) -> bool:
    """Whether the model is deleted, or another attempt makes its steps now."""
    model = known.get(key("model", envelope.team, envelope.job_id or ""))
    return model is not None and (model.gone or (envelope.attempt or 0) < model.attempt)


def _proposal(envelope: Envelope) -> tuple[Record, StreamEvent]:
    """The view as this fact alone would have it, and how clients are told."""
    team, event, time = envelope.team, envelope.id, envelope.time
    match envelope.body:
        case JobChanged(job=job):
            _same_team(envelope, job.team)
            record = Record(
                kind="model", team=team, id=job.id, event=event, at=job.created_at, order=job.version,
                data=_encode(job), state=job.state, attempt=job.attempt,
            )  # fmt: skip
            return record, ModelPut(seq=0, model=job)
        case JobDeleted(job_id=job_id, version=version):
            gone = Record(kind="model", team=team, id=job_id, event=event, at=time, order=version)
            return gone, ModelGone(seq=0, model_id=job_id)
        case DatasetCreated(dataset=dataset):
            _same_team(envelope, dataset.team)
            record = Record(
                kind="dataset", team=team, id=dataset.id, event=event, at=dataset.created_at, data=_encode(dataset)
            )
            return record, DatasetPut(seq=0, dataset=dataset)
        case DatasetDeleted(dataset_id=dataset_id):
            gone = Record(kind="dataset", team=team, id=dataset_id, event=event, at=time)
            return gone, DatasetGone(seq=0, dataset_id=dataset_id)
        case QueueMoved(places=places):
            record = Record(kind="queue", team=team, id="", event=event, at=time, data=_encode(places))
            return record, QueuePut(seq=0, places=places)
        case TeamChanged(team=minutes):
            _same_team(envelope, minutes.team)
            record = Record(
                kind="minutes", team=team, id="", event=event, at=time, order=minutes.version, data=_encode(minutes)
            )
            return record, TeamPut(seq=0, team=minutes)
        case TrainingCheckpointed() as checkpointed:
            point = _metric_point(envelope, checkpointed)
            record = Record(
                kind="metric", team=team, id=metric_id(point.model_id, point.step), event=event, at=point.saved_at,
                order=point.attempt, data=_encode(point), attempt=point.attempt,
            )  # fmt: skip
            return record, MetricsAdded(seq=0, point=point)
        case other:
            raise Reject(f"{type(other).__name__} is not a fact that views are made of")


def _metric_point(envelope: Envelope, body: TrainingCheckpointed) -> MetricPoint:
    if envelope.job_id is None or envelope.attempt is None:
        raise Reject("a checkpoint that names no job and attempt")
    return MetricPoint(
        model_id=envelope.job_id,
        step=body.step,
        attempt=envelope.attempt,
        saved_at=body.saved_at,
        stepping_seconds=body.stepping_seconds,
        training=body.training,
        evaluation=body.evaluation,
        best=body.best,
        predictions=body.predictions,
    )


def _same_team(envelope: Envelope, team: str) -> None:
    """What a fact tells belongs to the team that it is told for: else one team's page would show another's."""
    if envelope.team != team:
        raise Reject(f"the envelope is team {envelope.team!r}'s, its content team {team!r}'s")


def newest_first(records: Iterable[Record], kind: Kind) -> list[bytes]:
    """The JSON of all of a kind that aren't deleted, newest first."""
    alive = [record for record in records if record.kind == kind and not record.gone]
    alive.sort(key=lambda record: (record.at, record.id), reverse=True)
    return [record.data for record in alive if record.data is not None]
