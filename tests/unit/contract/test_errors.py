"""What errors carry to whoever shows them."""

from __future__ import annotations

import pytest

from shared.contract.errors import IllegalTransition, NotFound, Reject, Retry, Stale, TrainyardError, UserError


@pytest.mark.parametrize(
    "error", [Retry("later"), Reject("never"), Stale("old"), UserError("c", "m"), NotFound("job", "j")]
)
def test_all_are_of_one_family(error: Exception) -> None:
    assert isinstance(error, TrainyardError)


def test_a_rejection_carries_its_reason() -> None:
    assert Reject("no such team").reason == str(Reject("no such team")) == "no such team"


def test_a_user_s_error_has_a_code_a_sentence_and_a_field() -> None:
    details = {"highest": 8000}
    error = UserError(
        "too_many_steps", "steps must be at most 8000, not 9000.", "steps", details=details, retry_after=30
    )
    details["highest"] = 1
    assert (error.code, error.field, error.status, error.retry_after) == ("too_many_steps", "steps", 400, 30)
    assert error.message == str(error) == "steps must be at most 8000, not 9000."
    assert error.details == {"highest": 8000}
    assert UserError("c", "m").details == {}


def test_what_is_not_there_and_what_is_another_team_s_look_the_same() -> None:
    error = NotFound("dataset", "d'1")
    assert (error.status, error.code) == (404, "not_found")
    assert "dataset" in error.message
    assert "d'1" in error.message


def test_a_refused_command_names_the_state() -> None:
    error = IllegalTransition("SUCCEEDED", "time_up")
    assert (error.status, error.code, error.field) == (409, "illegal_transition", "state")
    assert error.message == "The job is SUCCEEDED: time up isn't possible in that state."
