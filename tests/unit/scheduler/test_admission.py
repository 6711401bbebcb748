"""Admission: which limit refuses a job, and when to try again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.scheduler.admission import Room, admit
from services.scheduler.plan import Needs
from tests.unit.scheduler.samples import NOW, after, trainer

LEASE = timedelta(seconds=25)
NEEDS = Needs(accelerator="cpu", memory_bytes=2_400_000_000)


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
        ({"balance_seconds": 599}, "not_enough_minutes", 3600, "needs 10 minutes; your team has 10.0 left"),
        ({"balance_seconds": 0, "earliest_refund": after(500)}, "not_enough_minutes", 500, "has 0 left"),
    ],
)
def test_a_refusal_says_which_limit_and_when(
    fields: dict[str, object], code: str, retry_after: int, words: str
) -> None:
    refused = admit(NEEDS, 600, room(**fields), NOW)
    assert refused is not None
    assert (refused.reason.code, refused.retry_after) == (code, retry_after)
    assert words in refused.reason.message


def test_a_job_may_queue_behind_busy_trainers() -> None:
    assert admit(NEEDS, 600, room(waiting=4, team_jobs=1), NOW) is None
