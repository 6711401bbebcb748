"""`trainyard admin`: tables, batches with an outcome each, jobs and trainers by the beginning of their id."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.contract.api.teams import Pause
from shared.contract.jobs import JobState
from tests.support.answers import NOW, held_job, job_view, queue_row, team_row, trainer_row
from tests.unit.cli.conftest import Questions, Run, in_json
from tests.unit.cli.operated import OperatedPlatform

WAITING, RUNNING, ELSEWHERE = "1" * 32, "2" * 32, "3" * 32


@pytest.fixture(autouse=True)
def with_jobs(operated: OperatedPlatform) -> None:
    operated.waiting = [queue_row(1, WAITING)]
    operated.trainers = [trainer_row("Lab-1", jobs=[held_job(RUNNING)]), trainer_row("Lab-2", jobs=[])]
    operated.jobs = {job_id: job_view(job_id) for job_id in (WAITING, RUNNING, ELSEWHERE)}


def sent(platform: OperatedPlatform) -> Any:
    return json.loads(platform.asked[-1].body)


def test_it_is_for_operators(run: Run) -> None:
    refused = run("admin", "queue")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == "error: This needs the role admin; you are mentor. [forbidden, role]\n"


def test_teams(operated: OperatedPlatform, operate: Run) -> None:
    assert "There are no teams yet." in operate("teams").stdout
    pause = Pause(by="ops", at=NOW, message="Over")
    operated.teams = [team_row("24601"), team_row("broke", pause=pause)]
    shown = operate("teams").stdout
    assert "24601" in shown
    assert "open" in shown
    assert "closed: Over" in shown
    assert "everybody" not in shown
    operated.pause = pause
    closed = operate("teams").stdout
    assert "For everybody: Training is closed (by ops): Over" in closed
    assert "open" not in closed
    assert [row["minutes"]["team"] for row in in_json(operate, "teams")["teams"]] == ["24601", "broke"]


def test_create(operated: OperatedPlatform, operate: Run) -> None:
    result = operate("create", "24601", "11115", "--minutes", "600")
    assert result.exit_code == 0
    assert sent(operated) == {"teams": ["24601", "11115"], "minutes": 600}
    assert "24601  created  600 min" in result.stdout
    assert "\n11115  token-of-11115\n" in result.stdout
    assert "shown only now" in result.stderr
    assert in_json(operate, "create", "1")["results"][0]["token"] == "token-of-1"
    assert sent(operated) == {"teams": ["1"], "minutes": None}


def test_some_fail_and_the_others_are_done(operated: OperatedPlatform, operate: Run) -> None:
    operated.strangers = {"lost"}
    for arguments in (("grant", "--minutes", "60"), ("create",), ("pause",), ("resume",)):
        result = operate(*arguments, "24601", "lost", "11115")
        assert result.exit_code == 1
        assert "There is no such team. [no_team]" in result.stdout
        assert result.stderr.endswith("1 team failed; 2 others are done.\n")
        assert in_json(operate, *arguments, "24601", "lost", exit_code=1)["failed"] == 1
    alone = operate("resume", "lost")
    assert (alone.exit_code, alone.stderr) == (1, "1 team failed.\n")


@pytest.mark.parametrize(
    ("options", "body", "words"),
    [
        (("--minutes", "60"), {"minutes": 60, "kind": "extra", "note": ""}, "granted 60 min"),
        (
            ("--minutes", "-1200", "--season", "--note", "Too many"),
            {"minutes": -1200, "kind": "season", "note": "Too many"},
            "took back 1,200 min",
        ),
    ],
)
def test_grant(
    operated: OperatedPlatform, operate: Run, options: tuple[str, ...], body: dict[str, object], words: str
) -> None:
    assert words in operate("grant", "24601", *options).stdout
    assert sent(operated) == {"teams": ["24601"], **body}
    assert operated.asked[-1].headers["Idempotency-Key"]


def test_pause_and_resume(operated: OperatedPlatform, operate: Run) -> None:
    result = operate("pause", "24601", "--until", "2h", "--message", "Finals")
    assert "24601  paused until" in result.stdout
    body = sent(operated)
    until = datetime.fromisoformat(body.pop("until"))
    assert timedelta(minutes=119) < until - datetime.now(UTC) <= timedelta(hours=2)
    assert body == {"teams": ["24601"], "paused": True, "message": "Finals"}
    assert "Training is closed for everybody until it is resumed." in operate("pause", "--all").stdout
    assert (sent(operated)["teams"], sent(operated)["until"]) == (None, None)
    assert "Training is open for everybody." in operate("resume", "--all").stdout
    assert sent(operated)["paused"] is False
    assert in_json(operate, "resume", "--all") == {"results": [], "failed": 0}
    assert "24601  resumed" in operate("resume", "24601").stdout


@pytest.mark.parametrize("arguments", [(), ("24601", "--all"), ("24601", "--until", "tomorrow")])
def test_a_pause_of_nobody_in_particular_is_wrong_usage(operate: Run, arguments: tuple[str, ...]) -> None:
    assert operate("pause", *arguments).exit_code == 2


def test_queue(operated: OperatedPlatform, operate: Run) -> None:
    operated.waiting = [
        queue_row(1, WAITING),
        queue_row(2, ELSEWHERE, team="24601", priority=-5, resumed=True, requires={"pool": "lab"}),
    ]
    shown = operate("queue").stdout
    assert "11111111" in shown
    assert "24601" in shown
    assert "-5" in shown
    assert "pool=lab GPU resumed" in shown
    assert [row["place"]["position"] for row in in_json(operate, "queue")["queue"]] == [1, 2]
    operated.waiting = []
    assert "Nothing waits." in operate("queue").stdout
    assert "reconcile" not in operate("queue").stdout
    operated.unspecified = [held_job("9" * 32, description="Odd one", state=JobState.STATE_UNSPECIFIED)]
    shown = operate("queue").stdout
    assert "trainyard admin reconcile" in shown
    assert "99999999" in shown
    assert "Odd one" in shown
    operated.for_room = [held_job("8" * 32, description="Later", state=JobState.TRY_AGAIN_LATER)]
    shown = operate("queue").stdout
    assert shown.index("queue by themselves") < shown.index("88888888") < shown.index("contradict themselves")
    operate("cancel", "888", "--reason", "Not today", "--yes")
    assert operated.asked[-1].path == f"/api/admin/jobs/{'8' * 32}/cancel"


@pytest.mark.parametrize(
    ("given", "meant"), [("111", WAITING), ("22", RUNNING), (ELSEWHERE, ELSEWHERE), (WAITING, WAITING)]
)
def test_a_job_of_any_team_by_the_beginning_of_its_id(
    operated: OperatedPlatform, operate: Run, given: str, meant: str
) -> None:
    assert operate("priority", given, "5").exit_code == 0
    assert operated.asked[-1].path == f"/api/admin/jobs/{meant}/priority"


def test_a_job_that_is_not_clear(operated: OperatedPlatform, operate: Run) -> None:
    operated.waiting.append(queue_row(2, "1" * 31 + "2"))
    assert "[ambiguous_id, job]" in operate("priority", "1", "5").stderr
    # It is neither waiting nor running: the server is to say what it is.
    assert "[not_found]" in operate("priority", "33", "5").stderr
    assert operated.asked[-1].path == "/api/admin/jobs/33/priority"


@pytest.mark.parametrize("priority", ["5", "-5", "0", "-100", "100"])
def test_priority(operated: OperatedPlatform, operate: Run, priority: str) -> None:
    result = operate("priority", WAITING, priority)
    assert result.exit_code == 0, result.output
    assert sent(operated) == {"priority": int(priority)}
    assert ("priority" in result.stdout) is (priority != "0")
    assert "Team demo, by tester" in result.stdout
    assert in_json(operate, "priority", WAITING, priority)["job"]["priority"] == int(priority)


@pytest.mark.parametrize("priority", ["101", "-101", "high", "--x"])
def test_a_priority_that_is_none(operate: Run, priority: str) -> None:
    assert operate("priority", WAITING, priority).exit_code == 2


def test_cancel(operated: OperatedPlatform, operate: Run, questions: Questions) -> None:
    result = operate("cancel", "22", "--reason", "It has no labels")
    assert result.exit_code == 0
    assert sent(operated) == {"reason": "It has no labels"}
    assert "CANCELED" in result.stdout
    assert "It has no labels" in result.stdout
    operate("cancel", ELSEWHERE, "--reason", "x")
    operate("cancel", ELSEWHERE, "--reason", "x", "--yes")
    assert [question for question, _ in questions] == [
        "End Balls and cubes (22222222) of team demo?",
        f"End the job {ELSEWHERE}?",
    ]
    assert operate("cancel", "22").exit_code == 2


@pytest.mark.parametrize("given", ["FAILED", "failed", "QUEUED"])
def test_reconcile(operated: OperatedPlatform, operate: Run, given: str) -> None:
    assert in_json(operate, "reconcile", ELSEWHERE, "--to", given)["job"]["state"] == given.upper()
    assert sent(operated) == {"state": given.upper()}
    assert operate("reconcile", ELSEWHERE, "--to", "SUCCEEDED").exit_code == 2


def test_trainers(operated: OperatedPlatform, operate: Run) -> None:
    operated.trainers += [
        trainer_row("mute", status="silent", jobs=[], utilization=None, memory_used_bytes=None, labels={}),
        trainer_row("past", status="gone", jobs=[], slots=1, accelerator="cpu"),
    ]
    shown = operate("trainers").stdout
    for words in (
        "Lab-1",
        "NVIDIA GeForce RTX 3090 (GPU)",
        "pool=lab",
        "1/2",
        "87%",
        "10.2/24.0 GB",
        "22222222 40% RUNNING",
        "demo: Balls and cubes",
        "idle",
        "silent",
        "gone",
        "since",
    ):
        assert words in shown
    assert len(in_json(operate, "trainers")["trainers"]) == 4
    operated.trainers = []
    assert "No trainer was heard of within a day." in operate("trainers").stdout


@pytest.mark.parametrize(
    ("given", "meant", "words"),
    [
        ("lab-1", "Lab-1", "the job it holds goes back with a checkpoint, then it ends"),
        ("LAB-2", "Lab-2", "it holds none, and ends"),
    ],
)
def test_drain(operated: OperatedPlatform, operate: Run, given: str, meant: str, words: str) -> None:
    result = operate("drain", given)
    assert operated.asked[-1].path == f"/api/trainers/{meant}/drain"
    assert f"{meant} is draining" in result.stdout
    assert words in " ".join(result.stdout.split())
    assert in_json(operate, "drain", given)["trainer"]["status"] == "draining"


def test_a_trainer_that_is_not_clear(operate: Run) -> None:
    assert "[ambiguous_id, trainer]" in operate("drain", "lab").stderr
    missing = operate("drain", "x")
    assert missing.exit_code == 1
    assert "No trainer's id begins with 'x'. See `trainyard admin trainers`. [not_found, trainer]" in missing.stderr


def test_capacity(operated: OperatedPlatform, operate: Run) -> None:
    shown = operate("capacity", "--hours", "1").stdout
    assert "Slots were busy 75% of the time; at most 3 jobs waited" in shown
    assert operated.asked[-1].query == {"hours": "1"}
    assert len(in_json(operate, "capacity")["points"]) == 60
    operated.capacity_minutes = 0
    assert "Nothing was measured in that time." in operate("capacity").stdout
    assert operate("capacity", "--hours", "721").exit_code == 2


def test_audit(operated: OperatedPlatform, operate: Run) -> None:
    shown = operate("audit").stdout
    for words in ("grant", "minutes=60", "done", "11111111", "illegal_transition"):
        assert words in shown
    assert WAITING not in shown
    assert "note=" not in shown
    assert len(in_json(operate, "audit", "--limit", "1")["entries"]) == 1
    assert operated.asked[-1].query == {"limit": "1"}
    operated.audit = []
    assert "Nobody did anything yet." in operate("audit").stdout


def test_what_is_made_once_is_asked_again_with_the_same_key(operated: OperatedPlatform, operate: Run) -> None:
    from tests.support.fake_platform import break_off

    for path, command in (("grants", ("grant", "24601", "--minutes", "5")), ("teams", ("create", "24601"))):
        operated.asked.clear()
        operated.instead[f"POST /api/admin/{path}"] = [break_off]
        assert operate(*command).exit_code == 0
        keys = [asked.headers["Idempotency-Key"] for asked in operated.asked]
        assert len(keys) == 2
        assert len(set(keys)) == 1


def test_words_of_others_cannot_steer_the_terminal(operated: OperatedPlatform, operate: Run) -> None:
    evil = "\x1b[2J[bold]x"
    operated.waiting = [queue_row(1, team=evil, description=evil, requires={evil: evil})]
    operated.trainers = [trainer_row(evil, device=evil, labels={evil: evil}, jobs=[held_job(team=evil)])]
    operated.teams = [team_row(evil, pause=Pause(by=evil, at=NOW, message=evil))]
    operated.audit = [msgspec.structs.replace(operated.audit[0], by=evil, act=evil, target=evil, details={evil: evil})]
    for command in ("queue", "trainers", "teams", "audit"):
        shown = operate(command).stdout
        assert "\x1b" not in shown
        assert "�[2J[bold]x" in shown
