"""Facts as scheduler, dataset service and trainers publish them, for tests of what the status service makes of them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.contract.events import (
    AnnouncementsChanged,
    DatasetCreated,
    DatasetDeleted,
    JobChanged,
    JobDeleted,
    Message,
    QueueMoved,
    RoomMoved,
    TeamChanged,
    TrainingCheckpointed,
    TrainingProgressed,
)
from shared.contract.jobs import JobState
from shared.contract.views import Announcement, DatasetView, JobView, LabelCount, QueuePlace, TeamView
from shared.contract.wire import Envelope

NOW = datetime(2026, 3, 14, 10, 15, 30, 250_000, tzinfo=UTC)
TEAM = "demo"
# As ftc-ml spells them: dots, slashes, spaces and an at sign, none of which may trouble the store.
EVALUATION = {"DetectionBoxes_Precision/mAP@.50IOU": 0.75, "DetectionBoxes_Recall/AR@100 (small)": -1.0, "$odd": 1.0}
TRAINING = {"Loss/total_loss": 0.5}


def envelope(
    body: Message,
    *,
    team: str = TEAM,
    job_id: str | None = None,
    attempt: int | None = None,
    seconds: float = 0,
    event: str | None = None,
) -> Envelope:
    """A message that was sent `seconds` after NOW."""
    return Envelope(
        id=event or uuid.uuid4().hex,
        time=NOW + timedelta(seconds=seconds),
        source="test",
        team=team,
        job_id=job_id,
        attempt=attempt,
        body=body,
    )


def job(identifier: str = "m1", version: int = 1, state: JobState = JobState.QUEUED, **fields: Any) -> JobView:
    """A job of team demo."""
    given: dict[str, Any] = {
        "team": TEAM,
        "description": "Balls Model",
        "created_by": "Ada",
        "created_at": NOW,
        "starting_model": "ssd_mobilenet_v2_320x320",
        "dataset_ids": ["d1"],
        "dataset_names": ["Balls"],
        "labels": ["ball"],
        "train_frames": 80,
        "eval_frames": 20,
        "batch_size": 8,
        "steps_requested": 1000,
        "steps_completed": 0,
        "max_seconds": 600,
        "attempt": 0,
    }
    return JobView(id=identifier, version=version, state=state, **(given | fields))


def changed(view: JobView, trigger: str = "submit", **about: Any) -> Envelope:
    """job.changed."""
    return envelope(JobChanged(job=view, trigger=trigger), **({"team": view.team, "job_id": view.id} | about))


def deleted(identifier: str = "m1", version: int = 99, **about: Any) -> Envelope:
    """job.deleted."""
    return envelope(JobDeleted(job_id=identifier, version=version), **({"job_id": identifier} | about))


def dataset_created(identifier: str = "d1", team: str = TEAM, **about: Any) -> Envelope:
    """dataset.created."""
    view = DatasetView(
        id=identifier, team=team, name="Balls", created_at=NOW, labels=[LabelCount(name="a.b/$c", train=80, eval=20)],
        train_frames=80, eval_frames=20, train_negatives=3, eval_negatives=1, bytes=12345, prefix=f"datasets/{identifier}",
    )  # fmt: skip
    return envelope(DatasetCreated(dataset=view), team=team, **about)


def dataset_deleted(identifier: str = "d1", **about: Any) -> Envelope:
    """dataset.deleted."""
    return envelope(DatasetDeleted(dataset_id=identifier), **about)


def queue_moved(*jobs: str, **about: Any) -> Envelope:
    """queue.moved: `jobs` wait in this order."""
    places = [QueuePlace(job_id=name, position=number) for number, name in enumerate(jobs, 1)]
    return envelope(QueueMoved(places=places), **about)


def room_moved(**about: Any) -> Envelope:
    """room.moved."""
    return envelope(RoomMoved(), **({"team": ""} | about))


def announced(version: int = 1, *texts: str, **about: Any) -> Envelope:
    """announcements.changed: these texts, newest first."""
    listed = [Announcement(id=f"a{text}", text=text, kind="info", at=NOW, by="Op") for text in texts]
    return envelope(AnnouncementsChanged(announcements=listed, version=version), **({"team": ""} | about))


def minutes(version: int = 1, balance: int = 3600, team: str = TEAM, **about: Any) -> Envelope:
    """team.changed."""
    view = TeamView(
        team=team, granted_seconds=3600, used_seconds=3600 - balance, reserved_seconds=0, balance_seconds=balance,
        version=version,
    )  # fmt: skip
    return envelope(TeamChanged(team=view), team=team, **about)


def checkpointed(identifier: str = "m1", step: int = 100, attempt: int = 1, **about: Any) -> Envelope:
    """training.checkpointed."""
    fields = {name: about.pop(name) for name in ("best", "predictions") if name in about}
    body = TrainingCheckpointed(
        step=step,
        stepping_seconds=step / 10,
        prefix=f"jobs/{identifier}/checkpoints/{step:08d}-a{attempt}",
        saved_at=NOW + timedelta(seconds=step),
        training=TRAINING,
        evaluation=EVALUATION,
        **fields,
    )
    return envelope(body, job_id=identifier, attempt=attempt, **about)


def progressed(identifier: str = "m1", step: int = 1, attempt: int = 1, **about: Any) -> Envelope:
    """training.progressed."""
    body = TrainingProgressed(
        step=step,
        stepping_seconds=step / 10,
        steps_per_second=10.0,
        learning_rate=0.02,
        losses={"Loss/total_loss": 0.5},
    )
    return envelope(body, job_id=identifier, attempt=attempt, **about)
