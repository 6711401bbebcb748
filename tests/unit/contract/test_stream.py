"""The websocket's frames: each event once through JSON, told apart by `kind`, numbered."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from msgspec.structs import replace

from shared.contract import stream
from shared.contract.events import AnnouncementsChanged, DatasetCreated, JobChanged, QueueMoved, TeamChanged
from shared.contract.starting_models import DEFAULT_STARTING_MODEL, STARTING_MODELS
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
from shared.contract.wire import decode

NOW = datetime(2026, 3, 14, 10, 15, 30, 250_000, tzinfo=UTC)
SAMPLES = Path(__file__).with_name("samples")


def sample(name: str) -> object:
    return decode((SAMPLES / f"{name}.json").read_bytes()).body


JOB, DATASET, QUEUE, TEAM = (
    sample(f"{name}.v1") for name in ("job.changed", "dataset.created", "queue.moved", "team.changed")
)
assert isinstance(JOB, JobChanged)
assert isinstance(DATASET, DatasetCreated)
assert isinstance(QUEUE, QueueMoved)
assert isinstance(TEAM, TeamChanged)
ANNOUNCED = sample("announcements.changed.v1")
assert isinstance(ANNOUNCED, AnnouncementsChanged)
ANNOUNCEMENTS = ANNOUNCED.announcements
EVENTS: list[StreamEvent] = [
    ModelPut(seq=1, model=JOB.job),
    ModelGone(seq=2, model_id="j1"),
    MetricsAdded(
        seq=3,
        point=MetricPoint(
            model_id="j1",
            step=100,
            attempt=1,
            saved_at=NOW,
            stepping_seconds=80.5,
            training={"Loss/total_loss": 0.5},
            evaluation={"DetectionBoxes_Precision/mAP@.50IOU": -1.0},
        ),
    ),
    DatasetPut(seq=4, dataset=DATASET.dataset),
    DatasetGone(seq=5, dataset_id="d1"),
    QueuePut(seq=6, places=QUEUE.places),
    TeamPut(seq=7, team=TEAM.team),
]
PROGRESS = Progress(
    model_id="j1",
    attempt=1,
    step=7,
    at=NOW,
    stepping_seconds=5.5,
    steps_per_second=1.25,
    learning_rate=0.02,
    losses={"Loss/total_loss": 1.5},
)


def test_there_is_an_example_of_every_event() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(StreamEvent))


@pytest.mark.parametrize(
    "frame",
    [
        SnapshotFrame(
            epoch="e1",
            seq=7,
            time=NOW,
            team="demo",
            minutes=TEAM.team,
            models=[JOB.job],
            datasets=[DATASET.dataset],
            queue=QUEUE.places,
            progress=[PROGRESS],
            room_moved_at=NOW,
            announcements=ANNOUNCEMENTS,
        ),
        SnapshotFrame(
            epoch="e1", seq=0, time=NOW, team="demo", minutes=None, models=[], datasets=[], queue=[], progress=[]
        ),
        EventsFrame(
            epoch="e1", time=NOW, events=EVENTS, progress=[PROGRESS], room_moved_at=NOW, announcements=ANNOUNCEMENTS
        ),
        EventsFrame(epoch="e1", time=NOW),
    ],
    ids=["snapshot", "empty snapshot", "events", "heartbeat"],
)
def test_frames_survive_json(frame: Frame) -> None:
    data = msgspec.json.encode(frame)
    assert msgspec.json.decode(data, type=Frame) == frame
    assert msgspec.json.decode(data)["kind"] in {"snapshot", "events"}


def test_kinds_are_unique_and_every_event_is_numbered() -> None:
    kinds = [kind.__struct_config__.tag for kind in (*get_args(StreamEvent), *get_args(Frame))]
    assert len(set(kinds)) == len(kinds)
    assert all("seq" in kind.__struct_fields__ for kind in get_args(StreamEvent))
    assert "seq" not in Progress.__struct_fields__


def test_close_codes_are_an_application_s_own() -> None:
    codes = [stream.CLOSE_RESUME, stream.CLOSE_UNAUTHORIZED, stream.CLOSE_FORBIDDEN]
    assert len(set(codes)) == len(codes)
    assert all(4000 <= code <= 4999 for code in codes)


def test_starting_models_are_listed_by_their_own_key() -> None:
    assert DEFAULT_STARTING_MODEL in STARTING_MODELS
    for key, model in STARTING_MODELS.items():
        assert model.key == key
        for figures in (model.batch_size, model.seconds_per_step, model.memory_bytes):
            assert set(figures) == {"cpu", "gpu"}
            assert min(figures.values()) > 0


@pytest.mark.parametrize(("batch_size", "gigabytes"), [(4, 1.6), (8, 2.2), (16, 3.5), (32, 6.1)])
def test_the_memory_of_a_run_follows_its_batch_as_it_was_measured(batch_size: int, gigabytes: float) -> None:
    model = STARTING_MODELS[DEFAULT_STARTING_MODEL]
    measured = replace(
        model, batch_size={"cpu": 8, "gpu": 8}, memory_bytes={"cpu": 2_200_000_000, "gpu": 4_000_000_000}
    )
    assert measured.memory_at("cpu", batch_size) == pytest.approx(gigabytes * 1e9, abs=0.06e9)
    for accelerator, full in model.batch_size.items():
        assert model.memory_at(accelerator, full) == model.memory_bytes[accelerator]
