"""A small world around one job, whose every state can be visited: trainers that hold attempts, messages that are never
lost nor in order, a scheduler that may be slow, and whatever goes wrong.

What the scheduler decides is the real decisions, what it writes the real store's guard, what a trainer answers to an
assignment the trainer's own rule. The rest is the model, and says what it assumes:

- A message that was sent can be delivered at any later time and any number of times.
- A trainer's lease ends before the scheduler gives its attempt up, and it looks at its lease before it does anything: to
  sleep through it, to be cut off or to crash are one to everybody else. One that sleeps less is one that is slow.
- So whoever plans takes nobody for silent who isn't: it looks at its ears and its clock (planner.py). One that was replaced
  may believe anything.
- Time stands still, so that states repeat. Whatever takes as long as a lease is a move of its own.
- One decision at a time may lie between its read and its write; the others are made at once. Where the store looks at the
  version, one that is written at all might as well have been; where it doesn't, one is enough to break a law.

To forget what can't have an effect any more makes the world much smaller (`forget`); `wrongly_forgotten` finds whether that
was true.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from services.scheduler import domain
from services.scheduler.domain import Job
from shared.contract.errors import IllegalTransition, Retry, Stale
from shared.contract.jobs import ASSIGNED, JobState
from shared.runtime.mongo import Document
from tests.unit.scheduler.laws import Broken, Fact, check_job, check_write, cut_off, decided, plain
from tests.unit.scheduler.model_store import RecordingStore, fits
from tests.unit.scheduler.model_trainer import MISHAPS, Command, Trainer, obey, work
from tests.unit.scheduler.samples import queued

# What can be switched off: parts of the store's guard, what a planner does when it takes over, its look at its ears, the
# trainer's look at its lease, its memory of what is over.
Guard = Literal["version", "states", "term", "takeover", "ears", "lease", "memory"]


class State(NamedTuple):
    """Numbers stand for what the world has seen: `job`, each of `trainers`, each bit of `sent`, and `slow`, a decision that
    isn't written yet, `fresh` while nothing was written since it was read. `stored` is the newest checkpoint in the artifact
    store, `leader` the term of the scheduler that plans."""

    job: int
    trainers: tuple[int, ...]
    sent: int = 0
    stored: int = 0
    slow: int = -1
    fresh: bool = True
    leader: int = 1
    damaged: bool = False


class Decision(NamedTuple):
    """A decision with the write that carries it out; `passes` tells whether the store takes it at once."""

    number: int
    key: tuple[Any, ...]
    read: int
    after: int
    guard: Document
    commands: int
    passes: bool


class Step(NamedTuple):
    """What a trainer may do next, to be joined with any state of the rest of the world."""

    name: tuple[Any, ...]
    after: int
    said: int = 0
    stored: int = 0
    heals: bool = True


# What happens, the state after it, and whether it happens by itself once nothing goes wrong and nobody interferes.
Move = tuple[tuple[Any, ...], State, bool]


class Bounds(NamedTuple):
    """How much of the world is looked at. `slow`: a decision may lie about before it is written. `rivals`: another scheduler
    takes over, and the first one doesn't know."""

    trainers: int = 2
    attempts: int = 2
    steps: int = 2
    slow: bool = False
    rivals: bool = False
    pauses: bool = False
    failures: bool = False
    damages: bool = False


