"""The queue's order: classes, interrupted jobs, teams by what they have had, overdue teams first."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.scheduler.plan import ActiveJob, Needs, Snapshot, Standing, WaitingJob, in_order
from tests.unit.scheduler.samples import NOW, after, trainer

NEEDS = Needs(accelerator="cpu", memory_bytes=2 << 30)
HOUR = 3600.0


def waiting(job_id: str, at: float = 0, expected: float = HOUR, **fields: object) -> WaitingJob:
    """Its team is the first letter of its id."""
    plain: dict[str, object] = {"id": job_id, "team": job_id[0], "queued_at": after(at), "needs": NEEDS}
    return WaitingJob(**{**plain, "expected_seconds": expected, **fields})  # type: ignore[arg-type]


def active(job_id: str, left: float = HOUR, at: float = 0) -> ActiveJob:
    return ActiveJob(id=job_id, team=job_id[0], trainer="t1", attempt=1, assigned_at=after(at), expected_seconds=left)


def order(
    queue: list[WaitingJob],
    *busy: ActiveJob,
    usage: dict[str, float] | None = None,
    served: dict[str, float] | None = None,
    slots: int = 1,
    at: float = 0,
) -> list[str]:
    usage, served = usage or {}, served or {}
    standings = {
        team: Standing(usage_seconds=usage.get(team, 0), served={NEEDS: after(served[team])} if team in served else {})
        for team in {*usage, *served}
    }
    seen = Snapshot(
        waiting=queue,
        active=busy,
        trainers=[trainer(slots=slots, seen_at=after(at))],
        listening_since=NOW,
        lease=timedelta(seconds=25),
        standings=standings,
    )
    return [job.id for job in in_order(seen, after(at))]


def test_within_a_team_first_come_first_served() -> None:
    assert order([waiting("a3", 2), waiting("a2", 1), waiting("a1", 1)]) == ["a1", "a2", "a3"]


def test_classes_strictly_then_interrupted_jobs_then_teams() -> None:
    queue = [
        waiting("a1", 0),
        waiting("a2", 9, front=True),
        waiting("b1", 8, front=True),
        waiting("c1", 9, priority=1),
        waiting("c2", 9, priority=-1, front=True),
    ]
    assert order(queue) == ["c1", "b1", "a2", "a1", "c2"]


def test_the_team_that_had_least_goes_next() -> None:
    queue = [waiting("a1", 0), waiting("a2", 1), waiting("b1", 2), waiting("b2", 3)]
    assert order(queue) == ["a1", "b1", "a2", "b2"]
    assert order(queue, usage={"a": 1.5 * HOUR}) == ["b1", "b2", "a1", "a2"]
    assert order(queue, usage={"a": 0.5 * HOUR}) == ["b1", "a1", "b2", "a2"]


def test_long_jobs_count_for_what_they_take() -> None:
    queue = [waiting("a1", 0, 3 * HOUR), waiting("a2", 1), waiting("b1", 2), waiting("b2", 3), waiting("b3", 4)]
    assert order(queue) == ["a1", "b1", "b2", "b3", "a2"]


def test_running_jobs_count_for_all_that_they_take_but_at_least_for_a_minute() -> None:
    queue = [waiting("a1", 0), waiting("b1", 1)]
    assert order(queue, active("a9", HOUR)) == ["b1", "a1"]
    assert order(queue, active("a9", HOUR), active("b9", 2 * HOUR)) == ["a1", "b1"]
    # Nearly done, but it has run for hours.
    assert order(queue, active("a9", 60, at=-3 * HOUR), active("b9", HOUR), slots=2) == ["b1", "a1"]
    assert order(queue, active("a9", 0)) == ["b1", "a1"]


def test_where_no_time_is_expected_teams_take_turns() -> None:
    queue = [waiting(name, at, 0) for at, name in enumerate(("a1", "a2", "a3", "b1"))]
    assert order(queue) == ["a1", "b1", "a2", "a3"]


def test_interrupted_jobs_and_those_of_higher_classes_count_for_their_team() -> None:
    queue = [waiting("a1", 0, front=True), waiting("a2", 0), waiting("b1", 1)]
    assert order(queue) == ["a1", "b1", "a2"]
    assert order([waiting("a1", priority=1), waiting("a2"), waiting("b1", 1)]) == ["a1", "b1", "a2"]


def test_a_team_that_waits_longer_than_its_fair_wait_goes_ahead_of_the_ranking_with_one_job() -> None:
    # Three teams, one slot, an hour's jobs: a fair wait of 3 hours.
    queue = [waiting("a1"), waiting("a2"), waiting("b1", 9)]
    usage = {"a": 100 * HOUR}
    assert order(queue, active("c1"), usage=usage, at=3 * HOUR) == ["b1", "a1", "a2"]
    assert order(queue, active("c1"), usage=usage, at=3 * HOUR + 1) == ["a1", "b1", "a2"]
    # Being served begins the wait anew.
    assert order(queue, active("c1"), usage=usage, served={"a": 60}, at=3 * HOUR + 1) == ["b1", "a1", "a2"]
    # With another slot it would be 2 hours.
    assert order(queue, active("c1"), usage=usage, at=2 * HOUR + 1, slots=2) == ["a1", "b1", "a2"]


def test_who_has_waited_longest_of_the_overdue_is_first() -> None:
    queue = [waiting("a1", 0), waiting("b1", 1), waiting("c1", 2)]
    usage = {"a": 9.0, "b": 8.0}
    assert order(queue, usage=usage) == ["c1", "b1", "a1"]
    assert order(queue, usage=usage, at=9 * HOUR) == ["a1", "b1", "c1"]
    assert order(queue, usage=usage, served={"a": HOUR}, at=9 * HOUR) == ["b1", "c1", "a1"]


def test_a_team_that_holds_its_share_is_not_overdue() -> None:
    queue = [waiting("a1"), waiting("b1", 9 * HOUR)]
    busy = [active("a8", at=0), active("b8", at=0)]
    assert order(queue, *busy, usage={"a": HOUR}, at=9 * HOUR, slots=2) == ["b1", "a1"]
    assert order(queue, *busy[1:], usage={"a": 100 * HOUR}, at=9 * HOUR, slots=2) == ["a1", "b1"]


X = Needs(accelerator="cpu", memory_bytes=1, labels=(("pool", "x"),))
Y = Needs(accelerator="cpu", memory_bytes=1, labels=(("pool", "y"),))
Y_TOO = Needs(accelerator="cpu", memory_bytes=2, labels=(("pool", "y"),))
POOLS = [trainer("x", labels={"pool": "x"}), trainer("y", labels={"pool": "y"})]


def test_what_a_team_gets_elsewhere_does_not_help_a_job_that_cannot_run_there() -> None:
    def seen(at: float, *others: WaitingJob, served: dict[Needs, datetime]) -> list[str]:
        snapshot = Snapshot(
            waiting=[waiting("a1", needs=Y), waiting("b1", at - 9, needs=Y), *others],
            active=[replace(active("a9", at=at - 60), trainer="x"), replace(active("c9"), trainer="y")],
            trainers=[replace(one, seen_at=after(at)) for one in POOLS],
            listening_since=NOW,
            lease=timedelta(seconds=25),
            standings={"a": Standing(usage_seconds=100 * HOUR, served=served)},
        )
        return [job.id for job in in_order(snapshot, after(at))]

    # Three teams and one slot of y: a fair wait of 3 hours, whatever a gets of x.
    lately = {X: after(3 * HOUR - 60)}
    assert seen(3 * HOUR, served=lately) == ["b1", "a1"]
    assert seen(3 * HOUR + 1, served=lately) == ["a1", "b1"]
    # What waits for x alone is no rival for y, however long it takes.
    assert seen(3 * HOUR + 1, waiting("d1", 0, 9 * HOUR, needs=X), served=lately) == ["a1", "d1", "b1"]
    # Jobs that the same trainers can hold are one claim, whatever they ask for.
    assert seen(3 * HOUR + 1, served={Y_TOO: after(60)}) == ["b1", "a1"]


def test_without_slots_nobody_is_overdue() -> None:
    assert order([waiting("a1"), waiting("b1", 1)], usage={"a": 9.0}, slots=0, at=99 * HOUR) == ["b1", "a1"]


jobs = st.builds(
    lambda team, number, at, expected, front, priority: waiting(
        f"{team}{number}", at, expected, front=front, priority=priority
    ),
    st.sampled_from("abcd"),
    st.integers(0, 99),
    st.integers(0, 9),
    st.floats(0, 3 * HOUR),
    st.booleans(),
    st.integers(-1, 1),
)


@given(st.lists(jobs, max_size=30, unique_by=lambda job: job.id), st.randoms(use_true_random=False))
def test_the_order_has_each_job_once_and_does_not_depend_on_how_the_queue_is_kept(
    queue: list[WaitingJob], chance: Random
) -> None:
    found = order(queue, at=5 * HOUR)
    assert sorted(found) == sorted(job.id for job in queue)
    shuffled = list(queue)
    chance.shuffle(shuffled)
    assert order(shuffled, at=5 * HOUR) == found
    by_id = {job.id: job for job in queue}
    ranks = [(-by_id[name].priority, not by_id[name].front) for name in found]
    assert ranks == sorted(ranks)
