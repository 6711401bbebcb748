"""Samples of what the platform answers: datasets, jobs at points of their life, metrics, plans, teams, the queue, trainers.

For tests of clients.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from shared.contract.api.admin import (
    AuditEntry,
    CapacityPoint,
    HeldJobRow,
    QueueRow,
    TeamRow,
    TrainerRow,
)
from shared.contract.api.jobs import JobLog
from shared.contract.api.teams import Member, Reservation, TeamAnswer
from shared.contract.jobs import JobState
from shared.contract.stream import MetricPoint, Progress
from shared.contract.views import (
    CheckpointView,
    DatasetView,
    ExportedFile,
    ExportView,
    JobView,
    LabelCount,
    LedgerEntry,
    QueuePlace,
    Reason,
    TeamView,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MODEL_BYTES = b"TFL3" * 50_000


def dataset_view(dataset_id: str = "d" * 32, **changes: Any) -> DatasetView:
    """A dataset of 120 + 30 pictures."""
    view = DatasetView(
        id=dataset_id,
        team="demo",
        name="Field",
        created_at=NOW,
        labels=[LabelCount(name="ball", train=200, eval=50), LabelCount(name="cube", train=180, eval=45)],
        train_frames=120,
        eval_frames=30,
        train_negatives=12,
        eval_negatives=3,
        bytes=8_400_000,
        prefix=f"datasets/{dataset_id}",
    )
    return msgspec.structs.replace(view, **changes)


def job_view(job_id: str = "1" * 32, **changes: Any) -> JobView:
    """A job that waits."""
    view = JobView(
        id=job_id,
        team="demo",
        version=1,
        state=JobState.QUEUED,
        description="Balls and cubes",
        created_by="tester",
        created_at=NOW,
        starting_model="ssd_mobilenet_v2_320x320",
        dataset_ids=["d" * 32],
        dataset_names=["Field"],
        labels=["ball", "cube"],
        train_frames=120,
        eval_frames=30,
        batch_size=8,
        steps_requested=300,
        steps_completed=0,
        max_seconds=600,
        attempt=0,
        queued_at=NOW,
    )
    return msgspec.structs.replace(view, **changes)


def finished_job(job_id: str = "1" * 32, **changes: Any) -> JobView:
    """A job that SUCCEEDED, with files to download."""
    files = [
        ExportedFile(format=kind, name=f"{kind}.tflite", bytes=len(MODEL_BYTES), sha256=model_sha256())
        for kind in ("float32", "float16")
    ]
    settled = {
        "version": 9,
        "state": JobState.SUCCEEDED,
        "steps_completed": 300,
        "attempt": 1,
        "stepping_seconds_before": 185.0,
        "reserved_seconds": 600,
        "used_seconds": 185,
        "refunded_seconds": 415,
        "checkpoint": CheckpointView(
            step=300, stepping_seconds=185.0, saved_at=NOW, prefix="c", map=0.41, best_step=200, best_map=0.43
        ),
        "export": ExportView(step=300, prefix="m", files=files),
    }
    return job_view(job_id, **{**settled, **changes})


def progress_at(step: int, job_id: str = "1" * 32, attempt: int = 1, seconds: float = 0.0) -> Progress:
    """Figures of a running job."""
    return Progress(
        model_id=job_id,
        attempt=attempt,
        step=step,
        at=NOW + timedelta(seconds=seconds or step),
        stepping_seconds=float(step),
        steps_per_second=1.5,
        learning_rate=0.01,
        losses={"Loss/total_loss": 0.75, "Loss/classification_loss": 0.5, "Loss/localization_loss": 0.25},
    )


def point_at(step: int, job_id: str = "1" * 32, attempt: int = 1, mean: float = 0.4) -> MetricPoint:
    """A checkpoint's metrics."""
    names = ("mAP", "mAP@.50IOU", "mAP@.75IOU")
    evaluation = {f"DetectionBoxes_Precision/{name}": mean for name in names}
    return MetricPoint(
        model_id=job_id,
        step=step,
        attempt=attempt,
        saved_at=NOW,
        stepping_seconds=float(step),
        training={"Loss/total_loss": 0.75},
        evaluation={**evaluation, "DetectionBoxes_Precision/mAP (small)": -1.0},
    )