class World:
    """All moves from each state; raises Broken where a law doesn't hold. `without` are guards that are switched off."""

    def __init__(self, bounds: Bounds, *, without: Collection[Guard] = (), forget: bool = True) -> None:
        self.bounds = bounds
        self.without = frozenset(without)
        self.forget = forget
        self.jobs: list[Job] = []
        self.said: list[Fact | Command] = []
        self.decisions: list[Decision] = []
        # What a law that breaks broke by.
        self.trying: tuple[Any, ...] = ()
        self.trainers: list[Trainer] = []
        self._trainer_ids: dict[Trainer, int] = {}
        self._job_ids: dict[bytes, int] = {}
        self._said_ids: dict[Fact | Command, int] = {}
        self._decided: dict[tuple[Any, ...], Decision | None] = {}
        self._options: dict[tuple[Any, ...], list[tuple[Decision, bool]]] = {}
        self._steps: dict[tuple[int, int, int, int, int], list[Step]] = {}
        self._checked: set[tuple[int, int]] = set()
        self._voids: dict[tuple[int, int, tuple[int, ...]], int] = {}
        self._sound: set[tuple[int, tuple[int, ...]]] = set()
        self._commands: defaultdict[int, int] = defaultdict(int)
        self._outranked: dict[int, int] = {}
        self._store = RecordingStore()

    def first(self) -> State:
        """A job that waits and trainers that hold nothing."""
        waiting, idle = self._job(queued(max_attempts=self.bounds.attempts)), self._seen(Trainer())
        return State(waiting, (idle,) * self.bounds.trainers)

    def moves(self, state: State) -> Iterator[Move]:
        """Everything that can happen next."""
        job, trainers, sent, stored, slow, fresh, leader, damaged = state
        for index, trainer in enumerate(trainers):
            key = index, trainer, stored, sent & self._commands[index], job
            steps = self._steps.get(key)
            if steps is None:
                steps = self._steps[key] = [*self._next(*key)]
            before, behind = trainers[:index], trainers[index + 1 :]
            for name, after, said, saved, heals in steps:
                now = (*before, after, *behind)
                left = (sent | said) & ~self._void(job, now)
                newest = saved if saved > stored else stored
                yield name, State(job, now, left, newest, slow, fresh, leader, damaged), heals
        for decision, heals in self._decisions(state):
            if decision.passes:
                self.trying = decision.key
                yield (decision.key, self._write(state, decision), heals)
            if self.bounds.slow and state.slow < 0:
                yield (("slow", *decision.key), state._replace(slow=decision.number, fresh=True), False)
        if state.slow >= 0:
            yield from self._slow(state)
        if self.bounds.rivals and state.leader == 1:
            yield (("another scheduler takes over",), self._taken_over(state), False)
        if self.bounds.damages and state.stored and not state.damaged:
            yield (("checkpoint damaged",), state._replace(stored=state.stored - 1, damaged=True), False)

    def check(self, state: State) -> None:
        """What a trainer lost with its lease makes no more steps; of the others there is one at a time."""
        if (state.job, state.trainers) in self._sound:
            return
        attempts, busy = self.jobs[state.job].view.attempts, 0
        for number in state.trainers:
            held = self.trainers[number].held
            if held is None or held.late:
                continue
            outcome = attempts[held.attempt - 1].outcome
            if outcome == "lost":
                raise Broken(f"attempt {held.attempt} was given up as lost and still makes steps")
            busy += outcome is None
        if busy > 1:
            raise Broken("two trainers make steps of one job")
        self._sound.add((state.job, state.trainers))

    # --- the scheduler -------------------------------------------------------------------------------------------------

    def _decisions(self, state: State) -> list[tuple[Decision, bool]]:
        """What any scheduler may decide now, and whether it does so by itself."""
        view = self.jobs[state.job].view
        silent = view.state in ASSIGNED and self._silent(state)
        key = state.job, state.sent, state.leader, silent
        found = self._options.get(key)
        if found is None:
            wanted = [*self._wanted(state.job, state.leader, silent=silent)]
            wanted += [(("hear", said), True) for said in self._all_said(state.sent) if isinstance(said, Fact)]
            made = [(self.decide(state.job, key), heals) for key, heals in wanted]
            found = self._options[key] = [(decision, heals) for decision, heals in made if decision is not None]
        return found

    def _wanted(self, job: int, leader: int, *, silent: bool) -> Iterator[tuple[tuple[Any, ...], bool]]:
        view = self.jobs[job].view
        yield ("stop",), False
        for term in range(1, leader + 1):
            if view.state is JobState.QUEUED and view.attempt < self.bounds.attempts:
                # Of trainers that never had the job one is as good as another.
                had = sorted({attempt.trainer for attempt in view.attempts})
                for name in (*had, *[_name(len(had))][: self.bounds.trainers - len(had)]):
                    yield ("assign", name, term), True
            if silent or term < leader or "ears" in self.without:
                yield ("lose", term), silent
            if self.bounds.pauses:
                yield ("pause", term), False
            yield ("enforce", term), True

    def _silent(self, state: State) -> bool:
        """Whether no heartbeat has named the attempt for a lease: then its trainer's own lease has ended before."""
        view = self.jobs[state.job].view
        held = self.trainers[state.trainers[_index(view.trainer)]].held
        return held is None or held.attempt != view.attempt or not held.lease

    def _slow(self, state: State) -> Iterator[Move]:
        decision = self.decisions[state.slow]
        rest = state._replace(slow=-1, fresh=True)
        yield (("crash before the write",), rest, False)
        # Where nothing was written since, it is the same as a write at once.
        if not state.fresh and self._late_fits(decision, state.job):
            self.trying = "late", *decision.key
            yield self.trying, self._write(rest, decision), False

    def _late_fits(self, decision: Decision, job: int) -> bool:
        """Whether the store takes a decision that was made on another version than it has."""
        return fits(decision.guard, self.jobs[job], version=2, without=self.without)

    def _write(self, state: State, decision: Decision) -> State:
        if (state.job, decision.number) not in self._checked:
            again = decision.key[0] == "hear" and self.decide(decision.after, decision.key) is not None
            check_write(self.jobs[state.job], self.jobs[decision.after], decision.key, again=again)
            self._checked.add((state.job, decision.number))
        sent = state.sent | decision.commands
        if self.forget and decision.key[0] == "hear" and decision.key[1].how != "found":
            sent &= ~self._bit(decision.key[1])
        sent &= ~self._void(decision.after, state.trainers)
        return self._overtaken(state._replace(sent=sent), decision.after)

    def _overtaken(self, state: State, job: int) -> State:
        """The job is written, and whatever is to be written yet was decided on before."""
        slow, fresh = state.slow, state.slow < 0
        if slow >= 0 and "version" not in self.without:
            if self._late_fits(self.decisions[slow], job):
                raise Broken("the store takes a decision on what isn't there any more")
            slow, fresh = -1, True
        return state._replace(job=job, slow=slow, fresh=fresh)

    def _taken_over(self, state: State) -> State:
        """The next scheduler plans; the one before doesn't know."""
        after = state._replace(leader=state.leader + 1)
        if "takeover" in self.without:
            return after
        job = self._outranked.get(state.job)
        if job is None:
            job = self._job(self._store.outranked(self.jobs[state.job], after.leader))
            self._outranked[state.job] = job
        return after if job == state.job else self._overtaken(after, job)

    def decide(self, job: int, key: tuple[Any, ...]) -> Decision | None:
        """What the real rules say to it, None for a no."""
        if (job, key) not in self._decided:
            self._decided[job, key] = self._decide(job, key)
        return self._decided[job, key]

    def _decide(self, read: int, key: tuple[Any, ...]) -> Decision | None:
        job = self.jobs[read]
        self.trying = key
        try:
            change = decided(job, key)
        except (Stale, Retry, IllegalTransition):
            return None
        guard, told = self._store.write(job, change)
        commands = sum(self._bit(command) for command in told)
        passes = fits(guard, job, version=1, without=self.without)
        after = self._job(change.job)
        self.decisions.append(Decision(len(self.decisions), key, read, after, guard, commands, passes))
        return self.decisions[-1]

    # --- trainers ------------------------------------------------------------------------------------------------------

    def _next(self, index: int, number: int, stored: int, waiting: int, job: int) -> Iterator[Step]:
        """What a trainer may do next, by itself or because it is told to."""
        name, trainer, bounds = _name(index), self.trainers[number], self.bounds
        for done in work(trainer, stored, steps=bounds.steps, failures=bounds.failures, without=self.without):
            said = sum(self._bit(fact) for fact in done.said)
            yield Step((name, done.what), self._seen(done.after), said, done.stored, done.what not in MISHAPS)
        for command in self._all_said(waiting):
            assert isinstance(command, Command)
            self.trying = name, "gets", command
            after = self._seen(obey(trainer, command, self.jobs[job].view, self.without))
            if after != number:
                yield Step((name, "gets", command), after)
        held = trainer.held
        if held is None or domain.holds(self.jobs[job], held.attempt, name):
            return
        if not domain.ended_by_its_trainer(self.jobs[job], held.attempt):
            yield Step((name, "beats"), number, self._bit(Command("stop", index, held.attempt, "release")))

    # --- what was seen -------------------------------------------------------------------------------------------------

    def _job(self, job: Job) -> int:
        job = plain(job)
        number = self._job_ids.setdefault(msgspec.msgpack.encode(job), len(self.jobs))
        if number == len(self.jobs):
            self.jobs.append(job)
            check_job(job, self.bounds.steps)
        return number

    def _seen(self, trainer: Trainer) -> int:
        number = self._trainer_ids.setdefault(trainer, len(self.trainers))
        if number == len(self.trainers):
            self.trainers.append(trainer)
        return number

    def _bit(self, said: Fact | Command) -> int:
        number = self._said_ids.setdefault(said, len(self.said))
        if number == len(self.said):
            self.said.append(said)
            if isinstance(said, Command):
                self._commands[said.trainer] |= 1 << number
        return 1 << number

    def _all_said(self, sent: int) -> Iterator[Fact | Command]:
        while sent:
            last = sent & -sent
            yield self.said[last.bit_length() - 1]
            sent ^= last

    def wrongly_forgotten(self) -> list[str]:
        """What was not to be heard again, but would have been: facts of attempts that are over, and facts that were heard."""
        later, found = self._later(), []
        heard: dict[Fact, int] = defaultdict(int)
        for decision in self.decisions:
            if decision.key[0] == "hear" and decision.key[1].how != "found":
                heard[decision.key[1]] |= later[decision.after]
        for fact in [said for said in self.said if isinstance(said, Fact)]:
            for number in range(len(later)):
                done = heard[fact] >> number & 1 or self._is_void(fact, self.jobs[number])
                if done and self.decide(number, ("hear", fact)) is not None:
                    found.append(f"{fact}: {self.jobs[number].view}")
        return found

    def _later(self) -> list[int]:
        """For each job, as bits, what it may still become, itself included."""
        later = [1 << number for number in range(len(self.jobs))]
        writes = [*self._outranked.items(), *((decision.read, decision.after) for decision in self.decisions)]
        growing = True
        while growing:
            growing = False
            for read, after in reversed(writes):
                more = later[read] | later[after]
                growing |= more != later[read]
                later[read] = more
        return later

    def _void(self, job: int, trainers: tuple[int, ...]) -> int:
        """Facts of an attempt that is over (exports of the last one apart), and commands about what is over at their
        trainer."""
        if not self.forget:
            return 0
        known = len(self.said), job, trainers
        void = self._voids.get(known)
        if void is None:
            void = 0
            for bit, said in enumerate(self.said):
                if isinstance(said, Fact):
                    gone = self._is_void(said, self.jobs[job])
                else:
                    gone = said.attempt <= self.trainers[trainers[said.trainer]].over
                void |= gone << bit
            self._voids[known] = void
        return void

    @staticmethod
    def _is_void(fact: Fact, job: Job) -> bool:
        if fact.attempt < job.view.attempt:
            return True
        heard_late = {"exported", "checkpointed"} if cut_off(job) else {"exported"}
        return job.view.state not in ASSIGNED and fact.kind not in heard_late


def _name(index: int) -> str:
    return f"t{index}"


def _index(name: str | None) -> int:
    assert name is not None
    return int(name[1:])
