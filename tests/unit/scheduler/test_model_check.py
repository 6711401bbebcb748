"""Every state of a job and of whoever holds it that a small world can get into: the laws hold in all of them, from all of
them there is a way to an end, and without any one of the guards some law is broken.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

import pytest
from msgspec.structs import replace

from services.scheduler import domain, facts, orders
from services.scheduler.domain import Change, Job
from shared.contract import jobs
from shared.contract.errors import Stale
from shared.contract.events import TrainingCheckpointed, TrainingEnded
from shared.contract.jobs import ASSIGNED, TERMINAL, TRANSITIONS, JobState, Situation, Trigger
from shared.contract.views import JobView
from tests.unit.scheduler.laws import STOPPED_SOON, Broken
from tests.unit.scheduler.model import Bounds, Guard, State, World


@pytest.fixture(autouse=True)
def _uncollected() -> Iterator[None]:
    """States are hundreds of thousands of tuples without a cycle: to look for one in them is a quarter of the time."""
    gc.disable()
    yield
    gc.enable()


@dataclass
class Explored:
    """What a search has seen: states in the order in which they were reached, where each was reached from, and from where
    it may come about by itself."""

    world: World
    states: list[State] = field(default_factory=list)
    came: list[tuple[int, tuple[object, ...]]] = field(default_factory=list)
    healed: list[list[int]] = field(default_factory=list)
    moves: int = 0
    broken: str = ""

    def story(self, number: int) -> list[str]:
        """The moves that lead to a state."""
        told: list[str] = []
        while number > 0:
            number, name = self.came[number]
            told.append(" ".join(map(str, name)))
        return told[::-1]

    def stuck(self) -> list[int]:
        """States from which no end comes about by itself: one where the job is over and nobody holds it. A job that
        waits with all the attempts of these bounds used goes on beyond them."""
        jobs, bounds = self.world.jobs, self.world.bounds
        free = {number for number, trainer in enumerate(self.world.trainers) if trainer.held is None}
        reached = bytearray(len(self.states))
        waiting: deque[int] = deque()
        for number, state in enumerate(self.states):
            view = jobs[state.job].view
            beyond = view.state is JobState.QUEUED and view.attempt == bounds.attempts
            if (view.state in TERMINAL or beyond) and free.issuperset(state.trainers):
                reached[number] = 1
                waiting.append(number)
        while waiting:
            for number in self.healed[waiting.popleft()]:
                if not reached[number]:
                    reached[number] = 1
                    waiting.append(number)
        return [number for number, found in enumerate(reached) if not found]


def explore(world: World) -> Explored:
    """Breadth first, so that what breaks a law is told in the fewest moves; the search ends there."""
    first = world.first()
    seen = Explored(world, [first], [(-1, ())], [[]])
    known = {first: 0}
    number = 0
    while number < len(seen.states):
        try:
            for name, state, heals in world.moves(seen.states[number]):
                world.trying = name
                seen.moves += 1
                found = known.setdefault(state, len(seen.states))
                if found == len(seen.states):
                    seen.states.append(state)
                    seen.came.append((number, name))
                    seen.healed.append([])
                    world.check(state)
                if heals:
                    seen.healed[found].append(number)
        except Broken as error:
            seen.broken = "\n".join([*seen.story(number), " ".join(map(str, world.trying)), f"-> {error}"])
            return seen
        number += 1
    return seen


WORLDS = [
    ("three trainers, three attempts", Bounds(trainers=3, attempts=3, steps=1), 60_000),
    ("two checkpoints, one of which may be damaged", Bounds(damages=True), 30_000),
    ("runs that fail, diverge or take too long", Bounds(failures=True, steps=1), 7_000),
    ("a lab that closes, and trainers that don't answer", Bounds(pauses=True, steps=1), 40_000),
    ("two schedulers", Bounds(rivals=True, steps=1), 9_000),
    ("a decision that lies about", Bounds(slow=True, steps=1), 8_000),
    ("two schedulers and a decision that lies about", Bounds(slow=True, rivals=True, trainers=1, steps=1), 5_500),
]


@pytest.mark.parametrize(("bounds", "least"), [pytest.param(*rest, id=name) for name, *rest in WORLDS])
def test_the_laws_hold_in_every_state_and_an_end_is_never_far(bounds: Bounds, least: int) -> None:
    seen = explore(World(bounds))
    assert not seen.broken, f"\n{seen.broken}"
    print(f"{len(seen.states):,} states, {seen.moves:,} moves, {len(seen.world.jobs):,} different jobs")
    # A world that has shrunk would prove little.
    assert len(seen.states) > least
    reached = {seen.world.jobs[state.job].view.state for state in seen.states}
    assert reached == set(JobState) - {JobState.TRY_AGAIN_LATER, JobState.STATE_UNSPECIFIED}
    stuck = seen.stuck()
    assert not stuck, "\n".join(["no end comes after:", *seen.story(stuck[0])])
    assert not seen.world.wrongly_forgotten()


# --- without one guard each ----------------------------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def nothing(_: pytest.MonkeyPatch) -> None:
    """The guard is the model's to switch off."""


def no_look_at_the_attempt(patch: pytest.MonkeyPatch) -> None:
    def fence(job: Job, attempt: int) -> None:
        if job.view.state not in ASSIGNED:
            raise Stale("no trainer holds it")

    patch.setattr(facts, "fence", fence)


