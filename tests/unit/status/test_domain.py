"""Stories, progress, downloads and positions: the rules that aren't folding."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.status.domain import (
    advances,
    choose_download,
    disposition,
    history_entry,
    progress_of,
    resumable,
    shows_progress,
)
from shared.contract.errors import UserError
from shared.contract.events import JobChanged, TrainingProgressed
from shared.contract.jobs import MEANINGS, JobState
from shared.contract.stream import Progress
from shared.contract.views import CheckpointView, ExportedFile, ExportView, JobView, Reason
from tests.support.status_facts import NOW, job, progressed

CHECKPOINT = CheckpointView(step=300, stepping_seconds=1, saved_at=NOW, prefix="p", map=0.4567)
EXPORT = ExportView(
    step=1000,
    prefix="jobs/m1/model",
    files=[
        ExportedFile(format="float32", name="float32.tflite", bytes=3, sha256="a"),
        ExportedFile(format="float16", name="float16.tflite", bytes=2, sha256="b"),
    ],
)


def progress(step: int = 1, attempt: int = 1) -> Progress:
    body = progressed(step=step).body
    assert isinstance(body, TrainingProgressed)
    return progress_of("m1", attempt, NOW, body)


@pytest.mark.parametrize(
    ("trigger", "view", "message"),
    [
        ("submit", job(), MEANINGS[JobState.QUEUED]),
        ("submit", job(reason=Reason(code="queue_full", message="The queue is full.")), "The queue is full."),
        ("assign", job(trainer="gpu-1", attempt=2), "Assigned to trainer gpu-1, attempt 2."),
        ("assign", job(), MEANINGS[JobState.QUEUED]),
        ("checkpointed", job(checkpoint=CHECKPOINT), "Checkpoint saved at step 300, mAP 0.457."),
        ("checkpointed", job(), MEANINGS[JobState.QUEUED]),
        ("exported", job(export=EXPORT), "Exported at step 1000: float32, float16."),
        ("noticed", job(notices=[Reason(code="a", message="A."), Reason(code="b", message="B.")]), "B."),
        ("requeued", job(notices=[Reason(code="nan_loss_retried", message="It goes on.")]), "It goes on."),
        (
            "refitted",
            job(notices=[Reason(code="refitted", message="It waits for a CPU trainer.")]),
            "It waits for a CPU trainer.",
        ),
        ("pause", job(notices=[Reason(code="lab_hours", message="The lab is closed.")]), "The lab is closed."),
        ("priority", job(priority=5), "An operator gave it the priority 5."),
    ],
)
def test_a_line_of_the_story(trigger: str, view: JobView, message: str) -> None:
    entry = history_entry("e1", NOW, JobChanged(job=view, trigger=trigger))
    assert (entry.message, entry.trigger, entry.state, entry.at) == (message, trigger, JobState.QUEUED, NOW)


def test_a_checkpoint_without_a_score() -> None:
    view = job(checkpoint=CheckpointView(step=5, stepping_seconds=1, saved_at=NOW, prefix="p"))
    assert history_entry("e", NOW, JobChanged(job=view, trigger="checkpointed")).message.endswith("step 5.")


@pytest.mark.parametrize("state", list(JobState))
def test_progress_is_shown_while_steps_are_made(state: JobState) -> None:
    stepping = state in {JobState.RUNNING, JobState.STOP_REQUESTED, JobState.STOPPING}
    assert shows_progress(state, 1, progress(attempt=1)) is stepping
    assert not shows_progress(state, 2, progress(attempt=1))


@pytest.mark.parametrize(
    ("known", "new", "better"),
    [
        (None, progress(), True),
        (progress(5), progress(6), True),
        (progress(5), progress(5), True),
        (progress(5), progress(4), False),
        (progress(5, attempt=1), progress(1, attempt=2), True),
        (progress(1, attempt=2), progress(5, attempt=1), False),
    ],
)
def test_progress_does_not_go_back(known: Progress | None, new: Progress, *, better: bool) -> None:
    assert advances(known, new) is better


@pytest.mark.parametrize(
    ("wanted", "name"), [("float32", "float32.tflite"), ("float16", "float16.tflite"), ("labels", "labels.txt")]
)
def test_the_file_of_a_format(wanted: str, name: str) -> None:
    chosen = choose_download(job(export=EXPORT), wanted)
    assert (chosen.prefix, chosen.name, chosen.format) == ("jobs/m1/model", name, wanted)


@pytest.mark.parametrize(("wanted", "words"), [("int8", "'int8'"), (None, "No format was named")])
def test_an_unknown_format_names_those_that_exist(wanted: str | None, words: str) -> None:
    with pytest.raises(UserError, match="float32, float16, labels") as caught:
        choose_download(job(export=EXPORT), wanted)
    assert words in caught.value.message
    assert (caught.value.code, caught.value.status, caught.value.field) == ("unknown_format", 400, "format")


def test_nothing_to_download() -> None:
    with pytest.raises(UserError, match="'Balls Model' has no exported model") as caught:
        choose_download(job(state=JobState.STOP_REQUESTED), "float32")
    assert (caught.value.code, caught.value.status) == ("no_export", 404)
    assert "STOP REQUESTED" in caught.value.message


@pytest.mark.parametrize(
    ("description", "plain", "typed"),
    [
        ("BallsModel", "BallsModel", "BallsModel"),
        ("Balls Model", "Balls-Model", "Balls%20Model"),
        ("Bälle – rot/blau", "Balle-rot-blau", "B%C3%A4lle%20%E2%80%93%20rot-blau"),
        ("赤い玉", "model", "%E8%B5%A4%E3%81%84%E7%8E%89"),
        ('a"b\r\nSet-Cookie: x', "a-b-Set-Cookie-x", "a-b-Set-Cookie-%20x"),
        ("../..", "model", "model"),
    ],
)
def test_the_name_of_a_download(description: str, plain: str, typed: str) -> None:
    header = disposition(description, choose_download(job(export=EXPORT), "float32"))
    assert header == (f"attachment; filename=\"{plain}-float32.tflite\"; filename*=UTF-8''{typed}-float32.tflite")


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        ({}, None),
        ({"epoch": "e", "seq": "0"}, 0),
        ({"epoch": "e", "seq": "7"}, 7),
        ({"epoch": "e", "seq": "8"}, None),
        ({"epoch": "other", "seq": "7"}, None),
        ({"epoch": "e"}, None),
        ({"epoch": "e", "seq": "-1"}, None),
        ({"epoch": "e", "seq": "٣"}, None),
        ({"epoch": "e", "seq": "9" * 5000}, None),
    ],
)
def test_where_a_client_may_go_on(asked: dict[str, str], after: int | None) -> None:
    assert resumable(asked, "e", 7) == after


def test_the_story_keeps_the_time_of_the_fact() -> None:
    assert history_entry("e", NOW + timedelta(1), JobChanged(job=job(), trigger="submit")).at == NOW + timedelta(1)
