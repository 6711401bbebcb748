"""plan(): order, capacity, liveness; admission, estimates and minutes."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler import budget
from services.scheduler.admission import Room, admit
from services.scheduler.estimate import Work, places, seconds_per_step
from services.scheduler.plan import ActiveJob, Assign, Lease, Lose, Snapshot, Trainer, WaitingJob, in_order, plan
from shared.contract.starting_models import DEFAULT_STARTING_MODEL
from tests.unit.scheduler.samples import NOW, after, trainer

LEASE = timedelta(seconds=25)


def waiting(job_id: str, team: str = "a", at: float = 0, *, front: bool = False) -> WaitingJob:
    return WaitingJob(
        id=job_id,
        team=team,
        queued_at=after(at),
        front=front,
        starting_model=DEFAULT_STARTING_MODEL,
        accelerator="cpu",
    )


def active(job_id: str, name: str = "t1", team: str = "a", at: float = 0, attempt: int = 1) -> ActiveJob:
    return ActiveJob(id=job_id, team=team, trainer=name, attempt=attempt, assigned_at=after(at))


def snapshot(
    queue: list[WaitingJob] | None = None,
    busy: list[ActiveJob] | None = None,
    trainers: list[Trainer] | None = None,
    since: datetime = NOW - timedelta(hours=1),
) -> Snapshot:
    return Snapshot(waiting=queue or [], active=busy or [], trainers=trainers or [], listening_since=since, lease=LEASE)


def test_a_free_slot_takes_the_head_of_the_queue() -> None:
    seen = snapshot([waiting("late", at=2), waiting("early", at=1)], trainers=[trainer()])
    assert plan(seen, after(3)) == [Assign("early", "t1")]


def test_nothing_goes_to_a_trainer_that_is_busy_draining_gone_silent_too_small_or_of_another_kind() -> None:
    queue = [waiting("j")]
    assert plan(snapshot(queue, [active("other")], [trainer()]), after(1)) == []
    for fields in (
        {"draining": True},
        {"gone": True},
        {"seen_at": after(-30)},
        {"memory_bytes": 1 << 30},
        {"accelerator": "gpu"},
    ):
        assert plan(snapshot(queue, trainers=[trainer(**fields)]), after(1)) == [], fields


def test_what_a_trainer_still_holds_takes_a_slot_until_it_lets_go() -> None:
    held = [Lease(job_id="old", attempt=1, seen_at=after(1))]
    assert plan(snapshot([waiting("j")], trainers=[trainer(seen_at=after(1), leases=held)]), after(2)) == []
    let_go = trainer(seen_at=after(3), leases=held)
    assert plan(snapshot([waiting("j")], trainers=[let_go]), after(4)) == [Assign("j", "t1")]
    own = trainer(slots=2, seen_at=after(1), leases=[Lease(job_id="x", attempt=1, seen_at=after(1))])
    assert plan(snapshot([waiting("j")], [active("x")], [own]), after(2)) == [Assign("j", "t1")]


def test_a_trainer_with_two_slots_takes_two_jobs() -> None:
    seen = snapshot([waiting("a"), waiting("b", at=1), waiting("c", at=2)], trainers=[trainer(slots=2)])
    assert plan(seen, after(3)) == [Assign("a", "t1"), Assign("b", "t1")]


def test_interrupted_jobs_first_then_teams_in_turn() -> None:
    queue = [
        waiting("a1", "a", 0),
        waiting("a2", "a", 1),
        waiting("a3", "a", 2),
        waiting("b1", "b", 3),
        waiting("resumed", "a", 9, front=True),
    ]
    order = [job.id for job in in_order(snapshot(queue))]
    assert order == ["resumed", "b1", "a1", "a2", "a3"]
    busy_team = snapshot(queue[:4], [active("x", team="a"), active("y", "t2", team="a")])
    assert [job.id for job in in_order(busy_team)] == ["b1", "a1", "a2", "a3"]


@pytest.mark.parametrize(
    ("leases", "at", "expected"),
    [
        ([Lease(job_id="j", attempt=1, seen_at=NOW)], 25, []),
        ([Lease(job_id="j", attempt=1, seen_at=NOW)], 25.1, [Lose("j", 1)]),
        ([Lease(job_id="j", attempt=2, seen_at=after(20))], 25.1, [Lose("j", 1)]),
        ([], 24.9, []),
        ([], 25.1, [Lose("j", 1)]),
    ],
)
def test_a_lease_ends_after_silence_about_this_very_attempt(
    leases: list[Lease], at: float, expected: list[object]
) -> None:
    seen = snapshot(busy=[active("j")], trainers=[trainer(leases=leases, seen_at=after(at))])
    assert plan(seen, after(at)) == expected


def test_silence_while_the_scheduler_could_not_hear_is_nobodys_fault() -> None:
    deaf = snapshot(busy=[active("j")], trainers=[trainer()], since=after(300))
    assert plan(deaf, after(310)) == []
    assert plan(deaf, after(326)) == [Lose("j", 1)]


def test_a_goodbye_ends_leases_after_a_short_grace() -> None:
    gone = trainer(gone=True, seen_at=after(10), leases=[Lease(job_id="j", attempt=1, seen_at=after(10))])
    assert plan(snapshot(busy=[active("j")], trainers=[gone]), after(12)) == []
    assert plan(snapshot(busy=[active("j")], trainers=[gone]), after(14)) == [Lose("j", 1)]


def test_a_job_whose_trainer_is_unknown_is_lost_after_a_lease() -> None:
    assert plan(snapshot(busy=[active("j")]), after(26)) == [Lose("j", 1)]


jobs = st.builds(
    waiting,
    st.uuids().map(str),
    st.sampled_from("abc"),
    st.floats(0, 1000),
    front=st.booleans(),
)


@given(st.lists(jobs, max_size=20, unique_by=lambda job: job.id), st.integers(0, 4), st.integers(1, 3))
def test_plan_never_overfills_and_never_leaves_a_slot_idle(queue: list[WaitingJob], count: int, slots: int) -> None:
    trainers = [trainer(f"t{index}", slots=slots) for index in range(count)]
    actions = plan(snapshot(queue, trainers=trainers), after(5))
    assigned = [action for action in actions if isinstance(action, Assign)]
    assert len(assigned) == min(len(queue), count * slots)
    assert len({action.job_id for action in assigned}) == len(assigned)
    for one in trainers:
        assert sum(action.trainer == one.id for action in assigned) <= one.slots
    assert [action.job_id for action in assigned] == [job.id for job in in_order(snapshot(queue))][: len(assigned)]


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
        ({"waiting": 5}, "queue_full", 300, "5 jobs"),
        ({"team_jobs": 2}, "team_limit", 300, "2 is the limit"),
        ({"balance_seconds": 599}, "not_enough_minutes", 3600, "needs 10 minutes; your team has 10.0 left"),
        ({"balance_seconds": 0, "earliest_refund": after(500)}, "not_enough_minutes", 500, "has 0 left"),
    ],
)
def test_a_refusal_says_which_limit_and_when(
    fields: dict[str, object], code: str, retry_after: int, words: str
) -> None:
    refused = admit(waiting("j"), 600, room(**fields), NOW)
    assert refused is not None
    assert (refused.reason.code, refused.retry_after) == (code, retry_after)
    assert words in refused.reason.message


def test_a_job_may_queue_behind_busy_trainers() -> None:
    assert admit(waiting("j"), 600, room(waiting=4, team_jobs=1), NOW) is None


def work(job_id: str, steps: int = 100) -> Work:
    return Work(job_id=job_id, remaining_steps=steps, seconds_per_step=1.0, checkpoint_every=100, max_seconds=1e6)


def test_places_are_in_order_and_ranges_hold_the_middle() -> None:
    found = places([work("a"), work("b")], {"r": work("r", 50)}, 1, NOW)
    assert [place.position for place in found] == [1, 2]
    first, second = found
    assert first.start_from is not None
    assert first.start_to is not None
    assert second.start_from is not None
    assert NOW < first.start_from < after(112.5) < first.start_to
    assert second.start_from > first.start_from


def test_without_a_slot_there_is_a_place_but_no_time() -> None:
    (place,) = places([work("a")], {}, 0, NOW)
    assert (place.position, place.start_from, place.end_to) == (1, None, None)


def test_pace_is_the_median_of_finished_runs_else_the_tables() -> None:
    assert seconds_per_step(DEFAULT_STARTING_MODEL, 8, "cpu", [0.5, 9.0, 0.7]) == 0.7
    assert seconds_per_step(DEFAULT_STARTING_MODEL, 4, "cpu", []) == pytest.approx(0.3)


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 10), (480, 10), (481, 11), (3600, 75)])
def test_the_default_maximum_is_the_estimate_and_a_quarter(seconds: float, minutes: int) -> None:
    assert budget.default_max_minutes(seconds) == minutes
