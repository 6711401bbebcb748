"""No team waits more than twice its fair wait while others hold the slots that it could use: random histories."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.plan import ActiveJob, Assign, Needs, Snapshot, Standing, WaitingJob, plan
from tests.unit.scheduler.samples import after, trainer

LONGEST = 100
ANY = Needs(accelerator="cpu", memory_bytes=1 << 30)
LARGE = Needs(accelerator="cpu", memory_bytes=32 << 30)


class Arrival(msgspec.Struct, frozen=True):
    """A job that comes `at` so many seconds and takes `seconds`."""

    team: int
    at: int
    seconds: int


class History(msgspec.Struct, frozen=True):
    """What happens: jobs, what each team had before and what kind of slot it needs, and the slots: how many are large."""

    arrivals: list[Arrival]
    usage: list[int]
    needs: list[Needs]
    small: int
    large: int


class Wait(msgspec.Struct):
    """A team's wait: since when, and the most that its fair wait has been meanwhile."""

    since: datetime
    fair: int = 0


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Streams of jobs, so that slots are seldom idle, and teams that come once in a while."""
    teams = draw(st.integers(2, 5))
    arrivals = []
    for team in range(teams):
        jobs = draw(st.sampled_from([1, 2, 12]))
        begin, every = draw(st.integers(0, 4 * LONGEST)), draw(st.integers(0, LONGEST))
        seconds = draw(st.lists(st.integers(1, LONGEST), min_size=jobs, max_size=jobs))
        arrivals += [Arrival(team, begin + number * every, length) for number, length in enumerate(seconds)]
    return History(
        arrivals,
        usage=draw(st.lists(st.sampled_from([0, LONGEST, 1000 * LONGEST]), min_size=teams, max_size=teams)),
        needs=draw(st.lists(st.sampled_from([ANY, ANY, LARGE]), min_size=teams, max_size=teams)),
        small=draw(st.integers(0, 2)),
        large=draw(st.integers(1, 2)),
    )


class World:
    """Plays a history; `waited` are all waits that came to an end, with the fair wait of their teams, in seconds."""

    def __init__(self, history: History) -> None:
        self.needs = history.needs
        self.usage = [float(usage) for usage in history.usage]
        self.served: dict[int, datetime] = {}
        self.trainers = [trainer(f"small-{number}", memory_bytes=8 << 30) for number in range(history.small)]
        self.trainers += [trainer(f"large-{number}", memory_bytes=64 << 30) for number in range(history.large)]
        self.queue: dict[str, WaitingJob] = {}
        self.active: dict[str, tuple[int, datetime, datetime, str]] = {}
        self.waits: dict[int, Wait] = {}
        self.waited: list[tuple[float, int]] = []
        self.events = [(arrival.at, index, arrival) for index, arrival in enumerate(history.arrivals)]

    def play(self) -> list[tuple[float, int]]:
        events: list[tuple[int, int, Arrival | str]] = list(self.events)
        heapify(events)
        while events:
            at, index, event = heappop(events)
            now = after(at)
            if isinstance(event, Arrival):
                self.queue[f"{event.team}-{index}"] = WaitingJob(
                    id=f"{event.team}-{index}",
                    team=str(event.team),
                    queued_at=now,
                    needs=self.needs[event.team],
                    expected_seconds=event.seconds,
                )
            else:
                team, begun, end, _ = self.active.pop(event)
                self.usage[team] += (end - begun).total_seconds()
            self.note(now)
            for action in plan(self.snapshot(now), now):
                assert isinstance(action, Assign)
                job = self.queue.pop(action.job_id)
                team, seconds = int(job.team), int(job.expected_seconds)
                self.active[job.id] = team, now, now + timedelta(seconds=seconds), action.trainer
                self.served[team] = now
                wait = self.waits.pop(team, None)
                if wait is not None:
                    self.waited.append(((now - wait.since).total_seconds(), wait.fair))
                heappush(events, (at + seconds, index, job.id))
            self.note(now)
        assert not self.queue
        return self.waited

    def note(self, now: datetime) -> None:
        """Which teams wait though they hold less than their share of the slots that they could use."""
        competing = {int(job.team) for job in self.queue.values()} | {team for team, *_ in self.active.values()}
        for team in range(len(self.needs)):
            queued = [job.queued_at for job in self.queue.values() if int(job.team) == team]
            able = {one.id for one in self.trainers if one.memory_bytes >= self.needs[team].memory_bytes}
            held = sum(holder == team and name in able for holder, _, _, name in self.active.values())
            if not queued or held * len(competing) >= len(able):
                self.waits.pop(team, None)
                continue
            wait = self.waits.setdefault(team, Wait(since=now))
            wait.fair = max(wait.fair, -(-len(competing) // len(able)) * LONGEST)

    def snapshot(self, now: datetime) -> Snapshot:
        return Snapshot(
            waiting=list(self.queue.values()),
            active=[
                ActiveJob(
                    id=job_id,
                    team=str(team),
                    trainer=name,
                    attempt=1,
                    assigned_at=begun,
                    expected_seconds=(end - now).total_seconds(),
                )
                for job_id, (team, begun, end, name) in self.active.items()
            ],
            # Heard just now: the trainers are not what is tested here.
            trainers=[msgspec.structs.replace(one, seen_at=now) for one in self.trainers],
            listening_since=now,
            lease=timedelta(seconds=25),
            standings={
                str(team): Standing(usage_seconds=usage, served_at=self.served.get(team))
                for team, usage in enumerate(self.usage)
            },
        )


@given(histories())
@settings(max_examples=300, deadline=None)
def test_no_team_waits_more_than_twice_its_fair_wait(history: History) -> None:
    for seconds, fair in World(history).play():
        assert seconds <= 2 * fair


def test_a_team_that_had_much_is_served_though_others_with_less_keep_coming() -> None:
    arrivals = [Arrival(team, 10 * number, 50) for number in range(40) for team in (1, 2)] + [Arrival(0, 5, 50)]
    world = World(History(arrivals, usage=[10**6, 0, 0], needs=[ANY] * 3, small=0, large=1))
    waited = Counter(seconds for seconds, _ in world.play())
    assert max(waited) <= 2 * 3 * 50