def no_look_at_whether_a_trainer_holds_it(patch: pytest.MonkeyPatch) -> None:
    def fence(job: Job, attempt: int) -> None:
        if job.view.attempt != attempt:
            raise Stale("another attempt")

    patch.setattr(facts, "fence", fence)


def no_look_at_the_table(patch: pytest.MonkeyPatch) -> None:
    def through(job: Job, path: tuple[Trigger, ...], *, attempts_left: bool = True) -> JobView:
        try:
            return domain.through(job, path, attempts_left=attempts_left)
        except Stale:
            return replace(job.view, state=next(row.target for row in TRANSITIONS if row.trigger is path[-1]))

    patch.setattr(facts, "through", through)


def a_table_that_lets_a_stopped_job_wait_again(patch: pytest.MonkeyPatch) -> None:
    def step(state: JobState, trigger: Trigger, situation: Situation) -> JobState:
        after = jobs.step(state, trigger, situation)
        return JobState.QUEUED if trigger is Trigger.LOST and state in STOPPED_SOON else after

    patch.setattr("services.scheduler.domain.step", step)


def no_look_at_whether_it_was_answered(patch: pytest.MonkeyPatch) -> None:
    real = orders.enforce

    def enforce(job: Job, attempt: int, now: datetime, *, term: int = 0, seen: int | None = None) -> Change:
        return real(replace(job, answered=False), attempt, now, term=term, seen=seen)

    patch.setattr(orders, "enforce", enforce)


def no_look_at_the_last_checkpoint(patch: pytest.MonkeyPatch) -> None:
    real = facts.checkpointed

    def checkpointed(job: Job, attempt: int, fact: TrainingCheckpointed) -> Change:
        return real(replace(job, view=replace(job.view, checkpoint=None)), attempt, fact)

    patch.setattr(facts, "checkpointed", checkpointed)


def no_wait_for_the_checkpoint_that_an_end_counts_on(patch: pytest.MonkeyPatch) -> None:
    real = facts.ended

    def ended(job: Job, attempt: int, fact: TrainingEnded, now: datetime) -> Change:
        return real(job, attempt, replace(fact, checkpoint_step=0, checkpoint_prefix=None), now)

    patch.setattr(facts, "ended", ended)


def no_look_at_the_checkpoint_that_an_end_names(patch: pytest.MonkeyPatch) -> None:
    real = facts.ended

    def ended(job: Job, attempt: int, fact: TrainingEnded, now: datetime) -> Change:
        return real(job, attempt, replace(fact, checkpoint_prefix=None), now)

    patch.setattr(facts, "ended", ended)


@dataclass(frozen=True)
class Missing:
    """A guard that isn't there, and what breaks: a part of the law's words."""

    breaks: str
    patch: Patch = nothing
    without: tuple[Guard, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)


STATES: Guard = "states"
GIVEN_UP = "lost and still makes steps"
ALONE = Bounds(slow=True, trainers=1)
MISSING = {
    "the attempt in the fence": Missing("was heard in attempt", no_look_at_the_attempt),
    "the state in the fence": Missing("was heard of a job that is", no_look_at_whether_a_trainer_holds_it),
    "the table": Missing("counts twice", no_look_at_the_table),
    "the table's end of a stopped job": Missing("a stop was forgotten", a_table_that_lets_a_stopped_job_wait_again),
    "the look for an answer": Missing(
        "answered was cut short", no_look_at_whether_it_was_answered, bounds=Bounds(pauses=True)
    ),
    "the order of checkpoints": Missing("counts twice", no_look_at_the_last_checkpoint),
    "the wait of an end": Missing("succeeded too early", no_wait_for_the_checkpoint_that_an_end_counts_on),
    "the walk back of an end": Missing(
        "ended at checkpoint 0, not 1", no_look_at_the_checkpoint_that_an_end_names, bounds=Bounds(damages=True)
    ),
    "the version in the write": Missing("a stop was forgotten", without=("version",), bounds=ALONE),
    "the whole guard of the write": Missing("attempt 0 after 1", without=("version", "states"), bounds=ALONE),
    "the term in the write": Missing("overruled its successor", without=("term",), bounds=Bounds(rivals=True)),
    "the mark of a takeover": Missing(GIVEN_UP, without=("takeover",), bounds=Bounds(rivals=True)),
    "the planner's look at its ears": Missing(GIVEN_UP, without=("ears",)),
    "the trainer's look at its lease": Missing(GIVEN_UP, without=("lease",)),
    "the trainer's memory": Missing("begins again where it is over", without=("memory",)),
}


@cache
def broken_with_all(bounds: Bounds) -> str:
    """What breaks with all the guards."""
    return explore(World(bounds, forget=False)).broken


@pytest.mark.parametrize("name", MISSING)
def test_without_any_single_guard_a_law_breaks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = MISSING[name]
    assert not broken_with_all(missing.bounds._replace(steps=1))
    missing.patch(monkeypatch)
    seen = explore(World(missing.bounds, without=missing.without, forget=False))
    assert seen.broken, f"nothing breaks in {len(seen.states):,} states without {name}"
    print(f"without {name} ({len(seen.states):,} states):\n{seen.broken}\n")
    assert missing.breaks in seen.broken


def test_states_and_attempt_in_the_write_are_a_second_line_behind_the_version() -> None:
    """A version that is the same was decided on in its state and attempt. They are for the day on which it isn't asked for."""
    seen = explore(World(ALONE._replace(rivals=True, steps=1), without=[STATES]))
    assert not seen.broken, f"\n{seen.broken}"
