"""What the status service sends to browsers over the websocket, and what a client folds it into.

Pure. The law: a snapshot, folded with every later event in order, equals a fresh snapshot. Events carry consecutive `seq`
numbers within an `epoch`; a client that comes back with its last pair gets each missed event, or a fresh snapshot where they
are no longer kept: never a silent gap. Outside the sequence, the newest value wins: of each model's progress, and of what
concerns the whole room.

A client connects to `/api/ws`, with `?epoch=…&seq=…` when it resumes. Every frame is one JSON object with `kind`.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.contract.views import Announcement, DatasetView, JobView, PredictionsView, QueuePlace, TeamView

# Websocket close codes (4000-4999 are an application's own).
CLOSE_RESUME = 4000  # the client was too slow: reconnect with the last (epoch, seq)
CLOSE_UNAUTHORIZED = 4001  # the token is missing, wrong or has expired
CLOSE_FORBIDDEN = 4003  # the token isn't good any more: coming back with it is no use; the reason says why
# Why, with CLOSE_FORBIDDEN: the codes of the errors that the same token gets over HTTP.
REASON_FORMER = "forbidden"  # its person was taken off the team's list of members
REASON_REVOKED = "token_revoked"

# A client that hears nothing for so long takes the line for dead: a network that goes says no word. The service sends an empty
# frame in time, as browsers don't show pings to a page.
SILENCE_SECONDS = 15


class MetricPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of one checkpoint, by ftc-ml's names. -1 in `evaluation` means that no object of that size, or of that label,
    exists. `predictions` is None where none were kept."""

    model_id: str
    step: int
    attempt: int
    saved_at: datetime
    stepping_seconds: float
    training: dict[str, float]
    evaluation: dict[str, float]
    best: bool = False
    predictions: PredictionsView | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The newest figures of a running model. `at` is when the status service heard of them."""

    model_id: str
    attempt: int
    step: int
    at: datetime
    stepping_seconds: float
    steps_per_second: float
    learning_rate: float
    losses: dict[str, float]


class ModelPut(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="model.put"):
    """A model is new or changed: replaces the one of the same id where its `version` is higher."""

    seq: int
    model: JobView


class ModelGone(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="model.gone"):
    """A model was deleted."""

    seq: int
    model_id: str


class MetricsAdded(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="metrics.added"):
    """A checkpoint's metrics: replaces the point of the same model and step where its attempt is at least as high."""

    seq: int
    point: MetricPoint


class DatasetPut(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="dataset.put"):
    """A dataset is new."""

    seq: int
    dataset: DatasetView


class DatasetGone(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="dataset.gone"):
    """A dataset was deleted."""

    seq: int
    dataset_id: str


class QueuePut(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="queue.put"):
    """The places of all the team's waiting jobs: replaces the list."""

    seq: int
    places: list[QueuePlace]


class TeamPut(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="team.put"):
    """The team's minutes: replaces them where `version` is at least as high."""

    seq: int
    team: TeamView


StreamEvent = ModelPut | ModelGone | MetricsAdded | DatasetPut | DatasetGone | QueuePut | TeamPut


class SnapshotFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="snapshot"):
    """All that a team's page shows, as of (epoch, seq). `time` is the server's clock. Metrics are fetched by model, and what
    runs and waits in the whole room at /api/queue: it was `room_moved_at` when that last changed. `announcements` are newest
    first; some may be over by the server's clock."""

    epoch: str
    seq: int
    time: datetime
    team: str
    minutes: TeamView | None
    models: list[JobView]
    datasets: list[DatasetView]
    queue: list[QueuePlace]
    progress: list[Progress]
    room_moved_at: datetime | None = None
    announcements: list[Announcement] = []


class EventsFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="events"):
    """What is due since the last frame: events in order (possibly none), the newest progress of each running model, and of the
    whole room `room_moved_at` and all `announcements`, each None where it is what it was."""

    epoch: str
    time: datetime
    events: list[StreamEvent] = []
    progress: list[Progress] = []
    room_moved_at: datetime | None = None
    announcements: list[Announcement] | None = None


Frame = SnapshotFrame | EventsFrame
