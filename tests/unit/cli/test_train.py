"""The plan and what is asked for: `train` and `more`; how the job is then watched has test_watch.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.contract.jobs import JobState
from shared.contract.views import Reason
from tests.support.answers import PLAN, dataset_view, finished_job, job_view, place
from tests.support.fake_platform import FakePlatform
from tests.unit.cli.conftest import Questions, Run, in_json

PARENT, DATASET = "a" * 32, "d" * 32
TRAIN = ("train", "-d", "d", "--description", "Balls", "--no-watch")
REFUSAL = {"code": "team_limit", "message": "Your team has 5 jobs.", "remedy": "Wait until one ends."}
APPROVAL = {"code": "needs_approval", "message": "The job needs 90 minutes.", "remedy": "Ask a mentor."}


@pytest.fixture(autouse=True)
def with_model(platform: FakePlatform) -> None:
    platform.datasets = {DATASET: dataset_view()}
    platform.jobs = {PARENT: finished_job(PARENT, description="First", previous_steps=1000)}


def bodies(platform: FakePlatform, path: str) -> list[dict[str, Any]]:
    return [json.loads(asked.body) for asked in platform.asked if asked.path == path and asked.method == "POST"]


def test_wishes_go_into_the_plan_and_the_job(platform: FakePlatform, run: Run) -> None:
    result = run(*TRAIN, "--when-room", "--max-minutes", "5", "--require", "pool=lab", "--require", "gpu = a100")
    assert result.exit_code == 0, result.output
    wished = {"dataset_ids": [DATASET], "max_minutes": 5, "requires": {"pool": "lab", "gpu": "a100"}}
    assert bodies(platform, "/api/plans") == [wished]
    assert bodies(platform, "/api/jobs") == [
        {**wished, "description": "Balls", "starting_model": PLAN["starting_model"], "steps": 300, "when_room": True}
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("pool",), "'pool' is not KEY=VALUE"),
        (("pool=",), "'pool=' is not KEY=VALUE"),
        (("=lab",), "'=lab' is not KEY=VALUE"),
        (("pool=lab", "pool=field"), "pool can't be both lab and field"),
    ],
)
def test_labels_that_cannot_be(run: Run, given: tuple[str, ...], told: str) -> None:
    result = run(*TRAIN, *(part for pair in given for part in ("--require", pair)))
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())


def test_the_plan_says_when(platform: FakePlatform, run: Run) -> None:
    platform.plan = {**PLAN, "place": place(3)}
    shown = run(*TRAIN).stdout
    assert "Queue       3rd in line" in shown
    assert "Not now" not in shown
    assert in_json(run, *TRAIN)["plan"]["place"]["position"] == 3


@pytest.mark.parametrize(
    ("refusal", "retry_after", "options", "told", "question", "default"),
    [
        (REFUSAL, 300, (), "or give --when-room: it then queues by itself", "Submit it all the same?", False),
        (REFUSAL, None, (), "try again once that has changed", "Submit it all the same?", False),
        (REFUSAL, 300, ("--when-room",), "it queues by itself once it may", "to queue by itself later?", True),
        (APPROVAL, None, (), "it queues once a mentor approves it", "for a mentor to approve?", True),
    ],
)
def test_a_refusal_is_told_before_it_happens(
    platform: FakePlatform,
    run: Run,
    questions: Questions,
    refusal: dict[str, str],
    retry_after: int | None,
    options: tuple[str, ...],
    told: str,
    question: str,
    default: bool,
) -> None:
    platform.plan = {**PLAN, "refusal": refusal, "retry_after_seconds": retry_after}
    result = run(*TRAIN, *options)
    assert f"Not now     {refusal['message']} {refusal['remedy']}" in result.stdout
    assert told in result.stdout
    ((asked, meant),) = questions
    assert question in asked
    assert meant is default
    assert len(bodies(platform, "/api/jobs")) == default
    assert result.exit_code == (0 if default else 1)


def test_a_person_is_asked_once(run: Run, questions: Questions) -> None:
    assert run(*TRAIN).exit_code == 0
    assert run(*TRAIN, "--yes").exit_code == 0
    assert questions == [("Start the training?", True)]


def test_more(platform: FakePlatform, run: Run) -> None:
    result = run("more", "aaa", "--description", "Second", "--no-watch", "--when-room", "--require", "pool=lab")
    assert result.exit_code == 0, result.output
    assert "From        First (aaaaaaaa), after 1,300 steps" in result.stdout
    assert "Watch it: trainyard watch" in result.stdout
    assert bodies(platform, "/api/plans") == [{"parent_id": PARENT, "requires": {"pool": "lab"}}]
    path = f"/api/jobs/{PARENT}/more"
    assert bodies(platform, path) == [
        {"description": "Second", "steps": 300, "requires": {"pool": "lab"}, "when_room": True}
    ]
    assert platform.asked[-1].headers["Idempotency-Key"]


def test_more_with_other_pictures(platform: FakePlatform, run: Run) -> None:
    options = ("--description", "Second", "--dataset", "dd", "--epochs", "40", "--max-minutes", "9")
    document = in_json(run, "more", "a", *options)
    assert set(document) == {"plan", "job"}
    assert document["job"]["parent_id"] == PARENT
    assert [plan.get("steps") for plan in bodies(platform, "/api/plans")] == [None, 600]
    (asked,) = bodies(platform, f"/api/jobs/{PARENT}/more")
    assert (asked["dataset_ids"], asked["max_minutes"]) == ([DATASET], 9)


def test_more_is_watched_like_any(platform: FakePlatform, run: Run) -> None:
    platform.on_submit = lambda job: finished_job(job.id, parent_id=job.parent_id)
    result = run("more", "a", "--description", "Second")
    assert result.exit_code == 0
    assert "SUCCEEDED" in result.stdout
    platform.on_submit = lambda job: job_view(job.id, state=JobState.TRY_AGAIN_LATER, reason=Reason(**REFUSAL))
    again = run("more", "a", "--description", "Third", "--json", "--watch")
    assert again.exit_code == 5
    assert [json.loads(line)["kind"] for line in again.stdout.splitlines()] == ["submitted", "model", "ended"]


def test_more_of_nothing(run: Run) -> None:
    missing = run("more", "f", "--description", "Second")
    assert (missing.exit_code, "There is no job 'f'" in missing.stderr) == (1, True)
    both = run("more", "a", "--description", "Second", "--steps", "1", "--epochs", "1")
    assert both.exit_code == 2
