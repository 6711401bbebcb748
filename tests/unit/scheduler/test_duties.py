"""The background duties where something goes otherwise than planned: others act in between, the broker is away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf
from typing import Any, cast

import pytest
from msgspec.structs import replace

from services.scheduler import facts, orders
from services.scheduler.admission import lacking
from services.scheduler.board import needs_of
from services.scheduler.cleaner import Auditor, Cleaner
from services.scheduler.domain import Change, Job
from services.scheduler.nudge import Nudger
from services.scheduler.planner import Planner, Usher
from services.scheduler.refit import Refitter
from services.scheduler.settings import SchedulerSettings
from services.scheduler.snapshot import ActiveJob, Lease, Snapshot, WaitingJob
from services.scheduler.submit import Submissions
from shared.contract.errors import IllegalTransition, NotFound, Retry, Stale, TrainyardError, UserError
from shared.contract.events import Message
from shared.contract.jobs import JobState
from shared.contract.wire import Envelope
from shared.runtime.settings import load
from tests.unit.scheduler.samples import NOW, WHY, after, checkpointed, in_state, queued, running, stopping, trainer


class Clock:
    """Stands still until it is put forward, by `seconds`; `set_by` is how much of that the wall clock alone was set."""

    seconds = 0.0
    set_by = 0.0

    def now(self) -> Any:
        return after(self.seconds)

    def monotonic(self) -> float:
        return self.seconds - self.set_by


class Jobs:
    """Keeps jobs in a dictionary; `refusals` are raised by decide, by job."""

    def __init__(self, *jobs: Job) -> None:
        self.kept = {job.view.id: job for job in jobs}
        self.refusals: dict[str, Exception] = {}

    async def for_room(self) -> list[Job]:
        return list(self.kept.values())

    async def find(self, job_id: str) -> Job | None:
        return self.kept.get(job_id)

    async def decide(self, job_id: str, decide: Callable[[Job], Change], **_: object) -> Job:
        if job_id in self.refusals:
            raise self.refusals[job_id]
        if job_id not in self.kept:
            raise NotFound("job", job_id)
        self.kept[job_id] = decide(self.kept[job_id]).job
        return self.kept[job_id]


class Bus:
    """Takes what it is given once the broker is there."""

    def __init__(self) -> None:
        self.away = True
        self.sent: list[Envelope] = []

    async def publish(self, envelope: Envelope) -> None:
        if self.away:
            raise Retry("the broker is away")
        self.sent.append(envelope)


class BoardOf:
    """A board with these jobs on it, of which it says that it is live."""

    live = True
    listening_since = NOW

    def __init__(self, *jobs: Job) -> None:
        self.on_it = {job.view.id: job for job in jobs}
        self.seen: Snapshot | None = None
        self.while_waiting: Callable[[], None] = lambda: None

    def jobs(self) -> list[Job]:
        return list(self.on_it.values())

    def longest_window(self, _: object) -> float:
        return inf

    def last_able(self, _: object) -> datetime | None:
        return None

    def find(self, job_id: str) -> Job | None:
        return self.on_it.get(job_id)

    def put(self, job: Job) -> None:
        self.on_it[job.view.id] = job

    async def compare(self) -> list[str]:
        return []

    async def know_paces(self) -> None:
        self.while_waiting()

    def snapshot(self, _: object) -> Snapshot:
        assert self.seen is not None
        return self.seen


def about(body: Message, job: Job) -> Envelope:
    return Envelope(id="m", time=NOW, source="test", team=job.view.team, body=body, job_id=job.view.id)


async def test_a_nudge_that_finds_no_broker_is_left_to_the_planners_own_look() -> None:
    bus, woken = Bus(), []
    nudger = Nudger(cast(Any, bus), about)
    nudger.wake = lambda: woken.append(1)
    nudger.nudge(queued("a"))
    await nudger.round()
    assert not bus.sent
    bus.away = False
    for job in (queued("b"), queued("b"), queued("c")):
        nudger.nudge(job)
    await nudger.round()
    assert [envelope.job_id for envelope in bus.sent] == ["c", "b"]  # each once
    await nudger.round()
    assert len(bus.sent) == 2
    assert len(woken) == 4


@pytest.mark.parametrize("why", [Stale("it was admitted"), UserError("not_found", "The dataset is gone.")])
async def test_a_job_that_cannot_be_tried_does_not_keep_the_next_from_it(why: Exception) -> None:
    tried = []

    class Tries:
        async def when_room(self, job: Job) -> Job | None:
            tried.append(job.view.id)
            if job.view.id == "a":
                raise why
            return None

    jobs = Jobs(queued("a"), queued("b"))
    term: list[int | None] = [None]
    usher = Usher(jobs=cast(Any, jobs), submissions=cast(Any, Tries()), term=lambda: term[0])
    await usher.round()
    assert not tried
    term[0] = 1
    await usher.round()
    assert tried == ["a", "b"]


async def test_an_action_that_comes_too_late_is_looked_at_again() -> None:
    stopped = orders.stop(queued("a"), NOW).job
    board = BoardOf(queued("a"), queued("b"))
    board.seen = Snapshot(
        waiting=[_waiting("a"), _waiting("b")],
        active=[],
        trainers=[trainer("t1"), trainer("t2")],
        listening_since=NOW,
        lease=timedelta(seconds=25),
    )
    changed: list[str] = []
    jobs = Jobs(stopped, queued("b"))
    can_hear, term = [True], [1]
    planner = Planner(
        jobs=cast(Any, jobs),
        board=cast(Any, board),
        clock=Clock(),
        lease_seconds=25,
        term=lambda: term[0],
        can_hear=lambda: can_hear[0],
        changed=lambda job: changed.append(job.view.id),
    )
    await planner.round()
    # The stop was quicker: the board learns of it, and the other job is assigned all the same.
    assert board.on_it["a"].view.state is JobState.CANCELED
    assert changed == ["b"]
    assert jobs.kept["b"].view.state is JobState.PREPARING
    # A store that fails in the midst: silence counts anew from then on.
    jobs.refusals["b"] = ConnectionError("away")
    board.listening_since = NOW - timedelta(hours=1)
    board.seen = replace(board.seen, waiting=[_waiting("b")])
    with pytest.raises(ConnectionError):
        await planner.round()
    assert board.listening_since == NOW
    board.listening_since = NOW - timedelta(hours=1)
    can_hear[0] = False
    await planner.round()
    assert board.listening_since == NOW


class Room:
    """A planner, and trainers that each hold a job and were heard of at NOW and never since."""

    def __init__(self, *names: str) -> None:
        self.clock, self.can_hear, self.term = Clock(), True, 1
        self.jobs, self.board = Jobs(*map(_assigned, names)), BoardOf(*map(_assigned, names))
        self.board.seen = Snapshot(
            waiting=[],
            active=[
                ActiveJob(id=name, team="demo", trainer=f"on-{name}", attempt=1, assigned_at=NOW, pausable=True)
                for name in names
            ],
            trainers=[trainer(f"on-{name}", leases=[Lease(job_id=name, attempt=1, seen_at=NOW)]) for name in names],
            listening_since=NOW,
            lease=timedelta(seconds=25),
        )
        self.planner = Planner(
            jobs=cast(Any, self.jobs),
            board=cast(Any, self.board),
            clock=self.clock,
            lease_seconds=25,
            term=lambda: self.term,
            can_hear=lambda: self.can_hear,
            changed=lambda job: self.when_changed(),
        )

    def when_changed(self) -> None:
        pass

    def says(self, name: str, change: Change) -> None:
        """A trainer's fact is written before the planner's next action."""
        version = self.jobs.kept[name].view.version + 1
        self.jobs.kept[name] = replace(change.job, view=replace(change.job.view, version=version))

    def states(self) -> list[JobState]:
        return [job.view.state for job in self.jobs.kept.values()]

    def sleep(self) -> None:
        """For longer than a lease, while this process waits for the store's answer. Afterwards no ping has come back yet."""
        self.clock.seconds, self.can_hear = 60, False


