"""The order of the queue: who goes next, and why no team waits for ever.

Pure. Priority classes come first, then jobs that were interrupted, then teams by what they have had; within a team
first come, first served. The order is made as it is asked for: to find one job costs a look at each, but no more.

A team's standing is what it was charged lately, plus all that its running jobs take from their assignment to their
expected end, plus the expected time of its jobs that are ranked already. The lowest goes next.

The guard. Slots that differ are claimed apart: a team's jobs that the same trainers could hold are one claim. Of a claim on S
slots, let P be the claims of all teams on any of these slots (a team that only runs a job there counts as one), T the teams
among them and D the longest job expected there. The team's fair share is S / T and the claim's fair wait ceil(P / S) * D.
The claim is overdue if the team holds fewer of those slots than its share and has waited longer than the fair wait, counted
from when the job came or when the team was last given a slot for this claim, whichever is later: what it gets elsewhere
doesn't help a job that can't run there. Overdue claims go before the ranking with one job each, whichever has waited longest
first.

Why that bounds the wait to two fair waits, with priorities and interruptions aside and jobs that end as expected: once
a claim is overdue, only those pass it that have waited longer, each of them once, because being served makes their wait
begin anew: at most P - 1 of them. In each D every one of the S slots ends a job, so after ceil(P / S) * D at most it is
the claim's turn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from heapq import heapify, heappop, heapreplace
from operator import attrgetter
from typing import NamedTuple

from services.scheduler.snapshot import Needs, Snapshot, WaitingJob, can_hold, takers

# The least that a job counts for: where no time is expected, teams take turns by the number of their jobs.
_LEAST_CHARGE = 60.0
_arrival = attrgetter("queued_at", "id")

# The trainers that can hold a job: jobs with the same ones are alike for the guard, whatever their needs.
Pool = frozenset[str]


def in_order(snapshot: Snapshot, now: datetime) -> list[WaitingJob]:
    """The whole queue, as if slots that can hold any job came free one after another. Where slots differ, plan() passes over
    what the free ones can't hold, and a team's later jobs may go earlier than here."""
    return list(ranked(snapshot.waiting, snapshot, now, lambda _: True))


def ranked(
    jobs: Iterable[WaitingJob], snapshot: Snapshot, now: datetime, fits: Callable[[WaitingJob], bool]
) -> Iterator[WaitingJob]:
    """Those of `jobs` that fit, each in its turn. `fits` is asked at the moment of that turn; a job that doesn't fit
    then is passed over for good and counts for nothing, so that a team doesn't pay for what it can't be given.
    """
    classes: dict[int, tuple[list[WaitingJob], defaultdict[str, list[WaitingJob]]]] = {}
    for job in jobs:
        group = classes.get(job.priority)
        if group is None:
            group = classes[job.priority] = ([], defaultdict(list))
        if job.front:
            group[0].append(job)
        else:
            group[1][job.team].append(job)
    if not classes:
        return
    ledger, guard = Ledger(snapshot, now), _Guard(snapshot, now)
    for _, (front, teams) in sorted(classes.items(), reverse=True):
        for job in sorted(front, key=_arrival):
            if fits(job):
                ledger.charge(job)
                guard.serve(job)
                yield job
        yield from _in_turn({team: _Line(line, fits) for team, line in teams.items()}, ledger, guard)


class _Line:
    """A team's jobs, first come, first served."""

    def __init__(self, jobs: list[WaitingJob], fits: Callable[[WaitingJob], bool]) -> None:
        self._jobs = sorted(jobs, key=_arrival, reverse=True)
        self._fits = fits
        self._taken: set[str] = set()

    def head(self) -> WaitingJob | None:
        """The first job that fits, None where there is none."""
        jobs, fits, taken = self._jobs, self._fits, self._taken
        while jobs:
            if jobs[-1].id not in taken and fits(jobs[-1]):
                return jobs[-1]
            jobs.pop()
        return None

    def drop(self) -> None:
        """Take the head out."""
        self._jobs.pop()

    def firsts(self) -> list[WaitingJob]:
        """The first job of each kind of needs that fits."""
        found: dict[Needs, WaitingJob] = {}
        for job in reversed(self._jobs):
            if job.needs not in found and self._fits(job):
                found[job.needs] = job
        return list(found.values())

    def take_for(self, pool: Pool, guard: _Guard) -> WaitingJob | None:
        """Take out the first job that only these trainers can hold and that fits, None where there is none."""
        for job in reversed(self._jobs):
            if guard.pool(job.needs) is pool and job.id not in self._taken and self._fits(job):
                self._taken.add(job.id)
                return job
        return None


def _in_turn(lines: dict[str, _Line], ledger: Ledger, guard: _Guard) -> Iterator[WaitingJob]:
    """One class: overdue claims with one job each, then whoever has had least."""
    for _, team, _, pool in guard.overdue(job for line in lines.values() for job in line.firsts()):
        job = lines[team].take_for(pool, guard)
        if job is not None:
            ledger.charge(job)
            guard.serve(job)
            yield job
    had = ledger.had
    heap = [(had[team], head.queued_at, team) for team, line in lines.items() if (head := line.head()) is not None]
    heapify(heap)
    while heap:
        team = heap[0][2]
        line = lines[team]
        job = line.head()
        if job is None:
            heappop(heap)
        elif heap[0] != (had[team], job.queued_at, team):
            # Its head was passed over, or slots that it fitted are taken: it competes with the next.
            heapreplace(heap, (had[team], job.queued_at, team))
        else:
            line.drop()
            ledger.charge(job)
            guard.serve(job)
            yield job


