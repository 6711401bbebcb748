"""What the status service answers: models, their metrics and their stories. Owns the structs alone; its stream is stream.py."""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.contract.jobs import JobState
from shared.contract.pictures import EvaluationPicture, FoundBoxes
from shared.contract.stream import MetricPoint, Progress
from shared.contract.views import JobView


class ModelsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The team's models, newest first."""

    models: list[JobView]


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One model, its newest progress while it runs, its metrics, ascending by step."""

    model: JobView
    progress: Progress | None
    metrics: list[MetricPoint]


class MetricsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A model's metrics: a point a checkpoint, ascending by step."""

    metrics: list[MetricPoint]


class ModelEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a model's story."""

    at: datetime
    trigger: str
    state: JobState
    message: str


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A model's story, oldest first."""

    events: list[ModelEvent]


class EvaluationPicturesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A model's evaluation pictures, in the order of their numbers; each is at /api/models/{id}/pictures/{number}.jpg."""

    pictures: list[EvaluationPicture]


class PredictedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint whose predictions are kept."""

    step: int
    attempt: int
    saved_at: datetime


class PredictionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The checkpoints of a model whose predictions are kept, ascending by step."""

    checkpoints: list[PredictedCheckpoint]


class CheckpointPredictionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model found in its evaluation pictures at one checkpoint."""

    step: int
    attempt: int
    pictures: list[FoundBoxes]
