"""Commands about jobs that exist: trying again, approving, reading the log, all the details."""

from __future__ import annotations

import json

import msgspec
import pytest

from shared.contract.api.jobs import JobLog
from shared.contract.jobs import JobState
from shared.contract.views import AttemptView, Reason
from tests.support.answers import LOG, NOW, finished_job, job_view
from tests.support.fake_platform import FakePlatform
from tests.unit.cli.conftest import Run, in_json

JOB = "1" * 32
BUSY = Reason(code="team_limit", message="Your team has 5 jobs.", remedy="Wait until one ends.")


@pytest.mark.parametrize(
    ("before", "options", "sent"),
    [
        (False, (), False),
        (True, (), True),
        (False, ("--when-room",), True),
        (True, ("--no-when-room",), False),
    ],
)
def test_a_retry_keeps_what_was_said_of_room(
    platform: FakePlatform, run: Run, before: bool, options: tuple[str, ...], sent: bool
) -> None:
    platform.jobs = {JOB: job_view(state=JobState.TRY_AGAIN_LATER, reason=BUSY, retry_after=NOW, when_room=before)}
    result = run("retry", "11", *options)
    assert json.loads(platform.asked[-1].body) == {"when_room": sent}
    assert result.exit_code == 5
    assert "Your team has 5 jobs. Wait until one ends." in result.stdout
    assert "Try again   after" in result.stdout
    assert ("queues by itself once it may" in result.stdout) is sent
    assert ("trainyard retry 11111111 --no-when-room" in result.stdout) is sent
    assert ("trainyard retry 11111111 --when-room" in result.stdout) is not sent


def test_a_retry_that_queues(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view()}
    result = run("retry", JOB)
    assert result.exit_code == 0
    assert "QUEUED" in result.stdout
    assert "Watch it: trainyard watch 11111111" in result.stdout
    assert in_json(run, "retry", JOB)["job"]["id"] == JOB


def test_approve(platform: FakePlatform, run: Run) -> None:
    reason = Reason(code="needs_approval", message="The job needs 90 minutes.", remedy="Ask a mentor.")
    platform.jobs = {JOB: job_view(state=JobState.TRY_AGAIN_LATER, reason=reason)}
    waiting = run("watch", JOB)
    assert waiting.exit_code == 5
    assert "a mentor: trainyard approve 11111111" in waiting.stdout
    assert "trainyard retry" not in waiting.stdout
    platform.jobs = {JOB: job_view()}
    assert in_json(run, "approve", "1")["job"]["approved_by"] == "tester"
    assert platform.asked[-1].body == b""


@pytest.mark.parametrize(
    ("when_room", "told"),
    [(True, "it queues by itself once it may; nobody needs to do anything"), (False, "trainyard retry 11111111\n")],
)
def test_watching_a_job_that_has_to_try_again(platform: FakePlatform, run: Run, when_room: bool, told: str) -> None:
    platform.jobs = {JOB: job_view(state=JobState.TRY_AGAIN_LATER, reason=BUSY, retry_after=NOW, when_room=when_room)}
    result = run("watch", JOB)
    assert result.exit_code == 5
    lines = "\n".join(line.rstrip() for line in result.stdout.splitlines()) + "\n"
    assert "Your team has 5 jobs. Wait until one ends." in lines
    assert f"Next        {told}" in lines


def test_the_log_is_its_lines(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: finished_job()}
    result = run("log", "1")
    assert result.stdout == "".join(f"{line}\n" for line in LOG.lines)
    assert result.stderr == "— attempt 2, 2 lines: The disk is full. Tell whoever runs the trainers.\n"
    assert in_json(run, "log", "1") == msgspec.to_builtins(LOG)


def test_a_log_without_lines(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view()}
    platform.log = JobLog(lines=[], attempt=0, reason=None)
    result = run("log", "1")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("There are no lines: no attempt of this job has ended")


def test_show_tells_what_is_not_as_usual(platform: FakePlatform, run: Run) -> None:
    failed = AttemptView(
        number=1, trainer="lab-1", assigned_at=NOW, ended_at=NOW, outcome="failed",
        reason=Reason(code="diverged", message="The loss became infinite.", remedy="Half the rate is tried."),
    )  # fmt: skip
    job = finished_job(
        priority=5,
        requires={"pool": "lab", "gpu": "a100"},
        parent_id="a" * 32,
        parent_description="First",
        previous_steps=3000,
        learning_rate_scale=0.5,
        log_lines=120,
        approved_by="Ms. Ochoa",
        attempts=[failed],
        notices=[Reason(code="n", message="It was started again.")],
    )
    platform.jobs = {JOB: job}
    shown = run("show", JOB).stdout
    for words in (
        "First (aaaaaaaa)",
        "300 of 300, 3,300 in all",
        "+5, set by an operator",
        "a trainer labelled gpu=a100, pool=lab",
        "by Ms. Ochoa",
        "learning rate at 50% of the usual",
        "120 lines: trainyard log 11111111",
        "1: The loss became infinite. Half the rate is tried.",
        "It was started again.",
    ):
        assert words in shown
    assert in_json(run, "show", JOB)["model"]["requires"] == {"pool": "lab", "gpu": "a100"}
    platform.jobs = {JOB: finished_job()}
    usual = run("show", JOB).stdout
    assert not any(word in usual for word in ("From", "in all", "Priority", "Requires", "Approved", "Rate", "Log"))


def test_show_says_how_to_try_again(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view(state=JobState.TRY_AGAIN_LATER, reason=BUSY, retry_after=NOW)}
    shown = run("show", JOB).stdout
    assert "Your team has 5 jobs. Wait until one ends." in shown
    assert "trainyard retry 11111111" in shown
