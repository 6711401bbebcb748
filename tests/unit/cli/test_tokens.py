"""`trainyard tokens`: list, create, revoke."""

from __future__ import annotations

import json
from datetime import date

import msgspec
import pytest

from shared.contract.api.tokens import TokenView
from tests.support.answers import NOW
from tests.support.fake_platform import FakePlatform, bad_gateway
from tests.unit.cli.conftest import Questions, Run, in_json

SECRET = "header.claims.signature" * 10


def token(identifier: str, name: str, **changes: object) -> TokenView:
    made = TokenView(
        id=identifier, name=name, role="member", present_role="member", made_by="Bo", made_at=NOW, expires_at=NOW
    )
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def known(platform: FakePlatform) -> FakePlatform:
    """A platform with four tokens, two of one name."""
    for one in (
        token("aa11" * 8, "robot", last_used=date(2026, 3, 14)),
        token("aa22" * 8, "laptop", present_role="viewer"),
        token("bb33" * 8, "laptop", present_role=None),
        token("bb44" * 8, "bb33"),
    ):
        platform.tokens[one.id] = one
    return platform


def test_list(known: FakePlatform, run: Run) -> None:
    shown = run("tokens", "list").stdout
    for words in (
        "aa11aa11  robot",
        "2026-03-14",
        "not known",
        "member, held to viewer",
        "member, refused: not a member any more",
        "Your team has 4 live tokens, of at most 20.",
    ):
        assert words in shown
    assert in_json(run, "tokens", "list")["tokens"] == msgspec.to_builtins(list(known.tokens.values()))


def test_list_of_none(platform: FakePlatform, run: Run) -> None:
    shown = run("tokens", "list").stdout
    assert "Make one: trainyard tokens create NAME" in shown
    assert "0 live tokens, of at most 20" in shown


def test_create(platform: FakePlatform, run: Run) -> None:
    result = run("tokens", "create", "my robot", "--role", "viewer", "--days", "7")
    assert result.exit_code == 0, result.output
    assert json.loads(platform.asked[-1].body) == {"name": "my robot", "role": "viewer", "days": 7}
    # The secret alone is on standard output, on one line.
    assert result.stdout == SECRET + "\n"
    for words in (
        "my robot may do what a viewer may, for 7 days",
        "shown only now",
        "TRAINYARD_TOKEN",
        "tokens revoke",
    ):
        assert words in result.stderr
    assert SECRET not in result.stderr


def test_create_in_json_and_by_default(platform: FakePlatform, run: Run) -> None:
    document = in_json(run, "tokens", "create", "robot")
    assert (document["secret"], document["token"]["role"]) == (SECRET, "member")
    assert json.loads(platform.asked[-1].body) == {"name": "robot", "role": "member", "days": 90}


def test_an_answer_that_does_not_come_is_asked_for_again_with_the_same_key(platform: FakePlatform, run: Run) -> None:
    platform.instead["POST /api/team/tokens"] = [bad_gateway]
    assert run("tokens", "create", "robot").stdout == SECRET + "\n"
    keys = [asked.headers["Idempotency-Key"] for asked in platform.asked]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert len(platform.tokens) == 1


@pytest.mark.parametrize(
    ("given", "revoked"), [("robot", "aa11"), ("aa2", "aa22"), ("bb33", "bb44"), ("BB33b", "bb33")]
)
def test_revoke_by_name_or_id(known: FakePlatform, run: Run, given: str, revoked: str) -> None:
    assert in_json(run, "tokens", "revoke", given, "--yes") == {"revoked": revoked * 8}
    assert revoked * 8 not in known.tokens


def test_revoke_asks_first(known: FakePlatform, run: Run, questions: Questions) -> None:
    assert run("tokens", "revoke", "robot").stdout == "Revoked robot.\n"
    assert questions == [("Revoke robot, made by Bo?", True)]


@pytest.mark.parametrize(("given", "code"), [("laptop", "not_found"), ("aa", "ambiguous_id"), ("zz", "not_found")])
def test_revoke_what_is_not_one_token(known: FakePlatform, run: Run, given: str, code: str) -> None:
    result = run("tokens", "revoke", given, "--yes")
    assert (result.exit_code, code in result.stderr, len(known.tokens)) == (1, True, 4)
