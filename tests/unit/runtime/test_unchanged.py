"""Whether a client has already what a tag names."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from shared.runtime.web import unchanged

KEPT = {"Cache-Control": "private, no-cache"}


@pytest.mark.parametrize(
    ("sent", "known"),
    [(None, False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("a", False)],
)
def test_a_client_that_has_it_is_told_so_and_keeps_it_as_long(sent: str | None, known: bool) -> None:
    request = make_mocked_request("GET", "/", headers={} if sent is None else {"If-None-Match": sent})
    response = unchanged(request, "a", KEPT)
    if not known:
        assert response is None
        return
    assert response is not None
    assert (response.status, response.headers["ETag"], response.headers["Cache-Control"]) == (
        304,
        '"a"',
        "private, no-cache",
    )
