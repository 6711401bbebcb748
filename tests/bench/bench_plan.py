"""What a round of plan() costs, by the length of the queue, beside sorting that queue once.

    python -m tests.bench.bench_plan [--queued 100 1000 10000 100000] [--teams 200] [--slots 500]

The baseline is the least that a queue can cost a scheduler which knows no teams and no needs: one sort by priority and time
of arrival. Each figure is the median of several rounds, in processor time.
Slots that aren't free are taken by running jobs. Of "mixed needs" there are four kinds, and slots for each; "hopeless" is a
queue in which no job could use the slot that is free.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil
from operator import attrgetter

from services.scheduler.plan import ActiveJob, Needs, Snapshot, Standing, Trainer, WaitingJob, in_order, plan

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GB = 1 << 30
KINDS = [
    Needs(accelerator="gpu", memory_bytes=4 * GB),
    Needs(accelerator="gpu", memory_bytes=12 * GB),
    Needs(accelerator="cpu", memory_bytes=2 * GB),
    Needs(accelerator="gpu", memory_bytes=4 * GB, labels=(("camera", "yes"),)),
]
# By name: kinds of needs, whether slots differ, and the share of them that is free (a small one: a single slot).
CASES = {
    "one slot freed": (KINDS[:1], False, 0.001),
    "all slots free": (KINDS[:1], False, 1.0),
    "all busy": (KINDS[:1], False, 0.0),
    "mixed needs, half free": (KINDS, True, 0.5),
    "mixed needs, one freed": (KINDS, True, 0.001),
    "one slot, hopeless": (KINDS[1:2], False, 0.001),
}


def queue(count: int, teams: int, kinds: list[Needs], chance: random.Random) -> list[WaitingJob]:
    return [
        WaitingJob(
            id=f"{chance.getrandbits(64):016x}",
            team=f"team-{min(chance.randrange(teams), chance.randrange(teams))}",
            queued_at=NOW - timedelta(seconds=count - number + chance.random() * 60),
            needs=chance.choice(kinds),
            front=chance.random() < 0.01,
            priority=int(chance.random() < 0.01),
            expected_seconds=chance.lognormvariate(7, 0.6),
        )
        for number in range(count)
    ]


def trainers(slots: int, *, mixed: bool) -> list[Trainer]:
    return [
        Trainer(
            id=f"trainer-{number:03}",
            slots=1,
            accelerator="cpu" if mixed and number % 4 == 2 else "gpu",
            device="",
            memory_bytes=(16 if mixed and number % 4 == 1 else 8) * GB,
            labels={"camera": "yes"} if mixed and number % 4 == 3 else {},
            seen_at=NOW,
        )
        for number in range(slots)
    ]


def busy(slots: list[Trainer], count: int, teams: int, chance: random.Random) -> list[ActiveJob]:
    return [
        ActiveJob(
            id=f"active-{number}",
            team=f"team-{chance.randrange(teams)}",
            trainer=trainer.id,
            attempt=1,
            assigned_at=NOW - timedelta(seconds=10),
            expected_seconds=chance.lognormvariate(7, 0.6),
        )
        for number, trainer in enumerate(chance.sample(slots, count))
    ]


def milliseconds(call: Callable[[], object]) -> float:
    """The median of some calls."""
    found = []
    for _ in range(7):
        begun = time.process_time()
        call()
        found.append(1000 * (time.process_time() - begun))
    return statistics.median(found)


def snapshot(waiting: list[WaitingJob], machines: list[Trainer], active: list[ActiveJob], teams: int) -> Snapshot:
    chance = random.Random(teams)
    return Snapshot(
        waiting=waiting,
        active=active,
        trainers=machines,
        listening_since=NOW,
        lease=timedelta(seconds=25),
        standings={
            f"team-{number}": Standing(
                usage_seconds=chance.lognormvariate(8, 1), served=dict.fromkeys(KINDS, NOW - timedelta(hours=1))
            )
            for number in range(teams)
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Bench of planning.")
    parser.add_argument("--queued", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--teams", type=int, default=200)
    parser.add_argument("--slots", type=int, default=500)
    arguments = parser.parse_args()
    chance, teams, slots = random.Random(1), arguments.teams, arguments.slots
    rows: dict[str, list[float]] = {name: [] for name in ("baseline: one sort", *CASES, "in_order(), all")}
    for count in arguments.queued:
        for name, (kinds, mixed, idle) in CASES.items():
            machines = trainers(slots, mixed=mixed)
            active = busy(machines, slots - ceil(slots * idle), teams, chance)
            seen = snapshot(queue(count, teams, kinds, chance), machines, active, teams)
            rows[name].append(milliseconds(partial(plan, seen, NOW)))
        jobs = seen.waiting
        rows["baseline: one sort"].append(milliseconds(partial(sorted, jobs, key=attrgetter("priority", "queued_at"))))
        rows["in_order(), all"].append(milliseconds(partial(in_order, seen, NOW)))
    print(f"{teams} teams, {slots} slots: milliseconds a round, and the ratio to one sort of such a queue\n")
    print(f"{'queued':24}" + "".join(f"{count:>18}" for count in arguments.queued))
    for name, found in rows.items():
        cells = zip(found, rows["baseline: one sort"], strict=True)
        print(f"{name:24}" + "".join(f"{took:10.2f}{took / sort:8.2f}" for took, sort in cells))


if __name__ == "__main__":
    main()
