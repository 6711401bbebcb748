"""The law of the stream: a snapshot folded with every later event equals a fresh snapshot."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.fold import Gap, Position, State, UnknownEvent, decode_frame, fold, with_model
from services.cli.scene import Measured, ModelChanged, Progressed, QueueMoved, changes, scene
from shared.contract.jobs import JobState
from shared.contract.stream import (
    DatasetGone,
    DatasetPut,
    EventsFrame,
    MetricsAdded,
    ModelGone,
    ModelPut,
    Progress,
    QueuePut,
    SnapshotFrame,
    StreamEvent,
    TeamPut,
)
from shared.contract.views import QueuePlace, TeamView
from tests.support.answers import NOW, dataset_view, finished_job, job_view, point_at, progress_at

JOB = "1" * 32


def snapshot(seq: int = 0, epoch: str = "e", **changed: Any) -> SnapshotFrame:
    parts: dict[str, Any] = {"minutes": None, "models": [], "datasets": [], "queue": [], "progress": []}
    return SnapshotFrame(epoch=epoch, seq=seq, time=NOW, team="demo", **{**parts, **changed})


def events(*items: StreamEvent, epoch: str = "e", progress: list[Progress] | None = None) -> EventsFrame:
    return EventsFrame(epoch=epoch, time=NOW, events=list(items), progress=progress or [])


def folded(*frames: SnapshotFrame | EventsFrame, start: State | None = None) -> State:
    state = start or State()
    for frame in frames:
        state = fold(state, *decode_frame(msgspec.json.encode(frame)))
    return state


def minutes(version: int) -> TeamView:
    return TeamView(
        team="demo", granted_seconds=9, used_seconds=version, reserved_seconds=0, balance_seconds=9, version=version
    )


identifiers = st.sampled_from(["a", "b"])
models = st.builds(
    lambda i, v, s: job_view(i, version=v, state=s), identifiers, st.integers(1, 9), st.sampled_from(JobState)
)
happenings = st.one_of(
    st.builds(lambda m: ModelPut(seq=0, model=m), models),
    st.builds(lambda i: ModelGone(seq=0, model_id=i), identifiers),
    st.builds(lambda i: DatasetPut(seq=0, dataset=dataset_view(i)), identifiers),
    st.builds(lambda i: DatasetGone(seq=0, dataset_id=i), identifiers),
    st.builds(lambda p: QueuePut(seq=0, places=[QueuePlace(job_id="a", position=p)]), st.integers(1, 3)),
    st.builds(lambda v: TeamPut(seq=0, team=minutes(v)), st.integers(1, 5)),
    st.builds(lambda i, s: MetricsAdded(seq=0, point=point_at(s, i)), identifiers, st.integers(1, 3)),
)


@given(st.lists(happenings, max_size=12), st.data())
def test_it_does_not_matter_how_events_are_cut_into_frames_or_repeated(items: list[StreamEvent], data: Any) -> None:
    numbered = [msgspec.structs.replace(item, seq=seq) for seq, item in enumerate(items, 1)]
    whole = folded(snapshot(), events(*numbered))
    cut = data.draw(st.integers(0, len(numbered)))
    again = data.draw(st.integers(0, cut))
    assert folded(snapshot(), events(*numbered[:cut]), events(*numbered[again:])) == whole
    fresh = snapshot(
        len(numbered),
        models=list(whole.models.values()),
        datasets=list(whole.datasets.values()),
        queue=list(whole.queue.values()),
        minutes=whole.minutes,
    )
    law = folded(fresh)
    assert (law.position, law.models, law.datasets, law.queue, law.minutes) == (
        whole.position, whole.models, whole.datasets, whole.queue, whole.minutes,
    )  # fmt: skip


def test_missing_events_are_a_gap() -> None:
    state = folded(snapshot(4))
    with pytest.raises(Gap):
        folded(events(ModelGone(seq=6, model_id="a")), start=state)
    with pytest.raises(Gap):
        folded(events(epoch="another"), start=state)
    with pytest.raises(Gap):
        folded(events())


def test_an_event_of_a_newer_server_counts_and_changes_nothing() -> None:
    frame = msgspec.json.decode(msgspec.json.encode(events(ModelPut(seq=1, model=job_view()))))
    frame["events"].append({"kind": "team.renamed", "seq": 2, "name": "x"})
    decoded, found = decode_frame(msgspec.json.encode(frame))
    assert found[1] == UnknownEvent(2)
    state = fold(folded(snapshot()), decoded, found)
    assert state.position == Position("e", 2)
    assert list(state.models) == [JOB]


@pytest.mark.parametrize("data", ["", "{", "[]", '{"kind":"other"}', '{"kind":"events","epoch":"e","events":[{}]}'])
def test_what_is_no_frame(data: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_frame(data)


def test_old_versions_points_and_progress_do_not_win() -> None:
    running = job_view(version=5, state=JobState.RUNNING, attempt=2)
    state = folded(snapshot(models=[running], progress=[progress_at(20, attempt=2)]))
    state = folded(
        events(
            ModelPut(seq=1, model=job_view(version=4)),
            MetricsAdded(seq=2, point=point_at(10, attempt=2)),
            MetricsAdded(seq=3, point=point_at(10, attempt=1, mean=0.9)),
            progress=[progress_at(90, attempt=1), progress_at(10, attempt=2)],
        ),
        start=state,
    )
    assert state.models[JOB] == running
    assert state.metrics[JOB][10].attempt == 2
    assert state.progress[JOB].step == 20


def test_progress_goes_with_the_attempt_and_with_the_end() -> None:
    running = job_view(version=5, state=JobState.RUNNING, attempt=1)
    state = folded(snapshot(models=[running], progress=[progress_at(20)]))
    for later in (finished_job(), job_view(version=6, attempt=2)):
        assert not with_model(state, later).progress
    assert not folded(events(progress=[progress_at(9, "unknown")]), start=folded(snapshot())).progress


def test_a_scene_is_one_job_with_what_belongs_to_it() -> None:
    place = QueuePlace(job_id=JOB, position=2)
    state = folded(snapshot(models=[job_view()], queue=[place]))
    waiting = scene(state, JOB)
    assert waiting is not None
    assert (waiting.place, waiting.progress, waiting.latest) == (place, None, None)
    assert scene(state, "other") is None
    running = scene(with_model(state, job_view(version=2, state=JobState.RUNNING)), JOB)
    assert running is not None
    assert running.place is None


def test_changes_are_told_once() -> None:
    running = job_view(version=2, state=JobState.RUNNING, attempt=1)
    before = scene(folded(snapshot(models=[job_view()], queue=[QueuePlace(job_id=JOB, position=1)])), JOB)
    assert before is not None
    assert [type(change) for change in changes(None, before)] == [ModelChanged, QueueMoved]
    assert changes(before, before) == []
    state = folded(
        snapshot(models=[running], progress=[progress_at(20)]), events(MetricsAdded(seq=1, point=point_at(10)))
    )
    after = scene(state, JOB)
    assert after is not None
    assert changes(before, after) == [ModelChanged(running, True), Measured(point_at(10)), Progressed(progress_at(20))]
    saved = msgspec.structs.replace(after, job=msgspec.structs.replace(running, version=3))
    assert changes(after, saved) == [ModelChanged(saved.job, False)]
