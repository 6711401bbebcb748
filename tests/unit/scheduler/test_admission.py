"""Admission: which limit refuses a job, and when to try again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.admission import Room, admit
from services.scheduler.plan import Needs
from tests.unit.scheduler.samples import NOW, after, trainer

LEASE = timedelta(seconds=25)
NEEDS = Needs(accelerator="cpu", memory_bytes=2_400_000_000)


def ends(of_team: bool) -> datetime:
    """When the first job has likely ended: the team's, or anybody's."""
    return after(500 if of_team else 70)


def room(**fields: object) -> Room:
    plain: dict[str, object] = {
        "trainers": [trainer()],
        "lease": LEASE,
        "waiting": 0,
        "max_waiting": 5,
        "team_jobs": 0,
        "max_team_jobs": 2,
        "balance_seconds": 600,
    }
    return Room(**{**plain, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "code", "retry_after", "words"),
    [
        ({"trainers": []}, "no_capacity", 60, "CPU trainer"),
        ({"trainers": [trainer(draining=True)]}, "no_capacity", 60, "No trainer that takes jobs"),
        ({"trainers": [trainer(drain_asked=True)]}, "no_capacity", 60, "No trainer that takes jobs"),
        ({"waiting": 5}, "queue_full", 300, "5 jobs"),
        ({"team_jobs": 2}, "team_limit", 300, "2 is the limit"),
        ({"waiting": 5, "next_end": ends}, "queue_full", 70, "5 jobs"),
        ({"team_jobs": 2, "next_end": ends}, "team_limit", 500, "2 is the limit"),
        ({"team_jobs": 2, "next_end": lambda _: NOW}, "team_limit", 60, "2 is the limit"),
        ({"balance_seconds": 599}, "not_enough_minutes", None, "needs 10 minutes; your team has 9.9 left"),
        ({"balance_seconds": 599, "team_jobs": 1}, "not_enough_minutes", 3600, "your team has 9.9 left"),
        ({"balance_seconds": 0, "team_jobs": 1, "next_end": ends}, "not_enough_minutes", 500, "has 0 left"),
    ],
)
def test_a_refusal_says_which_limit_and_when(
    fields: dict[str, object], code: str, retry_after: int | None, words: str
) -> None:
    refused = admit(NEEDS, 600, room(**fields), NOW)
    assert refused is not None
    assert (refused.reason.code, refused.retry_after) == (code, retry_after)
    assert words in refused.reason.message
    if code == "not_enough_minutes":
        # To wait helps only where a job of the team may give something back.
        assert refused.reason.remedy is not None
        assert ("gives minutes back" in refused.reason.remedy) == (retry_after is not None)


@pytest.mark.parametrize(
    ("listening", "fields", "retry_after"),
    [(-5, {}, 20), (-24.5, {}, 1), (-26, {}, None), (-5, {"drain_asked": True}, None), (-5, {"gone": True}, None)],
)
def test_a_trainer_that_had_no_time_yet_to_be_heard_again_is_not_said_to_be_missing(
    listening: float, fields: dict[str, object], retry_after: int | None
) -> None:
    silent = replace(trainer(seen_at=after(-3600)), **fields)
    refused = admit(NEEDS, 600, room(trainers=[silent], listening_since=after(listening)), NOW)
    assert refused is not None
    assert refused.reason.code == "no_capacity"
    said = "has been heard yet since Trainyard began to listen" in refused.reason.message
    assert (said, refused.retry_after) == ((True, retry_after) if retry_after else (False, 60))


@pytest.mark.parametrize(("need", "left", "words"), [(601, 599, "needs 10.1 minutes; your team has 9.9 left")])
def test_too_few_minutes_never_read_as_if_they_were_enough(need: int, left: int, words: str) -> None:
    refused = admit(NEEDS, need, room(balance_seconds=left), NOW)
    assert refused is not None
    assert words in refused.reason.message


def test_a_job_may_queue_behind_busy_trainers() -> None:
    assert admit(NEEDS, 600, room(waiting=4, team_jobs=1), NOW) is None