class TestAFrozenPlanner:
    async def test_silence_is_found_where_nothing_keeps_us_from_hearing(self) -> None:
        room = Room("a")
        room.clock.seconds = 26
        await room.planner.round()
        assert room.states() == [JobState.QUEUED]

    async def test_it_takes_nobody_for_lost_who_spoke_while_it_waited_for_the_store(self) -> None:
        room = Room("a")
        room.board.while_waiting = room.sleep
        await room.planner.round()
        assert room.states() == [JobState.RUNNING]
        assert room.board.listening_since == after(60)

    async def test_what_it_slept_through_does_not_count_even_where_it_hears_again_at_once(self) -> None:
        room = Room("a")

        def sleep() -> None:
            room.clock.seconds = 60

        room.board.while_waiting = sleep
        await room.planner.round()
        assert room.states() == [JobState.RUNNING]

    @pytest.mark.parametrize("what", ["ears", "term", "clock"])
    async def test_it_looks_again_before_each_loss(self, what: str) -> None:
        room = Room("a", "b")
        room.clock.seconds = 26

        def wake() -> None:
            if what == "ears":
                room.can_hear = False
            elif what == "term":
                room.term = 2
            else:
                room.clock.seconds += 60
                room.clock.set_by = 60

        room.when_changed = wake  # type: ignore[method-assign]
        await room.planner.round()
        assert room.states() == [JobState.QUEUED, JobState.RUNNING]
        assert room.board.listening_since == room.clock.now()


