"""One job out of all that the stream says, and what changed about it between two moments.

Pure. Owns the objects that `watch --json` prints, one a line, told apart by `kind`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from services.cli.fold import State
from shared.contract.jobs import TERMINAL, JobState
from shared.contract.stream import MetricPoint, Progress
from shared.contract.views import JobView, QueuePlace

MAP = "DetectionBoxes_Precision/mAP"
MAP_50 = "DetectionBoxes_Precision/mAP@.50IOU"
MAP_75 = "DetectionBoxes_Precision/mAP@.75IOU"
RECALL_100 = "DetectionBoxes_Recall/AR@100"
TOTAL_LOSS = "Loss/total_loss"

EXIT_CODES: Mapping[JobState, int] = {
    JobState.SUCCEEDED: 0,
    JobState.STOPPED: 0,
    JobState.FAILED: 3,
    JobState.CANCELED: 4,
    JobState.TRY_AGAIN_LATER: 5,
}


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """A job with its newest figures, its place while it waits, and its checkpoints' metrics by step."""

    job: JobView
    progress: Progress | None = None
    place: QueuePlace | None = None
    points: Mapping[int, MetricPoint] = {}

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.job.state in TERMINAL

    @property
    def latest(self) -> MetricPoint | None:
        """The metrics of the last checkpoint that was measured."""
        return self.points[max(self.points)] if self.points else None


class ModelChanged(msgspec.Struct, frozen=True, tag_field="kind", tag="model"):
    """The job's public document changed; `state_changed` says whether its state did."""

    model: JobView
    state_changed: bool


class Progressed(msgspec.Struct, frozen=True, tag_field="kind", tag="progress"):
    """Newer figures of a running job."""

    progress: Progress


class Measured(msgspec.Struct, frozen=True, tag_field="kind", tag="metrics"):
    """A checkpoint's metrics are there."""

    point: MetricPoint


class QueueMoved(msgspec.Struct, frozen=True, tag_field="kind", tag="queue"):
    """The job's place in the queue changed."""

    place: QueuePlace


class ConnectionLost(msgspec.Struct, frozen=True, tag_field="kind", tag="offline"):
    """Nothing is heard from the server; the job is not affected."""

    reason: str
    retry_in_seconds: float


class ConnectionBack(msgspec.Struct, frozen=True, tag_field="kind", tag="online"):
    """The stream is back, with nothing missed."""


class Ended(msgspec.Struct, frozen=True, tag_field="kind", tag="ended"):
    """The last line: how the job ended."""

    state: JobState
    exit_code: int
    model: JobView


Change = ModelChanged | Progressed | Measured | QueueMoved


def scene(state: State, job_id: str) -> Scene | None:
    """The job as `state` has it, None where it has no such job."""
    job = state.models.get(job_id)
    if job is None:
        return None
    return Scene(
        job=job,
        progress=state.progress.get(job_id),
        place=state.queue.get(job_id) if job.state is JobState.QUEUED else None,
        points=state.metrics.get(job_id, {}),
    )


def changes(before: Scene | None, after: Scene) -> list[Change]:
    """What to tell somebody who knows `before`; everything where that is None. Metrics ascend by step."""
    found: list[Change] = []
    if before is None or after.job != before.job:
        found.append(ModelChanged(after.job, before is None or after.job.state is not before.job.state))
    if after.place is not None and (before is None or after.place != before.place):
        found.append(QueueMoved(after.place))
    known = {} if before is None else before.points
    found.extend(Measured(point) for step, point in sorted(after.points.items()) if known.get(step) != point)
    if after.progress is not None and (before is None or after.progress != before.progress):
        found.append(Progressed(after.progress))
    return found
