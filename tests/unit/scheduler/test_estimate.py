"""How long runs take, and when waiting jobs may start and end."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.scheduler.estimate import Work, forecast, forecast_ends, forecast_of, step_seconds
from services.scheduler.open_time import OpenTime
from services.scheduler.plan import (
    ActiveJob,
    Assign,
    Hours,
    Needs,
    Snapshot,
    Standing,
    Trainer,
    WaitingJob,
    in_order,
    plan,
)
from shared.contract.starting_models import DEFAULT_STARTING_MODEL
from shared.contract.views import QueuePlace
from tests.unit.scheduler.samples import NOW, after, trainer

NEEDS = Needs(accelerator="cpu", memory_bytes=2 << 30)
LARGE = Needs(accelerator="cpu", memory_bytes=32 << 30)
HOUR = 3600.0
LEAD = timedelta(seconds=60)
# An hour of steps: 60 s besides, and 5 s for each of 36 checkpoints.
WORK = Work(remaining_steps=3600, step_seconds=[1.0] * 20, checkpoint_every=100, max_seconds=1e6)
WHOLE = HOUR + 60 + 36 * 5


def waiting(job_id: str, at: float = 0, **fields: object) -> WaitingJob:
    plain: dict[str, object] = {
        "id": job_id,
        "team": job_id[0],
        "queued_at": after(at),
        "needs": NEEDS,
        "expected_seconds": WORK.seconds(1.0),
        "first_checkpoint_seconds": WORK.first_checkpoint(1.0),
    }
    return WaitingJob(**{**plain, **fields})  # type: ignore[arg-type]


def active(job_id: str, name: str = "t1", asked_at: datetime | None = None) -> ActiveJob:
    return ActiveJob(id=job_id, team=job_id[0], trainer=name, attempt=1, assigned_at=NOW, asked_at=asked_at)


def snapshot(
    queue: list[WaitingJob],
    *busy: ActiveJob,
    trainers: list[Trainer] | None = None,
    hours: Hours | None = None,
    at: float = 0,
    standings: dict[str, Standing] | None = None,
) -> Snapshot:
    return Snapshot(
        waiting=queue,
        active=busy,
        trainers=[trainer(seen_at=after(at))] if trainers is None else trainers,
        listening_since=NOW,
        lease=timedelta(seconds=25),
        hours=hours,
        pause_lead=LEAD,
        standings=standings or {},
    )


def times(place: QueuePlace, since: datetime = NOW) -> list[float]:
    """Start and end, from and to, in seconds."""
    found = [place.start_from, place.start_to, place.end_from, place.end_to]
    return [(moment - since).total_seconds() for moment in found if moment is not None]


def test_wall_time_is_stepping_evaluations_and_what_is_around_them() -> None:
    assert WORK.seconds(1.0) == WHOLE
    assert WORK.seconds(0.5) == pytest.approx(HOUR / 2 + 60 + 36 * 5)
    assert WORK.first_checkpoint(1.0) == 40 + 100 + 5
    limited = Work(remaining_steps=3600, step_seconds=[1.0], checkpoint_every=100, max_seconds=1000)
    assert limited.seconds(1.0) == 1000 + 60 + 10 * 5
    used_up = Work(remaining_steps=3600, step_seconds=[1.0], checkpoint_every=100, max_seconds=-1)
    assert used_up.seconds(1.0) == 60
    nearly_done = Work(remaining_steps=10, step_seconds=[1.0], checkpoint_every=100, max_seconds=1000)
    assert nearly_done.first_checkpoint(1.0) == 40 + 10 + 5


def test_paces_are_those_of_finished_runs_else_the_tables() -> None:
    assert step_seconds(DEFAULT_STARTING_MODEL, 8, "cpu", [0.5, 9.0, 0.7]) == [0.5, 9.0, 0.7]
    assert step_seconds(DEFAULT_STARTING_MODEL, 4, "cpu", []) == pytest.approx([0.3])


def test_a_job_starts_at_once_where_a_slot_is_free_and_the_next_when_it_may_have_ended() -> None:
    queue = [waiting("a1"), waiting("a2", 1)]
    first, second = forecast(snapshot(queue), {"a1": WORK, "a2": WORK}, NOW)
    assert [(first.job_id, first.position), (second.job_id, second.position)] == [("a1", 1), ("a2", 2)]
    start_from, start_to, end_from, end_to = times(first)
    assert (start_from, start_to) == (0, 0)
    assert 0.8 * WHOLE < end_from < WHOLE < end_to < 1.2 * WHOLE
    # One team, nobody whose jobs could go ahead.
    assert times(second)[:2] == [end_from, end_to]


def test_the_same_question_has_the_same_answer_and_a_range_does_not_hang_on_who_comes_behind() -> None:
    queue, works = [waiting("a1"), waiting("b1", 1)], dict.fromkeys(("a1", "b1", "b2", "r1"), WORK)
    seen = snapshot(queue, active("r1"))
    assert forecast(seen, works, NOW) == forecast(seen, works, NOW)
    longer = snapshot([*queue, waiting("b2", 2)], active("r1"))
    assert times(forecast(longer, works, NOW)[0]) == pytest.approx(times(forecast(seen, works, NOW)[0]), abs=HOUR / 4)


def test_a_job_that_were_submitted_now_gets_the_place_that_it_would_have() -> None:
    queue, works = [waiting("a1"), waiting("a2", 1), waiting("b1", 2)], dict.fromkeys(("a1", "a2", "b1"), WORK)
    job = waiting("c1", 3)
    place = forecast_of(snapshot(queue), job, WORK, works, NOW)
    joined = forecast(snapshot([*queue, job]), {**works, "c1": WORK}, NOW)
    assert place == joined[2]
    assert (place.job_id, place.position) == ("c1", 3)


def test_a_running_job_ends_in_a_range_around_what_it_still_takes_over_closed_hours_too() -> None:
    works = {"r1": replace(WORK, since=NOW), "r2": replace(WORK, remaining_steps=36, since=NOW)}
    busy, seen_at = (active("r1"), active("r2", "t2")), [trainer("t1"), trainer("t2")]
    ends = forecast_ends(snapshot([], *busy, trainers=seen_at), works, NOW)
    long_from, long_to = ((moment - NOW).total_seconds() for moment in ends["r1"])
    assert 0.8 * WHOLE < long_from < WHOLE < long_to < 1.2 * WHOLE
    assert max(ends["r2"]) < min(ends["r1"])
    assert forecast_ends(snapshot([]), {}, NOW) == {}
    # The lab is open for half an hour yet, and then from tomorrow on.
    hours = Hours(open=True, until=after(HOUR / 2), changes=(after(24 * HOUR),))
    paused = forecast_ends(snapshot([], *busy, trainers=seen_at, hours=hours), works, NOW)
    assert paused["r2"] == ends["r2"]
    assert paused["r1"] == tuple(moment + timedelta(hours=23.5) + LEAD for moment in ends["r1"])
    closed = forecast_ends(snapshot([], *busy, hours=Hours(open=True, until=after(HOUR / 2), changes=())), works, NOW)
    assert set(closed) == {"r2"}  # nobody knows when the other goes on


def test_a_running_job_is_known_not_to_have_ended() -> None:
    def left(passed: float, asked_at: datetime | None = None) -> list[float]:
        seen = snapshot([waiting("a1")], active("r1", asked_at=asked_at), at=passed)
        running = Work(
            remaining_steps=3600, step_seconds=[1.0] * 20, checkpoint_every=100, max_seconds=1e6, since=after(0.5)
        )
        return times(forecast(seen, {"a1": WORK, "r1": running}, after(passed))[0], after(passed))[:2]

    soon_from, soon_to = left(3600)
    assert 0 <= soon_from < soon_to < 0.2 * HOUR
    assert 0 < left(3 * HOUR)[0] < left(3 * HOUR)[1] < HOUR
    assert left(600, asked_at=after(590)) == [20, 20]


def test_a_table_figure_is_less_certain_than_many_runs() -> None:
    def width(known: list[float]) -> float:
        work = Work(remaining_steps=3600, step_seconds=known, checkpoint_every=100, max_seconds=1e6)
        _, _, end_from, end_to = times(forecast(snapshot([waiting("a1")]), {"a1": work}, NOW)[0])
        return end_to - end_from

    assert width([1.0]) > 2 * width([1.0] * 20)
    assert width([0.5, 1.0, 1.5, 2.0] * 5) > 2 * width([1.0] * 20)


def test_a_team_that_had_more_waits_less_certainly_for_others_may_come_and_go_ahead() -> None:
    def start_to(usage: float) -> float:
        seen = snapshot(
            [waiting("a1")],
            active("r1"),
            standings={"a": Standing(usage_seconds=usage), "b": Standing(usage_seconds=9.0), "c": Standing()},
        )
        return times(forecast(seen, {"a1": WORK, "r1": WORK}, NOW)[0])[1]

    assert start_to(100 * HOUR) > 1.5 * start_to(0)


def test_slots_that_differ() -> None:
    trainers = [trainer("small", memory_bytes=8 << 30), trainer("large", memory_bytes=64 << 30)]
    queue = [waiting("a1", needs=LARGE), waiting("a2", 1, needs=LARGE), waiting("a3", 2)]
    places = forecast(snapshot(queue, trainers=trainers), dict.fromkeys(("a1", "a2", "a3"), WORK), NOW)
    first, second, third = map(times, places)
    assert (first[0], third[0]) == (0, 0)
    assert second[0] > 0.5 * WHOLE


@pytest.mark.parametrize(
    "trainers", [[], [trainer(gone=True)], [trainer(drain_asked=True)], [trainer(memory_bytes=1 << 30)]]
)
def test_where_no_trainer_can_hold_it_a_job_has_a_place_but_no_time(trainers: list[Trainer]) -> None:
    (place,) = forecast(snapshot([waiting("a1")], trainers=trainers), {"a1": WORK}, NOW)
    assert place == QueuePlace(job_id="a1", position=1)


def test_closed_time_is_skipped() -> None:
    works = {"a1": WORK}
    open_at = 10 * HOUR
    closed = Hours(open=False, until=after(open_at))
    (place,) = forecast(snapshot([waiting("a1")], hours=closed), works, NOW)
    start_from, start_to, end_from, end_to = times(place)
    assert (start_from, start_to) == (open_at, open_at)
    assert open_at + 0.8 * WHOLE < end_from < end_to
    # Half of it before the lab closes (a minute earlier, when jobs pause), half of it when it opens again.
    hours = Hours(open=True, until=after(1860), changes=(after(open_at),))
    (place,) = forecast(snapshot([waiting("a1")], hours=hours), works, NOW)
    _, _, end_from, end_to = times(place)
    assert end_from < open_at + WHOLE - 1800 < end_to
    assert times(place)[0] == 0


def test_a_job_that_reaches_no_checkpoint_before_the_lab_closes_waits_for_the_opening() -> None:
    def start(until: float) -> float:
        hours = Hours(open=True, until=after(until), changes=(after(HOUR), after(1.02 * HOUR), after(2 * HOUR)))
        return times(forecast(snapshot([waiting("a1")], hours=hours), {"a1": WORK}, NOW)[0])[0]

    assert start(60 + WORK.first_checkpoint(1.0)) == 0
    # The next opening is too short as well.
    assert start(59 + WORK.first_checkpoint(1.0)) == 2 * HOUR


def test_a_job_that_can_never_start_keeps_no_slot() -> None:
    hours = Hours(open=True, until=after(2 * HOUR))
    queue = [waiting("a1", first_checkpoint_seconds=9 * HOUR), waiting("a2", 1)]
    never, soon = forecast(snapshot(queue, hours=hours), {"a1": WORK, "a2": WORK}, NOW)
    assert never.start_from is None
    assert times(soon)[:2] == [0, 0]


@pytest.mark.parametrize("hours", [Hours(open=False), Hours(open=True, until=after(600))])
def test_where_the_lab_never_opens_long_enough_nothing_can_be_said(hours: Hours) -> None:
    (place,) = forecast(snapshot([waiting("a1")], hours=hours), {"a1": WORK}, NOW)
    assert place == QueuePlace(job_id="a1", position=1)


def test_open_time_and_the_clock() -> None:
    hours = Hours(open=True, until=after(160), changes=(after(1000), after(1030), after(2000)))
    open_time = OpenTime(hours, LEAD, NOW)  # 0 to 100, none of 1000 to 1030, 2000 for ever
    assert [open_time.starts(at) for at in (0, 99, 100, 150)] == [0, 99, 2000, 2050]
    assert [open_time.ends(at) for at in (0, 99, 100, 150)] == [0, 99, 100, 2050]
    assert open_time.fitting(np.asarray([0.0, 50.0, 51.0, 100.0]), 50).tolist() == [0, 50, 100, 100]
    ending = OpenTime(Hours(open=True, until=after(160)), LEAD, NOW)
    assert ending.starts(100) == ending.ends(101) == float("inf")
    assert ending.ends(100) == 100
    assert ending.fitting(np.asarray([0.0, 60.0]), 50).tolist() == [0, float("inf")]
    assert OpenTime(None, LEAD, NOW).starts(5) == OpenTime(None, LEAD, NOW).ends(5) == 5


teams = st.sampled_from("abc")


@given(
    st.lists(st.tuples(teams, st.integers(0, 9), st.sampled_from([NEEDS, NEEDS, LARGE]), st.booleans()), max_size=8),
    st.integers(0, 3),
    st.lists(st.floats(1, 2 * HOUR), max_size=4),
)
@settings(deadline=None)
def test_ranges_are_in_order_and_agree_with_plan(
    jobs: list[tuple[str, int, Needs, bool]], running: int, changes: list[float]
) -> None:
    queue = [
        waiting(f"{team}{number}", at, needs=needs, front=front) for number, (team, at, needs, front) in enumerate(jobs)
    ]
    trainers = [trainer("small", memory_bytes=8 << 30, slots=2), trainer("large", memory_bytes=64 << 30)]
    busy = [
        active(f"c{number}", name) for number, name in zip(range(running), ("small", "large", "small"), strict=False)
    ]
    moments = sorted(set(changes))
    hours = Hours(
        open=True,
        until=after(moments[0]) if moments else None,
        changes=tuple(after(moment) for moment in moments[1:]),
    )
    seen = snapshot(queue, *busy, trainers=trainers, hours=hours)
    works = dict.fromkeys([*(job.id for job in queue), *(job.id for job in busy)], WORK)
    places = forecast(seen, works, NOW)
    assert [place.job_id for place in places] == [job.id for job in in_order(seen, NOW)]
    for place in places:
        found = times(place)
        assert len(found) in (0, 4)
        if found:
            assert 0 <= found[0] <= found[1]
            assert found[0] < found[2] <= found[3]
    if all(job.needs == NEEDS for job in queue) and len(moments) % 2 == 0:
        assigned = [action.job_id for action in plan(seen, NOW) if isinstance(action, Assign)]
        assert [place.job_id for place in places if place.start_to == NOW] == assigned