class TestWhatComesBetweenPlanAndWrite:
    """The first job's write takes its time; meanwhile the second one's trainer speaks."""

    async def test_a_final_checkpoint_that_was_begun_is_not_cut_short(self) -> None:
        room = Room("a", "b")
        for name, job in room.jobs.kept.items():
            room.jobs.kept[name] = room.board.on_it[name] = orders.pause(job, 1, NOW, WHY).job
        assert room.board.seen is not None
        asked = [replace(job, asked_at=NOW) for job in room.board.seen.active]
        alive = [replace(one, leases=[replace(one.leases[0], seen_at=after(26))]) for one in room.board.seen.trainers]
        room.board.seen = replace(room.board.seen, active=asked, trainers=alive)
        room.clock.seconds = 26

        def speak() -> None:
            room.says("b", facts.stopping(room.jobs.kept["b"], 1, stopping("drained")))

        room.when_changed = speak  # type: ignore[method-assign]
        await room.planner.round()
        assert room.states() == [JobState.QUEUED, JobState.RUNNING]
        # The next round sees it as it is.
        assert room.board.on_it["b"].answered

    async def test_a_checkpoint_is_a_sign_of_life(self) -> None:
        room = Room("a", "b")
        room.clock.seconds = 26

        def speak() -> None:
            room.says("b", facts.checkpointed(room.jobs.kept["b"], 1, checkpointed(100, 20.0)))

        room.when_changed = speak  # type: ignore[method-assign]
        await room.planner.round()
        assert room.states() == [JobState.QUEUED, JobState.RUNNING]
        assert room.board.on_it["b"].view.steps_completed == 100


def _waiting(job_id: str) -> WaitingJob:
    job = queued(job_id)
    assert job.view.queued_at is not None
    needs = needs_of(job.view.starting_model, "cpu", 8)
    return WaitingJob(id=job_id, team="demo", queued_at=job.view.queued_at, needs=needs)


async def test_a_waiting_job_that_moved_on_keeps_no_other_from_being_looked_at() -> None:
    why = lacking(needs_of(queued().view.starting_model, "cpu", 8))
    waiting = [queued("a"), queued("b")]
    jobs, changed, term = Jobs(*waiting), list[str](), [None, 1]
    jobs.refusals["a"] = Stale("it was assigned")
    board = BoardOf(*waiting)
    board.listening_since = NOW - timedelta(hours=1)
    board.seen = Snapshot(
        waiting=[_waiting(name) for name in ("gone", "a", "b")],
        active=[],
        trainers=[],
        listening_since=NOW,
        lease=timedelta(seconds=25),
    )

    class NoCapacity:
        def has_capacity(self, _: object) -> bool:
            return False

    refitter = Refitter(
        settings=SchedulerSettings(**cast(Any, {"trainyard_secret": "x" * 40})),
        jobs=cast(Any, jobs),
        board=cast(Any, board),
        figures=cast(Any, NoCapacity()),
        reservations=cast(Any, None),
        clock=Clock(),
        term=lambda: term[0],
        changed=lambda job: changed.append(job.view.id),
    )
    await refitter.round()
    assert not changed
    term.pop(0)
    await refitter.round()
    assert changed == ["b"]
    assert (jobs.kept["a"].view.reason, jobs.kept["b"].view.reason) == (None, why)


