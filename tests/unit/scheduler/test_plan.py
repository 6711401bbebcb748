"""plan(): who gets which slot, who is lost, who must pause and what is enforced."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.plan import (
    ActiveJob,
    Assign,
    Enforce,
    Hours,
    Lease,
    Lose,
    Needs,
    Pause,
    Snapshot,
    Trainer,
    WaitingJob,
    can_hold,
    in_order,
    plan,
)
from tests.unit.scheduler.samples import NOW, after, trainer

LEASE = timedelta(seconds=25)
NEEDS = Needs(accelerator="cpu", memory_bytes=2 << 30)
LARGE = Needs(accelerator="cpu", memory_bytes=32 << 30)
GPU = Needs(accelerator="gpu", memory_bytes=4 << 30)


def waiting(job_id: str, team: str = "a", at: float = 0, **fields: object) -> WaitingJob:
    plain: dict[str, object] = {"id": job_id, "team": team, "queued_at": after(at), "needs": NEEDS}
    return WaitingJob(**{**plain, **fields})  # type: ignore[arg-type]


def active(job_id: str, name: str = "t1", team: str = "a", at: float = 0, **fields: object) -> ActiveJob:
    plain: dict[str, object] = {"id": job_id, "team": team, "trainer": name, "attempt": 1, "assigned_at": after(at)}
    return ActiveJob(**{**plain, **fields})  # type: ignore[arg-type]


def snapshot(
    queue: list[WaitingJob] | None = None,
    busy: list[ActiveJob] | None = None,
    trainers: list[Trainer] | None = None,
    since: datetime = NOW - timedelta(hours=1),
    hours: Hours | None = None,
) -> Snapshot:
    return Snapshot(
        waiting=queue or [],
        active=busy or [],
        trainers=trainers or [],
        listening_since=since,
        lease=LEASE,
        hours=hours,
    )


def assigned(seen: Snapshot, at: float = 1) -> dict[str, str]:
    """The trainer of each job that is assigned."""
    return {action.job_id: action.trainer for action in plan(seen, after(at)) if isinstance(action, Assign)}


def test_a_free_slot_takes_the_head_of_the_queue() -> None:
    seen = snapshot([waiting("late", at=2), waiting("early", at=1)], trainers=[trainer()])
    assert plan(seen, after(3)) == [Assign("early", "t1")]


def test_nothing_goes_to_a_trainer_that_is_busy_draining_gone_silent_too_small_or_of_another_kind() -> None:
    queue = [waiting("j")]
    assert plan(snapshot(queue, [active("other")], [trainer()]), after(1)) == []
    for fields in (
        {"draining": True},
        {"drain_asked": True},
        {"gone": True},
        {"seen_at": after(-30)},
        {"memory_bytes": 1 << 30},
        {"accelerator": "gpu"},
    ):
        assert plan(snapshot(queue, trainers=[trainer(**fields)]), after(1)) == [], fields


@pytest.mark.parametrize(
    ("labels", "suffices"),
    [({}, False), ({"camera": "yes"}, True), ({"camera": "no"}, False), ({"camera": "yes", "room": "3"}, True)],
)
def test_a_slot_must_have_each_label_that_a_job_requires(labels: dict[str, str], suffices: bool) -> None:
    needs = Needs(accelerator="cpu", memory_bytes=1, labels=(("camera", "yes"),))
    assert can_hold(trainer(labels=labels), needs) is suffices


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


def test_the_least_capable_slot_that_suffices_is_taken() -> None:
    trainers = [
        trainer("a-large", memory_bytes=64 << 30),
        trainer("b-labelled", labels={"camera": "yes"}),
        trainer("c-plain"),
        trainer("d-plain"),
    ]
    queue = [waiting(f"j{number}", at=number) for number in range(4)]
    assert assigned(snapshot(queue, trainers=trainers)) == {
        "j0": "c-plain",
        "j1": "d-plain",
        "j2": "b-labelled",
        "j3": "a-large",
    }
    assert assigned(snapshot([queue[0], waiting("large", at=9, needs=LARGE)], trainers=trainers)) == {
        "j0": "c-plain",
        "large": "a-large",
    }


def test_a_job_that_no_free_slot_can_hold_keeps_nobody_from_starting() -> None:
    queue = [waiting("large", needs=LARGE), waiting("gpu", at=1, needs=GPU), waiting("small", at=2)]
    trainers = [trainer(), trainer("t2", memory_bytes=64 << 30)]
    assert assigned(snapshot(queue, [active("x", "t2")], trainers)) == {"small": "t1"}
    assert assigned(snapshot(queue, trainers=trainers)) == {"large": "t2", "small": "t1"}


def test_a_job_goes_back_to_a_trainer_that_it_failed_on_only_if_no_other_could_ever_hold_it() -> None:
    queue = [waiting("j", avoid=("t1",)), waiting("k", at=1)]
    other = trainer("t2")
    assert assigned(snapshot(queue, trainers=[trainer(), other])) == {"j": "t2", "k": "t1"}
    assert assigned(snapshot(queue, [active("x", "t2")], [trainer(), other])) == {"k": "t1"}
    for useless in (
        [],
        [trainer("t2", gone=True)],
        [trainer("t2", drain_asked=True)],
        [trainer("t2", memory_bytes=1)],
    ):
        assert assigned(snapshot(queue, trainers=[trainer(), *useless])) == {"j": "t1"}, useless
    everywhere = [waiting("j", avoid=("t1", "t2"))]
    assert assigned(snapshot(everywhere, trainers=[trainer(), other])) == {"j": "t1"}


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


def test_a_stop_that_is_not_answered_within_a_lease_is_enforced_unless_the_job_is_lost() -> None:
    def seen(heard: float) -> Snapshot:
        held = [Lease(job_id="j", attempt=1, seen_at=after(heard))]
        return snapshot(busy=[active("j", asked_at=after(10))], trainers=[trainer(leases=held, seen_at=after(heard))])

    assert plan(seen(34), after(35)) == []
    assert plan(seen(34), after(36)) == [Enforce("j", 1)]
    assert plan(seen(5), after(36)) == [Lose("j", 1)]


def test_jobs_pause_before_the_lab_closes_and_nothing_starts_until_it_opens() -> None:
    held = [Lease(job_id=name, attempt=1, seen_at=after(3500)) for name in ("running", "stopping")]
    busy = [active("running", pausable=True), active("stopping")]
    trainers = [trainer(slots=3, leases=held, seen_at=after(3500))]

    def seen(hours: Hours) -> Snapshot:
        return snapshot([waiting("j")], busy, trainers, hours=hours)

    closing = Hours(open=True, until=after(3580))
    assert plan(seen(closing), after(3519)) == [Assign("j", "t1")]
    assert plan(seen(closing), after(3520)) == [Pause("running", 1)]
    assert plan(seen(Hours(open=False, until=after(9999))), after(3510)) == [Pause("running", 1)]
    assert plan(seen(Hours(open=False)), after(3510)) == [Pause("running", 1)]
    assert plan(seen(Hours(open=True)), after(3510)) == [Assign("j", "t1")]


def test_a_job_starts_only_if_it_reaches_a_checkpoint_before_it_must_pause() -> None:
    queue = [
        waiting("slow", first_checkpoint_seconds=101),
        waiting("quick", at=1, first_checkpoint_seconds=100, expected_seconds=100),
    ]
    closing = Hours(open=True, until=after(170))
    assert assigned(snapshot(queue, trainers=[trainer(slots=2)], hours=closing), at=10) == {"quick": "t1"}
    assert assigned(snapshot(queue, trainers=[trainer(slots=2)]), at=10) == {"slow": "t1", "quick": "t1"}


def test_what_would_go_on_tomorrow_does_not_start_before_a_job_that_cannot_start_today() -> None:
    slow = waiting("slow", first_checkpoint_seconds=101, expected_seconds=500)
    long = waiting("long", at=1, first_checkpoint_seconds=10, expected_seconds=101)
    short = waiting("short", at=2, first_checkpoint_seconds=10, expected_seconds=100)
    closing = Hours(open=True, until=after(170))
    trainers = [trainer(slots=3)]
    assert assigned(snapshot([slow, long, short], trainers=trainers, hours=closing), at=10) == {"short": "t1"}
    assert assigned(snapshot([long, short], trainers=trainers, hours=closing), at=10) == {"long": "t1", "short": "t1"}
    # Ahead of it, one may start that goes on tomorrow.
    first = waiting("first", at=-1, first_checkpoint_seconds=10, expected_seconds=900)
    assert assigned(snapshot([first, slow], trainers=trainers, hours=closing), at=10) == {"first": "t1"}


NEEDED = [NEEDS, LARGE, GPU, Needs(accelerator="cpu", memory_bytes=1, labels=(("camera", "yes"),))]
queues = st.lists(
    st.builds(
        waiting,
        st.uuids().map(str),
        st.sampled_from("abc"),
        st.floats(0, 1000),
        front=st.booleans(),
        priority=st.integers(0, 1),
        needs=st.sampled_from(NEEDED),
        avoid=st.sampled_from([(), (), ("t0",), ("t0", "t1")]),
        expected_seconds=st.floats(0, 5000),
    ),
    max_size=20,
    unique_by=lambda job: job.id,
)
kinds = st.fixed_dictionaries(
    {
        "slots": st.integers(1, 3),
        "accelerator": st.sampled_from(["cpu", "cpu", "gpu"]),
        "memory_bytes": st.sampled_from([8 << 30, 64 << 30]),
        "labels": st.sampled_from([{}, {"camera": "yes"}]),
    }
)


@given(queues, st.lists(kinds, max_size=4))
def test_plan_never_overfills_and_never_leaves_a_slot_idle_that_a_job_could_use(
    queue: list[WaitingJob], fields: list[dict[str, object]]
) -> None:
    trainers = {f"t{index}": trainer(f"t{index}", **one) for index, one in enumerate(fields)}
    seen = snapshot(queue, trainers=list(trainers.values()))
    actions = plan(seen, after(5))
    assert actions == plan(seen, after(5))
    places = assigned(seen, at=5)
    assert len(places) == len(actions)
    free = {name: one.slots - list(places.values()).count(name) for name, one in trainers.items()}
    assert all(count >= 0 for count in free.values())
    for job in queue:
        able = {name for name, one in trainers.items() if can_hold(one, job.needs)}
        able = (able - set(job.avoid)) or able
        if job.id in places:
            assert places[job.id] in able
        else:
            assert not any(free[name] for name in able), job


@given(queues, st.integers(0, 8))
def test_slots_that_can_hold_everything_are_given_in_the_queues_order(queue: list[WaitingJob], slots: int) -> None:
    alike = [waiting(job.id, job.team, (job.queued_at - NOW).total_seconds(), priority=job.priority) for job in queue]
    seen = snapshot(alike, trainers=[trainer(slots=slots)])
    assert list(assigned(seen, at=5)) == [job.id for job in in_order(seen, after(5))][:slots]
