"""Tokens for scripts and devices: what may be asked for, who sees which, and that the secret is made of what is kept."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from services.scheduler import keyring
from services.scheduler.keyring import Key
from shared.contract.api.tokens import TokenRequest
from shared.contract.errors import NotFound, UserError
from shared.runtime.auth import Principal, Role, TokenId, verify
from shared.runtime.roles import Standing

SECRET = "a secret of at least 32 characters"
NOW = datetime.now(UTC)


def person(role: Role = "member", name: str = "Bo") -> Principal:
    return Principal(team="demo", role=role, name=name)


def key(identifier: str = "t1", made_by: str = "Bo", days: int = 90, minutes_ago: int = 0, listed: int = 0) -> Key:
    asked = TokenRequest(name=identifier, days=days)
    at = NOW - timedelta(minutes=minutes_ago)
    made = keyring.made(asked, person(name=made_by), at, identifier=identifier, request=f"r-{identifier}")
    return msgspec.structs.replace(made, listed=listed)


def test_a_name_is_tidied_and_the_rest_has_defaults() -> None:
    assert keyring.wanted(TokenRequest(name="  my  robot "), person()) == TokenRequest(
        name="my robot", role="member", days=90
    )


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        (TokenRequest(name=" "), "name", ["'' has 0", "1 to 40"]),
        (TokenRequest(name="n" * 41), "name", ["has 41", "1 to 40"]),
        (TokenRequest(name="a\x07b"), "name", ["printable"]),
        (TokenRequest(name="a", days=0), "days", ["1 to 365", "0."]),
        (TokenRequest(name="a", days=366), "days", ["1 to 365", "366"]),
        (TokenRequest(name="a", role="mentor"), "role", ["your own role, which is member", "mentor"]),
    ],
)
def test_what_may_not_be_is_refused_with_field_value_and_limit(
    asked: TokenRequest, field: str, words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        keyring.wanted(asked, person())
    assert (caught.value.code, caught.value.field, caught.value.status) == (f"bad_{field}", field, 400)
    assert all(word in caught.value.message for word in words)


@pytest.mark.parametrize(("role", "days"), [("viewer", 1), ("member", 365)])
def test_the_limits_themselves_are_allowed(role: Role, days: int) -> None:
    asked = TokenRequest(name="n" * 40, role=role, days=days)  # type: ignore[arg-type]
    assert keyring.wanted(asked, person()) == asked
    mentors = TokenRequest(name="m", role="mentor")
    assert keyring.wanted(mentors, person("admin")) == mentors


def test_an_expired_one_is_not_live() -> None:
    keys = [key("t1", days=1, minutes_ago=24 * 60 + 1), key("t2", days=1, minutes_ago=24 * 60 - 1)]
    assert [one.id for one in keyring.live(keys, NOW)] == ["t2"]


def test_twenty_fit() -> None:
    keyring.with_room([key(f"t{number}") for number in range(19)], "demo")
    with pytest.raises(UserError) as caught:
        keyring.with_room([key(f"t{number}") for number in range(20)], "demo")
    assert (caught.value.code, caught.value.field, caught.value.status) == ("too_many_tokens", "tokens", 409)
    assert "demo has 20 live tokens and may have 20" in caught.value.message


def test_the_same_request_finds_what_it_made() -> None:
    keys = [key("t1"), key("t2")]
    assert keyring.made_before(keys, TokenRequest(name="t2"), "r-t2") == keys[1]
    assert keyring.made_before(keys, TokenRequest(name="t2"), "another") is None
    for other in (TokenRequest(name="x"), TokenRequest(name="t2", days=1), TokenRequest(name="t2", role="viewer")):
        with pytest.raises(UserError) as caught:
            keyring.made_before(keys, other, "r-t2")
        assert (caught.value.code, caught.value.status) == ("idempotency_key_reused", 422)


def test_a_member_sees_their_own_and_a_mentor_all_newest_first() -> None:
    keys = [key("t1", listed=1), key("t2", "Cy", listed=2), key("t3", listed=3)]
    assert [one.id for one in keyring.seen(keys, person())] == ["t3", "t1"]
    assert [one.id for one in keyring.seen(keys, person("viewer", "Cy"))] == ["t2"]
    for role in ("mentor", "admin"):
        assert [one.id for one in keyring.seen(keys, person(role, "Ada"))] == ["t3", "t2", "t1"]
    assert keyring.to_revoke(keys, "t3", person()).id == "t3"
    assert keyring.to_revoke(keys, "t2", person("mentor", "Ada")).id == "t2"
    for missing in ("t2", "t9"):
        with pytest.raises(NotFound):
            keyring.to_revoke(keys, missing, person())


def test_the_secret_names_its_maker_and_is_the_same_each_time() -> None:
    one = key(listed=7)
    made = keyring.secret(one, "demo", SECRET)
    assert made == keyring.secret(msgspec.convert(msgspec.to_builtins(one), Key), "demo", SECRET)
    assert verify(SECRET, made) == Principal(
        team="demo", role="member", name="Bo", expires=one.expires_at, token=TokenId(id="t1", listed=7)
    )


@pytest.mark.parametrize(
    ("standing", "present"),
    [
        (Standing(), "member"),
        (Standing(role="mentor"), "member"),
        (Standing(role="viewer"), "viewer"),
        (Standing(former=True), None),
    ],
)
def test_it_is_worth_what_its_maker_may_do_now(standing: Standing, present: str | None) -> None:
    shown = keyring.view(key(), "demo", standing, date(2026, 3, 14))
    assert (shown.role, shown.present_role, shown.last_used) == ("member", present, date(2026, 3, 14))