async def test_only_a_job_that_contradicts_itself_in_the_store_too_is_taken_out() -> None:
    broken = replace(_assigned("a"), assigned_at=None)
    board, sound = BoardOf(broken, replace(_assigned("b"), ledger=[])), _assigned("a")
    jobs = Jobs(sound, replace(_assigned("b"), ledger=[]))
    changed: list[Job] = []
    auditor = Auditor(jobs=cast(Any, jobs), board=cast(Any, board), term=lambda: 3, changed=changed.append)
    await auditor.round()
    assert jobs.kept["a"].view.state is JobState.RUNNING
    assert [(job.view.id, job.view.state, job.term) for job in changed] == [("b", JobState.STATE_UNSPECIFIED, 3)]
    assert changed[0].view.reason is not None
    assert "ledger holds 0 s, but 600 s are reserved" in changed[0].view.reason.message
    Auditor(jobs=cast(Any, jobs), board=cast(Any, board), term=lambda: None, changed=changed.append)


def _assigned(job_id: str) -> Job:
    return running(orders.assign(queued(job_id), "t1", NOW).job)


@pytest.mark.parametrize("why", [Stale("it holds nothing"), NotFound("job", "parent")])
async def test_a_parent_that_is_free_or_gone_keeps_nobody_from_being_deleted(why: TrainyardError) -> None:
    jobs = Jobs()
    jobs.refusals["parent"] = why
    nothing = cast(Any, None)
    cleaner = Cleaner(
        jobs=cast(Any, jobs),
        trainers=nothing,
        teams=nothing,
        datasets=nothing,
        artifacts=nothing,
        clock=Clock(),
        term=lambda: 1,
    )
    child = queued("child")
    await cleaner.release_parent(replace(child, view=replace(child.view, parent_id="parent")))
    await cleaner.release_parent(child)


@pytest.mark.parametrize("state", [JobState.PREPARING, JobState.CANCELED])
async def test_a_job_that_another_scheduler_admitted_is_what_was_asked_for(state: JobState) -> None:
    found = in_state(queued("a"), state)
    jobs, arrived = Jobs(found), []
    jobs.refusals["a"] = Stale("admit does not apply")

    class Teams:
        async def withdraw(self, team: str, job_id: str) -> None:
            arrived.append((team, job_id))

    nothing = cast(Any, None)
    submissions = Submissions(
        settings=nothing,
        jobs=cast(Any, jobs),
        teams=cast(Any, Teams()),
        board=nothing,
        figures=nothing,
        reservations=nothing,
        datasets=nothing,
        clock=Clock(),
        changed=lambda _: None,
    )
    if state is JobState.PREPARING:
        assert await submissions._admit(found, by="Ada", approved_by=None) is found
    else:
        with pytest.raises(IllegalTransition):
            await submissions._admit(found, by="Ada", approved_by=None)
    assert arrived == [("demo", "a")]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"LAB_HOURS": "whenever"}, "LAB_HOURS 'whenever' in LAB_TIMEZONE 'UTC'"),
        ({"LAB_HOURS": "Mo-Fr 08:00-18:00", "LAB_TIMEZONE": "Mars/Olympus"}, "Mars/Olympus"),
        ({"MIN_STEPS": "300", "MAX_STEPS": "200"}, "MIN_STEPS (300) must not be above MAX_STEPS (200)"),
    ],
)
def test_bad_settings_name_the_variable_and_the_value(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"TRAINYARD_SECRET": "x" * 40, **environment}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load(SchedulerSettings)
    assert words in capsys.readouterr().err
