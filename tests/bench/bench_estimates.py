"""How honest the estimates of start and end are: simulated weeks, planned by plan() itself.

    python -m tests.bench.bench_estimates [--days 7] [--seed 1] [--only hours]

Teams submit by the rhythm of a day; how long runs take, who stops early and when a trainer is lost is drawn. At each submit
forecast_of() is asked, and compared with what happened. The ranges claim the middle six of ten: a coverage of 60 % is
honest, less promises too much, more says too little. Starts are those of jobs that were told to wait: of the others any
estimate is right. The baseline is what a queue's length gives: jobs ahead times the mean length of those that wait,
divided by the slots, in open time.
"""

from __future__ import annotations

import argparse
import statistics
from datetime import datetime, timedelta

import msgspec

from tests.bench.week import Week, World

WEEKS = [
    Week(name="plain"),
    Week(name="seldom busy", load=0.35),
    Week(name="often idle", load=0.6),
    Week(name="never empty", load=1.1),
    Week(name="many stop early", early=0.3),
    Week(name="nobody stops", early=0.0),
    Week(name="trainers get lost", lost=12),
    Week(name="paces differ", spread=0.25),
    Week(name="slots differ", memory=(8, 8, 24), large=0.2),
    Week(name="lab hours", hours="Mo-Fr 08:00-18:00; Sa 10:00-14:00"),
    Week(name="40 teams, 20 slots", teams=40, slots=(2,) * 10, memory=(24,) * 10),
    Week(name="3 teams, 1 slot", teams=3, slots=(1,), memory=(24,)),
]


def open_seconds(world: World, begin: datetime, seconds: float) -> datetime:
    """`seconds` of open time after `begin`."""
    at, left = begin, seconds
    while world.hours is not None:
        hours = world.hours.at(at)
        assert hours.until is not None
        if hours.open:
            room = (hours.until - at).total_seconds()
            if left <= room:
                break
            left -= room
        at = hours.until
    return at + timedelta(seconds=left)


def row(world: World) -> str:
    """Coverage of both ranges; how far off their middles were, beside the baseline's."""
    told = [(run, run.told) for run in world.ended if run.told is not None and run.told.end_to is not None]
    waited = [
        (run, place) for run, place in told if place.start_from is not None and place.start_from > run.submitted_at
    ]
    starts = [Range.of(place.start_from, place.start_to, run.first_start) for run, place in waited]
    ends = [Range.of(place.end_from, place.end_to, run.ended_at) for run, place in told]
    waits = [minutes(run.first_start, run.submitted_at) for run, _ in waited]
    plain = [abs(minutes(run.first_start, open_seconds(world, run.submitted_at, run.baseline))) for run, _ in waited]
    error = middle([one.error for one in starts])
    return (
        f"{world.week.name:21}{len(told):6}{len(waited):7}{middle(waits):6.0f}{share(starts, 'inside'):9.0%}"
        f"{share(starts, 'early'):6.0%}{share(starts, 'late'):6.0%}{middle([one.width for one in starts]):7.0f}{error:7.1f}"
        f"{middle(plain):9.1f}{error / max(0.1, middle(plain)):7.2f}{share(ends, 'inside'):9.0%}"
        f"{middle([one.error for one in ends]):7.1f}{1000 * middle(world.seconds):6.1f}"
    )


class Range(msgspec.Struct, frozen=True):
    """What was told and what happened; minutes."""

    where: str
    width: float
    error: float

    @staticmethod
    def of(begin: datetime | None, end: datetime | None, found: datetime | None) -> Range:
        assert begin is not None
        assert end is not None
        assert found is not None
        where = "early" if found < begin else "late" if found > end else "inside"
        return Range(where, minutes(end, begin), abs(minutes(found, begin + (end - begin) / 2)))


def share(ranges: list[Range], where: str) -> float:
    return sum(one.where == where for one in ranges) / max(1, len(ranges))


def minutes(end: datetime | None, begin: datetime) -> float:
    assert end is not None
    return (end - begin).total_seconds() / 60


def middle(values: list[float]) -> float:
    return statistics.median(values) if values else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Bench of the estimates.")
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name has this")
    arguments = parser.parse_args()
    print(f"{'':41}{'start':<48}{'end':<16}")
    print(
        f"{'':21}{'jobs':>6}{'waited':>7}{'min':>6}{'in range':>9}{'early':>6}{'late':>6}{'width':>7}{'error':>7}"
        f"{'baseline':>9}{'ratio':>7}{'in range':>9}{'error':>7}{'ms':>6}"
    )
    for week in WEEKS:
        if arguments.only in week.name:
            world = World(week, arguments.days, arguments.seed)
            world.play()
            print(row(world), flush=True)
    print("\nmedians, in minutes but for the last: what one forecast_of() took")


if __name__ == "__main__":
    main()