def model_sha256() -> str:
    """Of what is downloaded."""
    return hashlib.sha256(MODEL_BYTES).hexdigest()


PLAN: dict[str, Any] = {
    "starting_model": "ssd_mobilenet_v2_320x320",
    "accelerator": "cpu",
    "train_frames": 120,
    "eval_frames": 30,
    "labels": ["ball", "cube"],
    "batch_size": 8,
    "steps_per_epoch": 15,
    "steps": 300,
    "epochs": 20,
    "recommended_steps": 1500,
    "estimated_seconds": 200.0,
    "seconds_per_step": 0.6,
    "default_max_minutes": 10,
    "minutes_left": 590.5,
    "sentences": ["Your selected datasets contain 120 training images."],
}
REPORT: dict[str, Any] = {
    "read": {"pictures": 150},
    "annotations": 150,
    "boxes": 475,
    "ignored": 1,
    "skipped": [
        {"file": "images/odd.gif", "reason": "the picture is not a JPEG, PNG or BMP", "code": "unsupported_format"}
    ],
    "skipped_total": 1,
    "skipped_by_code": {"unsupported_format": 1},
    "warnings": ["3 boxes reached beyond their picture and were clipped."],
    "oddities": [
        {
            "code": "box_clipped",
            "message": "3 boxes reached beyond their picture and were clipped.",
            "count": 3,
            "files": ["images/one.jpg"],
        }
    ],
    "look_alike_groups": 0,
}
STATISTICS: dict[str, Any] = {
    "labels": [
        {
            "name": "ball",
            "train": {"boxes": 200, "pictures": 90},
            "eval": {"boxes": 50, "pictures": 24},
            "sizes": [1, 0, 0, 9, 40, 200, 0],
        },
        {
            "name": "cube",
            "train": {"boxes": 180, "pictures": 80},
            "eval": {"boxes": 45, "pictures": 20},
            "sizes": [0, 0, 0, 25, 100, 100, 0],
        },
    ],
    "train": {"pictures": 120, "negatives": 12, "boxes": 380},
    "eval": {"pictures": 30, "negatives": 3, "boxes": 95},
    "box_sizes": [
        {"below": 0.01, "boxes": 1},
        {"below": 0.02, "boxes": 0},
        {"below": 0.05, "boxes": 0},
        {"below": 0.1, "boxes": 34},
        {"below": 0.2, "boxes": 140},
        {"below": 0.4, "boxes": 300},
        {"below": None, "boxes": 0},
    ],
    "tiny_boxes": 1,
    "picture_sizes": [{"width": 640, "height": 480, "pictures": 148}, {"width": 480, "height": 640, "pictures": 2}],
    "other_sizes": 0,
    "bytes": 8_400_000,
}
COMPATIBLE: dict[str, Any] = {"compatible": True, "labels": ["ball", "cube"], "differences": []}
INCOMPATIBLE: dict[str, Any] = {
    "compatible": False,
    "labels": ["ball", "cube"],
    "differences": [
        {"dataset_id": "e" * 32, "name": "Old", "missing": ["ball"], "extra": ["Ball"], "hints": ["“Ball” or “ball”?"]}
    ],
}
STARTING_MODELS: dict[str, Any] = {
    "default": "ssd_mobilenet_v2_320x320",
    "starting_models": [
        {
            "key": "ssd_mobilenet_v2_320x320",
            "name": "SSD MobileNet v2 320x320",
            "summary": "Small and quick.",
            "input_size": 300,
            "batch_size": {"cpu": 8, "gpu": 32},
        }
    ],
    "limits": {
        "min_steps": 200,
        "max_steps": 8000,
        "default_steps": 3000,
        "checkpoint_every": 100,
        "max_description": 30,
        "max_minutes": 600,
    },
}
TEAM = TeamAnswer(
    team=TeamView(
        team="demo", granted_seconds=36_000, used_seconds=185, reserved_seconds=600, balance_seconds=35_215, version=3
    ),
    ledger=[
        LedgerEntry(kind="grant", seconds=36_000, at=NOW, note="season", by="ops"),
        LedgerEntry(kind="use", seconds=-185, at=NOW, job_id="1" * 32, note="Balls and cubes"),
    ],
    reservations=[
        Reservation(job_id="2" * 32, description="Balls and cubes", state=JobState.RUNNING, seconds=600),
    ],
    members=[
        Member(name="tester", role="mentor", added_at=NOW, added_by="ops"),
        Member(name="Ada", role="viewer", added_at=NOW, added_by="tester"),
    ],
    member_cap_minutes=60,
)
LEDGER_CSV = "at,kind,seconds,job_id,by,note\r\n2026-03-01T12:00:00Z,grant,36000,,ops,season\r\n"
LOG = JobLog(
    lines=["epoch\t1", "OSError: no space left on \x1b[31mdevice"],
    attempt=2,
    reason=Reason(code="no_space", message="The disk is full.", remedy="Tell whoever runs the trainers."),
)


