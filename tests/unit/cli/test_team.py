"""`trainyard team`: minutes, statement, members, cap."""

from __future__ import annotations

import json
from datetime import timedelta

import msgspec
import pytest

from shared.contract.api.teams import Pause
from shared.contract.errors import UserError
from shared.runtime.auth import mint
from tests.support.answers import LEDGER_CSV, NOW, TEAM
from tests.support.fake_platform import SECRET, FakePlatform
from tests.unit.cli.conftest import Questions, Run, in_json


def test_team_shows_all_of_it(platform: FakePlatform, run: Run) -> None:
    shown = run("team").stdout
    for words in (
        "586 min",
        "-3:05",
        "60 minutes a member without a mentor's approval",
        "22222222  Balls and cubes  RUNNING    10:00",
        "tester  mentor",
        "Ada     viewer",
    ):
        assert words in shown
    assert "earlier line" not in shown
    assert "closed" not in shown
    assert in_json(run, "team") == msgspec.to_builtins(TEAM)


def test_a_team_without_anything(platform: FakePlatform, run: Run) -> None:
    platform.team = msgspec.structs.replace(TEAM, ledger=[], reservations=[], members=[], member_cap_minutes=None)
    shown = run("team").stdout
    assert "none: a member may use all that the team has" in shown
    assert not any(title in shown for title in ("Reserved by", "Members", "Statement"))
    assert "Nobody is on the list." in run("team", "members").stdout
    assert "nothing on the statement yet" in run("team", "ledger").stdout


def test_a_long_statement_and_a_pause(platform: FakePlatform, run: Run) -> None:
    pause = Pause(by="ops", at=NOW, until=NOW + timedelta(hours=2), message="Finals are on.")
    platform.team = msgspec.structs.replace(TEAM, ledger=TEAM.ledger * 8, pause=pause)
    shown = run("team").stdout
    assert "… 6 earlier lines, see trainyard team ledger" in shown
    assert "Training is closed until" in shown
    assert "(by ops): Finals are on." in shown
    assert run("team", "ledger").stdout.count("grant") == 8


def test_the_statement(platform: FakePlatform, run: Run) -> None:
    shown = run("team", "ledger").stdout
    assert "Left: 586 min" in shown
    assert "ops" in shown
    assert in_json(run, "team", "ledger")["balance_seconds"] == 35_215
    assert platform.asked[-1].query == {"format": "json"}
    assert run("team", "ledger", "--csv").stdout_bytes == LEDGER_CSV.encode()
    both = run("team", "ledger", "--csv", "--json")
    assert (both.exit_code, "not both" in both.stderr) == (2, True)


def test_members(run: Run) -> None:
    shown = run("team", "members").stdout
    assert "Ada     viewer" in shown
    assert "Cap: 60 minutes a member" in shown
    document = in_json(run, "team", "members")
    assert [member["name"] for member in document["members"]] == ["tester", "Ada"]
    assert document["member_cap_minutes"] == 60


@pytest.mark.parametrize(
    ("arguments", "role"),
    [
        (("Bo Li",), "member"),
        (("Bo Li", "--role", "mentor"), "mentor"),
        # Somebody who is known isn't made less by being given another token.
        (("tester",), "mentor"),
        (("tester", "--role", "viewer"), "viewer"),
    ],
)
def test_add(platform: FakePlatform, run: Run, arguments: tuple[str, ...], role: str) -> None:
    result = run("team", "add", *arguments)
    assert result.exit_code == 0, result.output
    asked = platform.asked[-1]
    assert (asked.method, asked.path) == ("PUT", f"/api/team/members/{arguments[0]}")
    assert json.loads(asked.body) == {"role": role}
    # Only the token is on standard output, on one line.
    assert result.stdout == "header.claims.signature" * 10 + "\n"
    assert f"{arguments[0]} is on the team, as a {role}." in result.stderr
    assert "shown only now" in result.stderr
    assert "TRAINYARD_TOKEN" in result.stderr


def test_add_in_json(run: Run) -> None:
    document = in_json(run, "team", "add", "Bo")
    assert (document["member"]["name"], document["days"]) == ("Bo", 365)


def test_remove(platform: FakePlatform, run: Run, questions: Questions) -> None:
    assert "Removed Ada." in run("team", "remove", "Ada").stdout
    assert questions == [("Remove Ada from the team?", True)]
    assert in_json(run, "team", "remove", "Ada", "--yes") == {"removed": "Ada"}
    assert platform.times("DELETE", "/api/team/members/Ada") == 2
    assert "[not_found]" in run("team", "remove", "Zoe", "--yes").stderr


@pytest.mark.parametrize(("given", "sent"), [("90", 90), ("0", 0), ("none", None), ("None", None)])
def test_cap(platform: FakePlatform, run: Run, given: str, sent: int | None) -> None:
    assert run("team", "cap", given).stdout.startswith("Cap: ")
    assert json.loads(platform.asked[-1].body) == {"member_cap_minutes": sent}
    assert in_json(run, "team", "cap", given)["member_cap_minutes"] == sent


@pytest.mark.parametrize("given", ["x", "-5", "1.5", "²"])
def test_a_cap_that_is_none(run: Run, given: str) -> None:
    assert run("team", "cap", "--", given).exit_code == 2


def test_what_only_mentors_may(platform: FakePlatform, run: Run) -> None:
    member = mint(SECRET, team="demo", role="member", name="Ada", now=NOW, lifetime=None)
    for arguments in (("add", "Bo"), ("cap", "5")):
        refused = run("--token", member, "team", *arguments)
        assert refused.exit_code == 1
        assert "This needs the role mentor; you are member. [forbidden, role]" in refused.stderr


def test_a_statement_that_breaks_off(platform: FakePlatform, run: Run) -> None:
    async def refuse(_: object) -> object:
        raise UserError("unavailable", "Part of Trainyard can't be reached just now.", status=503)

    platform.instead["GET /api/team/ledger"] = [refuse]  # type: ignore[list-item]
    result = run("team", "ledger", "--csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "[unavailable]" in result.stderr
