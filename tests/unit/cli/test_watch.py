"""`watch` and `train`: from the plan to the exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from shared.contract.jobs import JobState
from shared.contract.stream import MetricsAdded, ModelGone, ModelPut, QueuePut
from shared.contract.views import JobView, QueuePlace, Reason
from shared.runtime.web import answer
from tests.support.answers import NOW, finished_job, job_view, point_at, progress_at
from tests.support.fake_platform import FakePlatform
from tests.unit.cli.conftest import Run

JOB = "1" * 32
DATASET = "d" * 32


def meanwhile(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def life(platform: FakePlatform, end: JobView) -> Callable[[], None]:
    """What happens to the job while it is watched."""

    def happen() -> None:
        platform.wait_connected()
        job_id = end.id
        running = job_view(job_id, version=3, state=JobState.RUNNING, attempt=1)
        platform.publish(QueuePut(seq=0, places=[QueuePlace(job_id=job_id, position=1)]))
        platform.publish(ModelPut(seq=0, model=running), progress=progress_at(20, job_id))
        platform.publish(MetricsAdded(seq=0, point=point_at(100, job_id)))
        platform.publish(ModelPut(seq=0, model=end))

    return happen


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_line_per_change_where_there_is_no_terminal(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view()}
    thread = meanwhile(life(platform, finished_job()))
    result = run("watch", "1111")
    thread.join()
    assert result.exit_code == 0
    told = [line[10:] for line in result.stdout.splitlines() if line[:1].isdigit()]
    assert told == [
        "QUEUED: Waiting for resources.",
        "next in line",
        "RUNNING: Training steps are being made.",
        "step 20/300 · 1.50 steps/s · loss 0.75 · cls 0.5 · loc 0.25",
        "checkpoint at step 100 · mAP 0.400 · mAP@.50IOU 0.400",
        "SUCCEEDED: All requested steps are done. Check the metrics.",
    ]
    assert "3:05 of at most 10:00 · 6:55 came back" in result.stdout
    assert "best: step 200 (0.430)" in result.stdout
    assert "trainyard download 11111111" in result.stdout


def test_json_is_an_object_a_line(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view()}
    thread = meanwhile(life(platform, finished_job()))
    result = run("watch", JOB, "--json")
    thread.join()
    told = lines(result.stdout)
    assert [line["kind"] for line in told] == ["model", "queue", "model", "progress", "metrics", "model", "ended"]
    assert told[-1]["state"] == "SUCCEEDED"
    assert told[-1]["exit_code"] == 0
    assert msgspec.convert(told[-1]["model"], JobView) == finished_job()
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("state", "status"),
    [(JobState.STOPPED, 0), (JobState.FAILED, 3), (JobState.CANCELED, 4), (JobState.TRY_AGAIN_LATER, 5)],
)
def test_the_exit_status_says_how_it_ended(platform: FakePlatform, run: Run, state: JobState, status: int) -> None:
    reason = Reason(code="x", message="The pictures ran out.", remedy="Add some.")
    platform.jobs = {JOB: finished_job(state=state, reason=reason, retry_after=NOW)}
    result = run("watch", "1")
    assert result.exit_code == status
    assert "The pictures ran out. Add some." in result.stdout
    assert platform.connected == []


def test_metrics_of_earlier_checkpoints_are_there_from_the_start(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view(state=JobState.RUNNING)}
    platform.points = {JOB: [point_at(100), point_at(200)]}
    thread = meanwhile(life(platform, finished_job()))
    told = lines(run("watch", JOB, "--json").stdout)
    thread.join()
    assert [line["point"]["step"] for line in told if line["kind"] == "metrics"] == [100, 200]


def test_a_watch_goes_on_without_the_metrics_that_can_t_be_had(platform: FakePlatform, run: Run) -> None:
    running = job_view(state=JobState.RUNNING)

    async def there(_: web.Request) -> web.Response:
        return answer({"model": running, "progress": None, "metrics": []})

    async def away(_: web.Request) -> web.Response:
        return web.json_response({"error": {"code": "store_unreachable", "message": "The store is away."}}, status=500)

    platform.jobs = {JOB: running}
    platform.points = {JOB: [point_at(50)]}
    platform.instead[f"GET /api/models/{JOB}"] = [there, *[away] * 20]
    thread = meanwhile(life(platform, finished_job()))
    result = run("watch", JOB, "--json")
    thread.join()
    told = lines(result.stdout)
    assert platform.times("GET", f"/api/models/{JOB}") > 1
    assert (result.exit_code, told[-1]["kind"]) == (0, "ended")
    # What the stream tells is there all the same.
    assert [line["point"]["step"] for line in told if line["kind"] == "metrics"] == [100]


def test_trouble_with_the_line_is_told_and_nothing_is_missed(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view()}

    def trouble() -> None:
        platform.wait_connected()
        platform.hang_up()
        platform.wait_connected(2)
        life(platform, finished_job())()

    thread = meanwhile(trouble)
    told = [line["kind"] for line in lines(run("watch", JOB, "--json").stdout)]
    thread.join()
    assert told[:3] == ["model", "offline", "online"]
    assert told[-1] == "ended"


def test_the_same_in_words(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view()}

    def trouble() -> None:
        platform.wait_connected()
        platform.hang_up()
        platform.wait_connected(2)
        platform.publish(ModelPut(seq=0, model=finished_job()))

    thread = meanwhile(trouble)
    result = run("watch", JOB)
    thread.join()
    assert "no connection (the connection broke); trying again" in result.stdout
    assert "connected again" in result.stdout


@pytest.mark.parametrize("while_away", [False, True])
def test_a_job_that_is_deleted_ends_the_watching(platform: FakePlatform, run: Run, while_away: bool) -> None:
    platform.jobs = {JOB: job_view(), "2" * 32: job_view("2" * 32)}

    def delete() -> None:
        platform.wait_connected()
        if while_away:
            del platform.jobs[JOB]
            platform.epoch = "e2"
            platform.hang_up()
        else:
            platform.publish(ModelGone(seq=0, model_id=JOB))

    thread = meanwhile(delete)
    result = run("watch", JOB)
    thread.join()
    assert result.exit_code == 1
    assert "was deleted. [deleted, job]" in result.stderr


def test_ctrl_c_leaves_the_job(platform: FakePlatform, tmp_path: object) -> None:
    platform.jobs = {JOB: job_view()}
    environment = {**os.environ, "TRAINYARD_URL": platform.url, "TRAINYARD_TOKEN": platform.token}
    command = [sys.executable, "-m", "services.cli", "watch", "1111"]
    watching = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    platform.wait_connected()
    assert watching.stdout is not None
    assert "QUEUED" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=10)
    assert watching.returncode == 130
    assert "The job goes on" in told
    assert "Traceback" not in told
    assert not platform.times("POST", f"/api/jobs/{JOB}/stop")


@pytest.fixture
def with_dataset(platform: FakePlatform) -> None:
    from tests.support.answers import dataset_view

    platform.datasets = {DATASET: dataset_view()}


@pytest.mark.usefixtures("with_dataset")
def test_train_shows_the_plan_submits_and_watches(platform: FakePlatform, run: Run) -> None:
    def happen() -> None:
        platform.wait_connected()
        (job,) = platform.jobs.values()
        life(platform, finished_job(job.id))()

    thread = meanwhile(happen)
    result = run("train", "--dataset", "dddd", "--description", "Balls", "--steps", "300")
    thread.join()
    assert result.exit_code == 0, result.output
    assert "Your selected datasets contain 120 training images." in result.stdout
    assert "300 = 20 epochs of 15 steps (recommended: 1,500)" in result.stdout
    assert "SUCCEEDED" in result.stdout
    (submitted,) = (json.loads(asked.body) for asked in platform.asked if asked.path == "/api/jobs")
    assert submitted == {
        "dataset_ids": [DATASET],
        "description": "Balls",
        "starting_model": "ssd_mobilenet_v2_320x320",
        "steps": 300,
    }


@pytest.mark.usefixtures("with_dataset")
def test_train_json_is_one_document(platform: FakePlatform, run: Run) -> None:
    result = run("train", "-d", DATASET, "--description", "Balls", "--max-minutes", "5", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert set(document) == {"plan", "job"}
    assert document["job"]["state"] == "QUEUED"
    assert json.loads(platform.asked[-1].body)["max_minutes"] == 5
    assert platform.connected == []


@pytest.mark.usefixtures("with_dataset")
def test_train_json_can_be_watched(platform: FakePlatform, run: Run) -> None:
    platform.on_submit = lambda job: finished_job(job.id)
    result = run("train", "-d", DATASET, "--description", "Balls", "--json", "--watch")
    told = lines(result.stdout)
    assert [line["kind"] for line in told] == ["submitted", "model", "ended"]


@pytest.mark.usefixtures("with_dataset")
def test_try_again_later_says_why_and_when(platform: FakePlatform, run: Run) -> None:
    reason = Reason(code="queue_full", message="Your team has 5 jobs waiting.")
    platform.on_submit = lambda job: msgspec.structs.replace(
        job, state=JobState.TRY_AGAIN_LATER, reason=reason, retry_after=NOW
    )
    result = run("train", "-d", DATASET, "--description", "Balls", "--no-watch")
    assert result.exit_code == 5
    assert "Your team has 5 jobs waiting." in result.stdout
    assert "Try again" in result.stdout


@pytest.mark.usefixtures("with_dataset")
def test_epochs_are_steps(platform: FakePlatform, run: Run) -> None:
    run("train", "-d", DATASET, "--description", "Balls", "--epochs", "40", "--no-watch")
    plans = [json.loads(asked.body) for asked in platform.asked if asked.path == "/api/plans"]
    assert [plan.get("steps") for plan in plans] == [None, 600]
    both = run("train", "-d", DATASET, "--description", "Balls", "--epochs", "40", "--steps", "600")
    assert both.exit_code == 2
    assert "not both" in both.stderr


@pytest.mark.usefixtures("with_dataset")
def test_a_job_that_the_status_service_has_not_heard_of_yet_is_watched(platform: FakePlatform, run: Run) -> None:
    def happen() -> None:
        platform.wait_connected()
        job_id = next(iter(made))
        platform.publish(ModelPut(seq=0, model=finished_job(job_id)))

    made: list[str] = []

    def submit(job: JobView) -> JobView:
        made.append(job.id)
        return job

    platform.on_submit = submit
    original = platform.jobs
    platform.jobs = Forgetful(original)
    thread = meanwhile(happen)
    result = run("train", "-d", DATASET, "--description", "Balls")
    thread.join()
    assert result.exit_code == 0, result.output
    assert "SUCCEEDED" in result.stdout


class Forgetful(dict[str, JobView]):
    """Keeps nothing: the status service, a moment after the scheduler's answer."""

    def __setitem__(self, key: str, value: JobView) -> None:
        pass
