"""Random days of the whole scheduler: people, operators and trainers do what they may, processes die, what they stand on goes
away and comes back. In the end everybody is well again, and then every job has come to its end or says truly why it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any, Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.scheduler.settings import SchedulerSettings
from shared.runtime.metrics import Metrics
from tests.support.memory_bus import MemoryBus
from tests.support.memory_store import Moment
from tests.unit.scheduler.crew import Attempt, Crew, Failure, Trainer
from tests.unit.scheduler.people import ACTS, WISHES, People, of
from tests.unit.scheduler.plant import SECRET, Fuse, Plant, a_loop, nothing_left, patched
from tests.unit.scheduler.watch import Complaints, Watch

LEASE = 8.0
# Longer than anything takes that was begun: a lease, a change of leaders, the longest pause between two tries.
LONG = 3 * LEASE
# The lab closes for two minutes, two minutes after the beginning.
LAB, LAB_OPENS = "Mo-Su 00:00-12:02,12:04-24:00", 270.0
FAILURES: list[Failure] = ["stalled", "out_of_memory", "nan_loss", "child_crashed"]
MOMENTS: list[Moment] = ["before", "after"]
MISHAPS: list[Literal["crash", "error"]] = ["crash", "error"]
SETTINGS: dict[str, Any] = {
    "trainyard_secret": SECRET,
    "artifacts_url": "memory://plant",
    "min_steps": 10,
    "checkpoint_every": 20,
    "team_minutes": 40,
    "max_team_jobs": 5,
    "max_queued": 8,
    "lease_seconds": LEASE,
    "leader_seconds": 4,
    "audit_seconds": 5,
    "drain_seconds": 1,
    "pause_lead_seconds": 10,
}
some = st.integers(0, 99)
wishes = st.tuples(st.sampled_from(sorted(WISHES)), some, st.integers(0, 1))


async def at_once(*works: Coroutine[Any, Any, Any]) -> None:
    """All of it, side by side."""
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)


class Day(RuleBasedStateMachine):
    """Two places for schedulers, up to four trainers, two teams."""

    def __init__(self) -> None:
        super().__init__()
        self.around = ExitStack()
        self.complaints = self.around.enter_context(Complaints())
        self.around.enter_context(patched())
        self.loop = a_loop()
        self.begun = False

    def run(self, work: Coroutine[Any, Any, Any], seconds: float = 0.0) -> Any:
        """Do something, then let time go by."""

        async def both() -> Any:
            done = await work
            await asyncio.sleep(seconds)
            return done

        return self.loop.run_until_complete(both())

    @initialize(
        lab=st.sampled_from(["", "", LAB]), schedulers=st.integers(1, 2), first=st.tuples(some, some, some), seed=some
    )
    def morning(self, lab: str, schedulers: int, first: tuple[int, ...], seed: int) -> None:
        """A scheduler or two, a trainer, and what people have thought of over night. `seed` is for how long things take."""
        self.lab = bool(lab)
        settings = SchedulerSettings(**SETTINGS, lab_hours=lab)

        async def begin() -> None:
            self.plant = Plant(settings, seed)
            self.crew = Crew(self.plant)
            self.watch = Watch(self.plant, self.crew)
            self.people = People(self.plant, self.watch)
            self.wire = MemoryBus(self.plant.broker, service="wire", metrics=Metrics())
            for place in "ab"[:schedulers]:
                self.plant.start(place)
            await asyncio.sleep(1)
            await self.crew.join(2).come_back()
            for which in first:
                await self.people.wish("submit", which, which)

        self.run(begin(), 1)
        self.begun = True

    # --- people ----------------------------------------------------------------------------------------------------------

    @rule(which=some, at=some)
    def submits(self, which: int, at: int) -> None:
        self.run(self.people.wish("submit", which, at))

    @rule(which=some, at=some)
    def stops_a_run(self, which: int, at: int) -> None:
        self.run(self.people.wish("stop a run", which, at))

    @rule(wish=wishes)
    def wants_something(self, wish: tuple[str, int, int]) -> None:
        self.run(self.people.wish(*wish))

    @rule(first=wishes, second=wishes)
    def want_something_at_once(self, first: tuple[str, int, int], second: tuple[str, int, int]) -> None:
        """While trainers work, too."""
        self.run(at_once(self.people.wish(*first), self.people.wish(*second), self.all_work()))

    @rule(which=some)
    def submits_twice_at_once(self, which: int) -> None:
        """One person, at both schedulers, for more minutes than the team has."""
        wish = self.people.wish
        self.run(at_once(wish("submit a long one", which, 0), wish("submit a long one", which + 3, 1)))

    @rule(what=st.sampled_from(ACTS), which=some, at=some)
    def mentor_or_operator_acts(self, what: str, which: int, at: int) -> None:
        self.run(self.people.act(what, which, at))

    # --- trainers --------------------------------------------------------------------------------------------------------

    def trainers(self) -> list[Trainer]:
        return [trainer for trainer in self.crew.trainers if trainer.alive]

    def work(self) -> list[tuple[Trainer, Attempt]]:
        """Whoever holds something, and what."""
        return [(trainer, attempt) for trainer in self.trainers() for attempt in trainer.held.values()]

    @rule(which=some, what=st.sampled_from(["joins", "is cut off", "falls asleep", "comes back", "crashes", "leaves"]))
    def something_befalls_a_trainer(self, which: int, what: str) -> None:
        if what == "joins" or not self.trainers():
            if len(self.trainers()) < 4:
                self.run(self.join(1 + which % 2))
            return
        trainer = of(self.trainers(), which)
        match what:
            case "is cut off":
                self.run(trainer.part(asleep=False))
            case "falls asleep":
                self.run(trainer.part(asleep=True))
            case "comes back":
                self.run(trainer.come_back())
            case "crashes":
                self.run(trainer.crash())
            case _:
                self.run(trainer.leave())

    @precondition(lambda self: self.trainers())
    @rule(which=some, asleep=st.booleans(), submits=st.booleans())
    def trainer_is_away_for_long(self, which: int, asleep: bool, submits: bool) -> None:
        """For a lease and a little more, in which it may be given a job all the same."""
        trainer = of(self.trainers(), which)
        self.run(trainer.part(asleep=asleep))
        if submits:
            self.run(self.people.wish("submit", which, which))
        self.run(asyncio.sleep(LEASE + 3))
        self.run(trainer.come_back(), 0.5)

    async def join(self, slots: int) -> None:
        await self.crew.join(slots).come_back()

    @precondition(lambda self: self.work())
    @rule(which=some, steps=st.integers(1, 3), late=st.sampled_from([0.0, 0.0, 1.0, 4.0]))
    def trainer_works(self, which: int, steps: int, late: float) -> None:
        """Some steps of an attempt; the first fact that it tells may be under way for a while."""
        trainer, attempt = of(self.work(), which)
        self.crew.late = late

        async def work() -> None:
            for _ in range(steps):
                await trainer.work(attempt)

        self.run(work())

    @precondition(lambda self: self.work())
    @rule(which=some, failure=st.sampled_from(FAILURES))
    def run_fails(self, which: int, failure: Failure) -> None:
        trainer, attempt = of(self.work(), which)
        self.run(trainer.work(attempt, failure=failure))

    @precondition(lambda self: self.crew.said and self.plant.broker.is_up)
    @rule(which=some)
    def broker_delivers_again(self, which: int) -> None:
        """What a trainer said some time ago, be it long gone."""
        self.run(self.wire.publish(of(list(self.crew.said), which)))

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0, 10.0, 30.0]), working=st.booleans())
    def time_goes_by(self, seconds: float, working: bool) -> None:
        """Everybody makes a few steps meanwhile, or none."""
        for _ in range(4):
            if working:
                self.run(self.all_work())
            self.run(asyncio.sleep(seconds / 4))

    async def all_work(self) -> None:
        for trainer, attempt in self.work():
            await trainer.work(attempt)

    # --- what it all stands on -------------------------------------------------------------------------------------------

    @rule(place=st.sampled_from("ab"), what=st.sampled_from(["dies", "starts", "starts", "leaves", "is cut off"]))
    def something_befalls_a_scheduler(self, place: str, what: str) -> None:
        process = self.plant.processes.get(place)
        if what == "starts":
            if process is None or process.dead:
                self.run(self.start(place))
        elif process is not None and process.ready:
            match what:
                case "dies":
                    self.run(process.kill())
                case "leaves" if not process.cut and process.fuse is None:
                    self.run(process.leave())
                case _:
                    process.cut = what == "is cut off" or process.cut

    async def start(self, place: str) -> None:
        self.plant.start(place)

    @precondition(lambda self: self.plant.living())
    @rule(which=some, left=st.integers(1, 6), moment=st.sampled_from(MOMENTS), what=st.sampled_from(MISHAPS))
    def a_write_will_go_wrong(self, which: int, left: int, moment: Moment, what: Literal["crash", "error"]) -> None:
        of(self.plant.living(), which).fuse = Fuse(left, moment, what)

    @rule(what=st.sampled_from(["broker goes", "dataset service goes", "all are back", "all are back"]))
    def something_goes_or_comes(self, what: str) -> None:
        match what:
            case "broker goes":
                self.run(self.switch_broker(up=False))
            case "dataset service goes":
                self.plant.datasets.up = False
            case _:
                self.run(self.switch_broker(up=True))
                self.plant.datasets.up = True
                for process in self.plant.living():
                    process.cut = False

    async def switch_broker(self, *, up: bool) -> None:
        if up != self.plant.broker.is_up:
            (self.plant.broker.up if up else self.plant.broker.down)()

    # --- what must be true -----------------------------------------------------------------------------------------------

    @invariant()
    def all_is_right(self) -> None:
        if self.begun:
            self.run(asyncio.sleep(0.01))
            self.nothing_is_wrong()
            if self.plant.is_well() and self.run(self.rests(3)):
                assert not (wrong := self.watch.rest()), "\n".join(wrong)

    def nothing_is_wrong(self) -> None:
        wrong = [*self.watch.wrong, *self.complaints.heard, *self.watch.books()]
        wrong += [f"{trainer.id} failed: {trainer.failure()!r}" for trainer in self.crew.trainers if trainer.failure()]
        assert not wrong, "\n".join(wrong)
        assert self.people.asked <= {job.view.id for job in self.watch.jobs()}

    async def rests(self, seconds: float) -> bool:
        """Wait until nothing is under way; whether that came soon."""
        for _ in range(int(seconds / 0.25)):
            if self.plant.at_rest():
                return True
            await asyncio.sleep(0.25)
        return False

    # --- the end ---------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Everybody is well again, and trainers work as long as they hold anything."""
        try:
            if self.begun:
                self.run(self.heal(), LONG)
                self.run(self.finish())
                self.nothing_is_wrong()
                assert self.run(self.rests(30)), "something is always under way"
                wrong = [*self.watch.rest(), *self.watch.unfinished(), *self.watch.told()]
                assert not wrong, "\n".join(wrong)
        finally:
            self.close()

    async def heal(self) -> None:
        self.plant.datasets.up = True
        await self.switch_broker(up=True)
        for place in "ab":
            process = self.plant.processes.get(place)
            if process is None or process.dead:
                self.plant.start(place)
            else:
                process.cut, process.fuse = False, None
        for trainer in self.trainers():
            await trainer.come_back()

    async def finish(self) -> None:
        """Until nothing has changed for longer than anything takes, and the lab is open."""
        last: list[int] = []
        unchanged = 0
        while unchanged < 8 or (self.lab and self.loop.time() < LAB_OPENS):
            await self.all_work()
            await asyncio.sleep(LONG / 8)
            now = [job.view.version for job in self.watch.jobs()]
            unchanged = unchanged + 1 if now == last else 0
            last = now

    def close(self) -> None:
        """Nothing of this day is left."""

        self.loop.run_until_complete(nothing_left())
        self.loop.close()
        self.around.close()


TestDay = Day.TestCase
TestDay.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
