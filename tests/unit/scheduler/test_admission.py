"""Admission: each limit has its code, a sentence with the figures, and a time after which another try makes sense."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.scheduler.admission import Room, admit
from services.scheduler.board import needs_of
from services.scheduler.plan import Needs
from shared.contract.api.teams import Pause
from shared.contract.starting_models import DEFAULT_STARTING_MODEL
from tests.unit.scheduler.samples import NOW, after, trainer

LEASE = timedelta(seconds=25)
NEEDS = needs_of(DEFAULT_STARTING_MODEL, "cpu", {})
IN_THE_LAB = needs_of(DEFAULT_STARTING_MODEL, "cpu", {"pool": "lab"})


def room(**fields: object) -> Room:
    plain: dict[str, object] = {
        "trainers": [trainer()],
        "lease": LEASE,
        "waiting": 0,
        "max_waiting": 5,
        "team_jobs": 0,
        "max_team_jobs": 2,
        "balance_seconds": 600,
        "max_wait": timedelta(hours=24),
    }
    return Room(**{**plain, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "code", "retry_after", "words"),
    [
        ({"trainers": []}, "no_capacity", 60, "CPU trainer with 2.4 GB of memory a slot"),
        ({"trainers": [trainer(memory_bytes=1 << 30)]}, "no_capacity", 60, "2.4 GB"),
        ({"trainers": [trainer(seen_at=after(-26))]}, "no_capacity", 60, "No trainer"),
        ({"waiting": 5}, "queue_full", 300, "5 jobs are waiting; 5 is the limit"),
        (
            {"estimated_wait": timedelta(hours=25)},
            "wait_too_long",
            3600,
            "in about 25.0 hours; 24.0 hours is the limit",
        ),
        (
            {"estimated_wait": timedelta(minutes=61), "max_wait": timedelta(minutes=60)},
            "wait_too_long",
            300,
            "61 minutes; 60 minutes",
        ),
        ({"team_jobs": 2}, "team_limit", 300, "2 is the limit"),
        ({"cap_seconds": 570}, "needs_approval", None, "needs 10 minutes; you may use 9.5 more"),
        ({"cap_seconds": -60}, "needs_approval", None, "you may use 0 more"),
        ({"balance_seconds": 599}, "not_enough_minutes", 3600, "needs 10 minutes; your team has 10.0 left"),
        ({"balance_seconds": 0, "earliest_refund": after(500)}, "not_enough_minutes", 500, "has 0 left"),
        ({"balance_seconds": 0, "earliest_refund": after(5)}, "not_enough_minutes", 60, "has 0 left"),
        ({"pause": Pause(by="Op", at=NOW)}, "paused", 3600, "Op has closed training."),
        (
            {"pause": Pause(by="Op", at=NOW, until=after(90), message="cleaning")},
            "paused",
            90,
            "until 2026-03-01 12:01 UTC: cleaning",
        ),
    ],
)
def test_a_refusal_says_which_limit_and_when(
    fields: dict[str, object], code: str, retry_after: int | None, words: str
) -> None:
    refused = admit(NEEDS, 600, room(**fields), NOW)
    assert refused is not None
    assert (refused.reason.code, refused.retry_after) == (code, retry_after)
    assert words in refused.reason.message


def test_a_job_may_queue_behind_busy_trainers() -> None:
    assert (
        admit(NEEDS, 600, room(waiting=4, team_jobs=1, estimated_wait=timedelta(hours=23), cap_seconds=600), NOW)
        is None
    )
    assert admit(NEEDS, 600, room(estimated_wait=None), NOW) is None
    assert admit(NEEDS, 600, room(estimated_wait=timedelta(days=9), max_wait=None), NOW) is None


def test_labels_are_what_a_trainer_must_have() -> None:
    assert admit(IN_THE_LAB, 600, room(trainers=[trainer(labels={"pool": "lab", "room": "3"})]), NOW) is None
    refused = admit(IN_THE_LAB, 600, room(trainers=[trainer(labels={"pool": "attic"})]), NOW)
    assert refused is not None
    assert "labelled pool=lab" in refused.reason.message


@pytest.mark.parametrize(
    ("needs", "unmet_since", "admitted"),
    [(NEEDS, None, True), (NEEDS, after(-299), True), (NEEDS, after(-301), False), (IN_THE_LAB, None, True)],
)
def test_where_trainers_start_on_demand_one_is_expected_for_a_while(
    needs: Needs, unmet_since: object, admitted: bool
) -> None:
    found = admit(needs, 600, room(trainers=[], expect_trainers=timedelta(seconds=300), unmet_since=unmet_since), NOW)
    assert (found is None) is admitted
    assert found is None or (found.reason.code, found.retry_after) == ("no_capacity", 300)
