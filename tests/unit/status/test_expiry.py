"""When a principal's token expires: what a long connection ends by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from shared.contract.errors import UserError
from shared.runtime.auth import mint, verify

SECRET = "a secret of at least 32 characters"


@pytest.mark.parametrize("lifetime", [None, timedelta(hours=1)])
def test_a_principal_knows_when_its_token_expires(lifetime: timedelta | None) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    token = mint(SECRET, team="demo", role="viewer", name="Ada", now=now, lifetime=lifetime)
    assert verify(SECRET, token).expires == (None if lifetime is None else now + lifetime)


@pytest.mark.parametrize("expires", [10**15, 10**30])
def test_a_time_beyond_the_calendar_is_no_good_token(expires: int) -> None:
    claims = {"team": "demo", "role": "viewer", "name": "Ada", "iat": 0, "exp": expires}
    with pytest.raises(UserError) as caught:
        verify(SECRET, jwt.encode(claims, SECRET, algorithm="HS256"))
    assert caught.value.status == 401