class Ledger:
    """What teams have had, as far as this round knows."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self.had: defaultdict[str, float] = defaultdict(float)
        for team, standing in snapshot.standings.items():
            self.had[team] = standing.usage_seconds
        for active in snapshot.active:
            # What it has taken so far is charged only when it ends.
            whole = (now - active.assigned_at).total_seconds() + active.expected_seconds
            self.had[active.team] += max(_LEAST_CHARGE, whole)

    def charge(self, job: WaitingJob) -> None:
        """The job gets a slot."""
        self.had[job.team] += max(_LEAST_CHARGE, job.expected_seconds)


@dataclass
class _Demand:
    """Who waits for the same trainers, and the longest of these jobs."""

    teams: set[str] = field(default_factory=set)
    longest: float = 0.0


class _Rival(NamedTuple):
    """What a claim competes with: the number of slots that could hold it, T, and its fair wait."""

    slots: int
    teams: int
    fair_wait: timedelta


class _Guard:
    """Which claims are overdue: see the module."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self._snapshot = snapshot
        self._now = now
        self._takers = takers(snapshot, now)
        self._pools: dict[Needs, Pool] = {}
        self._known: dict[Pool, Pool] = {}
        self._served: set[tuple[str, Pool]] = set()
        self._rivals: dict[Pool, _Rival] = {}

    def pool(self, needs: Needs) -> Pool:
        """The trainers that can hold these needs; the same object for the same trainers."""
        found = self._pools.get(needs)
        if found is None:
            pool = frozenset(one.id for one in self._takers if one.slots and can_hold(one, needs))
            # One object for equal ones: then they are compared in no time.
            found = self._pools[needs] = self._known.setdefault(pool, pool)
        return found

    def serve(self, job: WaitingJob) -> None:
        """The job gets a slot: its claim is not overdue in this round."""
        self._served.add((job.team, self.pool(job.needs)))

    def overdue(self, firsts: Iterable[WaitingJob]) -> list[tuple[datetime, str, str, Pool]]:
        """(since when it waits, team, that job, its trainers) of each claim, given by its first jobs, that has waited too
        long: whichever has waited longest comes first."""
        found: dict[tuple[str, Pool], tuple[datetime, str, str, Pool]] = {}
        for job in firsts:
            pool = self.pool(job.needs)
            claim = job.team, pool
            if not pool or claim in self._served:
                continue
            entry = self._since(job, pool), job.team, job.id, pool
            if self._due(job.team, pool, entry[0]) and (claim not in found or entry < found[claim]):
                found[claim] = entry
        return sorted(found.values())

    def _since(self, job: WaitingJob, pool: Pool) -> datetime:
        standing = self._snapshot.standings.get(job.team)
        served = () if standing is None else standing.served.items()
        return max([job.queued_at, *(at for needs, at in served if self.pool(needs) is pool)])

    def _due(self, team: str, pool: Pool, since: datetime) -> bool:
        slots, teams, fair_wait = self._rival(pool)
        if self._now - since <= fair_wait:
            return False
        held = self._held.get(team)
        return held is None or sum(count for name, count in held.items() if name in pool) * teams < slots

    def _rival(self, pool: Pool) -> _Rival:
        if pool not in self._rivals:
            slots = sum(one.slots for one in self._takers if one.id in pool)
            meeting = [demand for other, demand in self._demands.items() if not other.isdisjoint(pool)]
            waiting = set().union(*(demand.teams for demand in meeting))
            running = [active for active in self._snapshot.active if active.trainer in pool]
            teams = waiting | {active.team for active in running}
            claims = sum(len(demand.teams) for demand in meeting) + len(teams) - len(waiting)
            longest = max(
                [*(demand.longest for demand in meeting), *(active.expected_seconds for active in running)], default=0.0
            )
            fair_wait = timedelta(seconds=-(-claims // slots) * longest)
            self._rivals[pool] = _Rival(slots, len(teams), fair_wait)
        return self._rivals[pool]

    @cached_property
    def _demands(self) -> dict[Pool, _Demand]:
        demands: defaultdict[Pool, _Demand] = defaultdict(_Demand)
        kinds: dict[Needs, _Demand] = {}
        for job in self._snapshot.waiting:
            demand = kinds.get(job.needs)
            if demand is None:
                demand = kinds[job.needs] = demands[self.pool(job.needs)]
            demand.teams.add(job.team)
            demand.longest = max(demand.longest, job.expected_seconds)
        return demands

    @cached_property
    def _held(self) -> dict[str, Counter[str]]:
        held: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for active in self._snapshot.active:
            held[active.team][active.trainer] += 1
        return held
