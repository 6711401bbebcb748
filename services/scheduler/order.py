"""The order of the queue: who goes next, and why no team waits for ever.

Pure. Priority classes come first, then jobs that were interrupted, then teams by what they have had; within a team
first come, first served. The order is made as it is asked for: to find one job costs a look at each, but no more.

A team's standing is what it was charged lately, plus all that its running jobs take from their assignment to their
expected end, plus the expected time of its jobs that are ranked already. The lowest goes next.

The guard. With T competing teams (those with jobs that wait or run), S slots that could hold a team's first job and D
the longest expected job, the team's fair share is S / T and its fair wait ceil(T / S) * D. It is overdue if it holds
fewer of those slots than its share and has waited longer than its fair wait, counted from when the job came or when the
team was last given a slot, whichever is later. Overdue teams go before the ranking with one job each, whoever has
waited longest first.

Why that bounds the wait to two fair waits, with priorities and interruptions aside and jobs that end as expected: once
a team is overdue, only those pass it that have waited longer, each of them once, because being served makes their wait
begin anew: at most T - 1 of them. In each D every one of the S slots ends a job, so after ceil(T / S) * D at most it is
the team's turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from heapq import heapify, heappop, heapreplace
from operator import attrgetter

from services.scheduler.snapshot import Needs, Snapshot, Standing, WaitingJob, can_hold, takers

# The least that a job counts for: where no time is expected, teams take turns by the number of their jobs.
_LEAST_CHARGE = 60.0
_arrival = attrgetter("queued_at", "id")


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
    ledger = Ledger(snapshot, now)
    for _, (front, teams) in sorted(classes.items(), reverse=True):
        for job in sorted(front, key=_arrival):
            if fits(job):
                ledger.charge(job)
                yield job
        yield from _in_turn({team: _Line(line, fits) for team, line in teams.items()}, ledger)


class _Line:
    """A team's jobs, first come, first served."""

    def __init__(self, jobs: list[WaitingJob], fits: Callable[[WaitingJob], bool]) -> None:
        self._jobs = sorted(jobs, key=_arrival, reverse=True)
        self._fits = fits

    def head(self) -> WaitingJob | None:
        """The first job that fits, None where there is none."""
        jobs, fits = self._jobs, self._fits
        while jobs:
            if fits(jobs[-1]):
                return jobs[-1]
            jobs.pop()
        return None

    def drop(self) -> None:
        """Take the head out."""
        self._jobs.pop()


def _in_turn(lines: dict[str, _Line], ledger: Ledger) -> Iterator[WaitingJob]:
    """One class: overdue teams with one job each, then whoever has had least."""
    heads = {team: head for team, line in lines.items() if (head := line.head()) is not None}
    for _, team in sorted(ledger.overdue(heads.values())):
        job = lines[team].head()
        if job is not None:
            lines[team].drop()
            ledger.charge(job)
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
            yield job


class Ledger:
    """What teams have had, as far as this round knows, and what would be their due."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self._now = now
        self._standings = snapshot.standings
        self._served: set[str] = set()
        self._takers = takers(snapshot, now)
        self._slots: dict[Needs, tuple[int, set[str]]] = {}
        self._held: defaultdict[str, list[str]] = defaultdict(list)
        self.had: defaultdict[str, float] = defaultdict(float)
        for team, standing in snapshot.standings.items():
            self.had[team] = standing.usage_seconds
        longest = 0.0
        for active in snapshot.active:
            self._held[active.team].append(active.trainer)
            # What it has taken so far is charged only when it ends.
            whole = (now - active.assigned_at).total_seconds() + active.expected_seconds
            self.had[active.team] += max(_LEAST_CHARGE, whole)
            longest = max(longest, active.expected_seconds)
        self._longest = max(longest, max((job.expected_seconds for job in snapshot.waiting), default=0.0))
        self._teams = len({job.team for job in snapshot.waiting} | self._held.keys())

    def charge(self, job: WaitingJob) -> None:
        """The job gets a slot."""
        self.had[job.team] += max(_LEAST_CHARGE, job.expected_seconds)
        self._served.add(job.team)

    def overdue(self, heads: Iterable[WaitingJob]) -> Iterator[tuple[datetime, str]]:
        """(since when it waits, team) of those of the teams, given by their first jobs, that have waited too long."""
        for job in heads:
            served_at = self._standings.get(job.team, Standing()).served_at
            since = job.queued_at if served_at is None else max(job.queued_at, served_at)
            if job.team not in self._served and self._due(job, since):
                yield since, job.team

    def _due(self, job: WaitingJob, since: datetime) -> bool:
        slots, names = self._slots_for(job.needs)
        if slots == 0:
            return False
        held = sum(name in names for name in self._held.get(job.team, ()))
        fair_wait = timedelta(seconds=-(-self._teams // slots) * self._longest)
        return held * self._teams < slots and self._now - since > fair_wait

    def _slots_for(self, needs: Needs) -> tuple[int, set[str]]:
        if needs not in self._slots:
            able = [trainer for trainer in self._takers if can_hold(trainer, needs)]
            self._slots[needs] = sum(trainer.slots for trainer in able), {trainer.id for trainer in able}
        return self._slots[needs]