def place(position: int, job_id: str = "1" * 32) -> QueuePlace:
    """A place whose start and end are `position` times ten minutes away, give or take."""
    start = NOW + timedelta(minutes=10 * position)
    return QueuePlace(
        job_id=job_id,
        position=position,
        start_from=start,
        start_to=start + timedelta(minutes=25),
        end_from=start + timedelta(minutes=30),
        end_to=start + timedelta(minutes=70),
    )


def queue_row(position: int, job_id: str = "1" * 32, **changes: Any) -> QueueRow:
    """A job that waits."""
    row = QueueRow(
        place=place(position, job_id),
        team="demo",
        description="Balls and cubes",
        created_by="tester",
        starting_model="ssd_mobilenet_v2_320x320",
        accelerator="gpu",
        queued_at=NOW,
        priority=0,
        resumed=False,
        reserved_seconds=600,
    )
    return msgspec.structs.replace(row, **changes)


def held_job(job_id: str = "2" * 32, **changes: Any) -> HeldJobRow:
    """A job that a trainer runs."""
    row = HeldJobRow(
        job_id=job_id,
        team="demo",
        description="Balls and cubes",
        attempt=1,
        state=JobState.RUNNING,
        steps_completed=1200,
        steps_requested=3000,
    )
    return msgspec.structs.replace(row, **changes)


def trainer_row(trainer_id: str = "lab-1", **changes: Any) -> TrainerRow:
    """A trainer with two slots, one of them busy."""
    row = TrainerRow(
        id=trainer_id,
        status="live",
        accelerator="gpu",
        device="NVIDIA GeForce RTX 3090",
        memory_bytes=12_000_000_000,
        slots=2,
        seen_at=NOW,
        jobs=[held_job()],
        labels={"pool": "lab"},
        started_at=NOW - timedelta(hours=5),
        utilization=0.87,
        memory_used_bytes=10_200_000_000,
    )
    return msgspec.structs.replace(row, **changes)


def team_row(name: str = "demo", **changes: Any) -> TeamRow:
    """A team with a job that waits and one that runs."""
    minutes = msgspec.structs.replace(TEAM.team, team=name)
    row = TeamRow(minutes=minutes, members=2, waiting=1, running=1, usage_seconds=185.0)
    return msgspec.structs.replace(row, **changes)


def capacity_points(minutes: int) -> list[CapacityPoint]:
    """A point a minute up to NOW: two slots, the second one busy and jobs waiting in the second half of each hour."""
    ats = (NOW - timedelta(minutes=minutes - 1 - n) for n in range(minutes))
    return [
        CapacityPoint(at=at, trainers=1, slots=2, busy=2 if at.minute >= 30 else 1, waiting=3 if at.minute >= 30 else 0)
        for at in ats
    ]


AUDIT = [
    AuditEntry(
        id="a2", at=NOW, by="ops", act="grant", target="demo", details={"minutes": 60, "note": ""}, outcome="done"
    ),
    AuditEntry(id="a1", at=NOW, by="tester", act="approve", target="1" * 32, outcome="illegal_transition"),
]
HISTORY: list[dict[str, Any]] = [
    {"at": NOW.isoformat(), "trigger": "submit", "state": "QUEUED", "message": "Waiting for resources."},
    {"at": NOW.isoformat(), "trigger": "assign", "state": "PREPARING", "message": "Given to trainer-1."},
]
