"""Numbers, times and names as people read them."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli import figures
from services.cli.names import resolve
from shared.contract.errors import NotFound, UserError
from shared.contract.jobs import JobState
from shared.contract.views import QueuePlace
from tests.support.answers import NOW, finished_job, job_view, place, progress_at


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (-3, "0:00"), (59.99, "0:59"), (873, "14:33"), (3723.9, "1:02:03")]
)
def test_duration_never_rounds_up(seconds: float, shown: str) -> None:
    assert figures.duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (20, "under a minute"),
        (40, "about 1 min"),
        (720, "about 12 min"),
        (7200, "about 2 h"),
        (7500, "about 2 h 5 min"),
    ],
)
def test_roughly(seconds: float, shown: str) -> None:
    assert figures.roughly(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (18_400_000, "18.4 MB"), (123_456_789, "123 MB"), (5e15, "5000 TB")],
)
def test_size(number: float, shown: str) -> None:
    assert figures.size(number) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.000123, "1.2e-04"), (0.41236, "0.412"), (12.5, "12.5"), (4100, "4,100")]
)
def test_metric(value: float, shown: str) -> None:
    assert figures.metric(value) == shown


def test_a_metric_of_what_does_not_exist_is_a_dash() -> None:
    assert [figures.precision(value) for value in (None, -1.0, 0.0, 0.41249)] == ["–", "–", "0.000", "0.412"]


def test_counts_and_places() -> None:
    assert [figures.count(n, "step") for n in (1, 4100)] == ["1 step", "4,100 steps"]
    assert figures.count(2, "box", "boxes") == "2 boxes"
    assert [figures.ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th",
    ]  # fmt: skip
    assert figures.minutes(35_215) == "586 min"
    assert figures.state_name(JobState.STOP_REQUESTED) == "STOP REQUESTED"


def test_a_clock_shows_the_day_where_it_is_another() -> None:
    assert figures.clock(NOW, NOW) == f"{NOW.astimezone():%H:%M}"
    assert "2026" in figures.clock(NOW + timedelta(days=3), NOW)


def test_the_place_in_the_queue() -> None:
    at = [NOW + timedelta(minutes=n) for n in (5, 10)]
    first, last = (f"{moment.astimezone():%H:%M}" for moment in at)
    place = QueuePlace(job_id="1", position=2)
    assert figures.place_in_queue(place, NOW) == "2nd in line"
    place = msgspec.structs.replace(place, position=1, start_from=at[0], start_to=at[1])
    assert figures.place_in_queue(place, NOW) == f"next in line, starts between {first} and {last}"
    assert figures.span(at[0], None, NOW) == figures.span(None, at[0], NOW) == f"about {first}"
    assert figures.span(NOW, at[0], at[0]) == "any moment"
    assert figures.span(at[0], at[0], NOW) == f"about {first}"


def test_the_end_is_told_with_the_start() -> None:
    told = figures.place_in_queue(place(1), NOW)
    assert told.startswith("next in line, starts between ")
    assert ", ends between " in told
    no_start = msgspec.structs.replace(place(1), start_from=None, start_to=None)
    assert figures.place_in_queue(no_start, NOW).startswith("next in line, ends between ")


def test_spans_of_tables() -> None:
    at = NOW.astimezone().replace(hour=12, minute=0)
    later, tomorrow = at + timedelta(minutes=20), at + timedelta(days=1)
    assert figures.brief_span(None, None, at) == "–"
    assert figures.brief_span(at, None, at) == figures.brief_span(None, at, at) == "12:00"
    assert figures.brief_span(at, later, at) == "12:00–12:20"
    assert figures.brief_span(at, later, later) == "now"
    assert figures.brief_span(at, tomorrow, at) == f"12:00–{tomorrow.day} {tomorrow:%b} 12:00"
    day = f"{tomorrow.day} {tomorrow:%b}"
    assert figures.brief_span(tomorrow, tomorrow, at) == f"{day} 12:00"
    assert figures.brief_span(tomorrow, tomorrow + timedelta(minutes=20), at) == f"{day} 12:00–12:20"


def test_labels_shares_parts() -> None:
    assert figures.labels({"pool": "lab", "gpu": "a100"}) == "gpu=a100, pool=lab"
    assert [figures.share(value) for value in (0, 0.004, 0.874, 1)] == ["0%", "0%", "87%", "100%"]
    assert figures.part_of(10.2e9, 24e9) == "10.2/24.0 GB"
    assert figures.part_of(4e8, 24e9) == "400 MB/24.0 GB"
    assert figures.part_of(None, 24e9) == "24.0 GB"


def test_training_time_ticks_only_while_steps_are_made() -> None:
    now = NOW + timedelta(seconds=90)
    running = job_view(state=JobState.RUNNING, running_since=NOW, stepping_seconds_before=30.0)
    assert figures.training_seconds(running, now) == 120
    assert figures.training_seconds(running, NOW - timedelta(seconds=5)) == 30
    assert figures.training_seconds(job_view(stepping_seconds_before=30.0), now) == 30
    assert figures.training_seconds(finished_job(), now) == 185
    # The trainer's own word goes first, and an evaluation doesn't count.
    running = job_view(state=JobState.RUNNING, attempt=1, running_since=NOW, stepping_seconds_before=30.0)
    told = progress_at(50)
    assert figures.training_seconds(running, told.at + timedelta(seconds=1), told) == 51
    assert figures.training_seconds(running, told.at + timedelta(seconds=60), told) == 52
    assert figures.training_seconds(running, now, progress_at(50, attempt=7)) == 120


def test_steps_are_those_of_the_attempt_that_holds_the_job() -> None:
    running = job_view(state=JobState.RUNNING, attempt=2, steps_completed=100)
    assert figures.steps_made(running, None) == 100
    assert figures.steps_made(running, progress_at(150, attempt=2)) == 150
    assert figures.steps_made(running, progress_at(190, attempt=1)) == 100
    assert figures.steps_made(running, progress_at(50, attempt=2)) == 100
    assert figures.steps_made(finished_job(), progress_at(299)) == 300


def test_time_left_is_known_only_while_it_moves() -> None:
    running = job_view(state=JobState.RUNNING, attempt=1)
    assert figures.seconds_left(running, progress_at(150)) == 100
    assert figures.seconds_left(running, msgspec.structs.replace(progress_at(150), steps_per_second=0.0)) is None
    assert figures.seconds_left(running, None) is None
    assert figures.seconds_left(job_view(), progress_at(150)) is None


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert figures.plain("a\x1b[2Jb\r\n\u202ec") == "a�[2Jb���c"
    assert figures.plain("Bälle 🟡 “x”") == "Bälle 🟡 “x”"


@given(st.sets(st.text("0123456789abcdef", min_size=32, max_size=32), max_size=20))
def test_short_ids_are_found_again(identifiers: set[str]) -> None:
    for identifier, short in figures.short_ids(identifiers).items():
        assert len(short) >= 8
        assert resolve(short, identifiers, "job") == identifier


def test_short_ids_grow_where_they_have_to() -> None:
    assert figures.short_ids(["a" * 32, "a" * 10 + "b" * 22]) == {
        "a" * 32: "a" * 11,
        "a" * 10 + "b" * 22: "a" * 10 + "b",
    }


def test_an_id_that_nothing_or_too_much_begins_with() -> None:
    known = ["ab1", "ab2", "c"]
    assert resolve("C", known, "job") == "c"
    assert resolve("ab1", known, "job") == "ab1"
    for nothing in ("x", ""):
        with pytest.raises(NotFound):
            resolve(nothing, known, "job")
    with pytest.raises(UserError, match="ab1, ab2") as caught:
        resolve("ab", known, "job")
    assert caught.value.code == "ambiguous_id"
