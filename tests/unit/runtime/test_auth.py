"""Bearer tokens: what is let in, and every way not to be."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import get_args

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.errors import UserError
from shared.runtime.auth import Principal, Role, TokenId, in_person, mint, require, verify

SECRET = "a-secret-of-more-than-32-characters"
OTHER = "another-secret-of-more-than-32-characters"
PAST = datetime(2026, 1, 1, tzinfo=UTC)
CLAIMS = {"team": "demo", "role": "member", "name": "Ada", "iat": PAST}


def refused(token: str) -> UserError:
    with pytest.raises(UserError) as error:
        verify(SECRET, token)
    assert (error.value.status, error.value.code) == (401, "unauthorized")
    return error.value


@pytest.mark.parametrize("role", get_args(Role))
def test_a_token_names_who_speaks(role: Role) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    token = mint(SECRET, team="demo", role=role, name="Ada", now=now, lifetime=timedelta(hours=1))
    assert verify(SECRET, token) == Principal(team="demo", role=role, name="Ada", expires=now + timedelta(hours=1))


def test_a_token_without_a_lifetime_does_not_expire() -> None:
    token = mint(SECRET, team="demo", role="admin", name="Ada", now=PAST, lifetime=None)
    assert verify(SECRET, token) == Principal(team="demo", role="admin", name="Ada", expires=None)


def test_an_expired_token_says_so() -> None:
    token = mint(SECRET, team="demo", role="admin", name="Ada", now=PAST, lifetime=timedelta(hours=1))
    assert refused(token).message == "The token has expired. Ask your mentor for a new one."


def test_another_installation_s_token_is_refused() -> None:
    refused(mint(OTHER, team="demo", role="admin", name="Ada", now=PAST, lifetime=None))


def test_an_unsigned_token_is_refused() -> None:
    head, body = ({"alg": "none", "typ": "JWT"}, {**CLAIMS, "iat": PAST.timestamp()})
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, body)]
    refused(".".join([*parts, ""]))
    refused(jwt.encode(CLAIMS, None, algorithm="none"))


def test_only_the_algorithm_that_we_sign_with_is_taken() -> None:
    refused(jwt.encode(CLAIMS, SECRET * 2, algorithm="HS512"))
    refused(jwt.encode(CLAIMS, SECRET * 2, algorithm="HS384"))


@pytest.mark.parametrize("claim", ["team", "role", "name", "iat"])
def test_a_token_lacks_nothing(claim: str) -> None:
    refused(jwt.encode({key: value for key, value in CLAIMS.items() if key != claim}, SECRET, algorithm="HS256"))


@pytest.mark.parametrize("claims", [{"role": "owner"}, {"team": 7}, {"name": ["Ada"]}, {"role": None}])
def test_claims_are_what_they_should_be(claims: dict[str, object]) -> None:
    refused(jwt.encode({**CLAIMS, **claims}, SECRET, algorithm="HS256"))


def test_a_changed_token_is_refused() -> None:
    head, body, seal = mint(SECRET, team="demo", role="viewer", name="Ada", now=PAST, lifetime=None).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "role": "admin"}).encode()).rstrip(b"=").decode()
    refused(".".join([head, forged, seal]))


@given(st.text(max_size=60) | st.just("a\udcff.b.c"))
def test_no_text_does_worse_than_be_refused(token: str) -> None:
    refused(token)


def test_a_token_that_can_be_revoked_has_an_id_and_is_the_same_each_time_it_is_made() -> None:
    def made(token: TokenId | None) -> str:
        lifetime = timedelta(days=36_500)
        return mint(SECRET, team="demo", role="member", name="Ada", now=PAST, lifetime=lifetime, token=token)

    one = TokenId(id="t1", listed=3)
    assert verify(SECRET, made(one)).token == one
    assert verify(SECRET, made(None)).token is None
    assert made(one) == made(one) != made(TokenId(id="t1", listed=4))


@pytest.mark.parametrize("claims", [{"jti": "t1"}, {"jti": "t1", "listed": "3"}, {"jti": 7, "listed": 3}])
def test_an_id_says_with_which_list_it_came(claims: dict[str, object]) -> None:
    refused(jwt.encode({**CLAIMS, **claims}, SECRET, algorithm="HS256"))


def test_a_script_s_token_is_no_person() -> None:
    in_person(Principal(team="demo", role="member", name="Ada"))
    with pytest.raises(UserError) as error:
        in_person(Principal(team="demo", role="mentor", name="Ada", token=TokenId(id="t1", listed=3)))
    assert (error.value.status, error.value.code, error.value.field) == (403, "forbidden", "token")


def test_a_role_includes_those_before_it() -> None:
    roles: list[Role] = ["viewer", "member", "mentor", "admin", "service"]
    assert tuple(roles) == get_args(Role)
    for rank, role in enumerate(roles):
        person = Principal(team="demo", role=role, name="Ada")
        assert [needed for needed in roles if person.may(needed)] == roles[: rank + 1]


def test_a_missing_role_is_named() -> None:
    require(Principal(team="demo", role="mentor", name="Ada"), "member")
    with pytest.raises(UserError) as error:
        require(Principal(team="demo", role="viewer", name="Ada"), "member")
    assert (error.value.status, error.value.code, error.value.field) == (403, "forbidden", "role")
    assert error.value.message == "This needs the role member; you are viewer."
