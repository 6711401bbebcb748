"""The room as everybody may see it: what is told of whom, and when all are told to look again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from services.scheduler.domain import Job
from services.scheduler.estimate import Work, forecast, forecast_ends
from services.scheduler.outlook import Look, told
from services.scheduler.plan import ActiveJob, Snapshot, Trainer, WaitingJob
from services.scheduler.teller import Teller
from shared.contract.api.room import RoomAnswer
from shared.contract.events import Message, QueueMoved, RoomMoved, TeamChanged
from shared.contract.jobs import JobState
from shared.contract.views import TeamView
from shared.contract.wire import Envelope
from tests.unit.scheduler.rig import Clock
from tests.unit.scheduler.samples import NOW, after, preparing, queued, running, trainer, with_checkpoint
from tests.unit.scheduler.test_estimate import NEEDS, WORK


def described(job: Job, description: str) -> Job:
    return replace(job, view=replace(job.view, description=description, dataset_names=[f"{description} field"]))


OURS = described(queued("ours-1", "demo"), "Our cones")
OUR_RUN = with_checkpoint(described(running(preparing(queued("ours-2", "demo"))), "Our balls"))
THEIRS = described(queued("theirs-1", "rivals"), "Secret cubes")
THEIR_RUN = described(running(preparing(queued("theirs-2", "rivals"), "t2")), "Secret weapon")


class Room:
    """A board of these jobs and trainers."""

    live = True

    def __init__(self, *jobs: Job, trainers: list[Trainer]) -> None:
        self.on_it = {job.view.id: job for job in jobs}
        self.trainers = trainers

    def jobs(self) -> list[Job]:
        return list(self.on_it.values())

    def find(self, job_id: str) -> Job | None:
        return self.on_it.get(job_id)

    async def know_paces(self) -> None:
        pass

    def works(self) -> dict[str, Work]:
        return dict.fromkeys(self.on_it, WORK)

    def snapshot(self, _: datetime) -> Snapshot:
        views = [job.view for job in self.jobs()]
        return Snapshot(
            waiting=[
                WaitingJob(
                    id=view.id, team=view.team, queued_at=view.queued_at or NOW, needs=NEEDS, expected_seconds=60
                )
                for view in views
                if view.state is JobState.QUEUED
            ],
            active=[
                ActiveJob(id=view.id, team=view.team, trainer=view.trainer or "", attempt=view.attempt, assigned_at=NOW)
                for view in views
                if view.state is not JobState.QUEUED
            ],
            trainers=self.trainers,
            listening_since=NOW,
            lease=timedelta(seconds=25),
        )


def look_at(room: Room) -> Look:
    snapshot, works = room.snapshot(NOW), room.works()
    return Look(
        at=NOW,
        snapshot=snapshot,
        works=works,
        jobs=room.on_it,
        places=forecast(snapshot, works, NOW),
        ends=forecast_ends(snapshot, works, NOW),
    )


BUSY = Room(OURS, THEIRS, OUR_RUN, THEIR_RUN, trainers=[trainer("t1"), trainer("t2"), trainer("t3", slots=2)])


def test_a_team_is_told_what_its_own_jobs_are_and_of_others_when_and_how_far_alone() -> None:
    answer = told(look_at(BUSY), "demo", (after(60), after(120)))
    assert [(one.position, one.job_id, one.description) for one in answer.waiting] == [
        (1, "ours-1", "Our cones"),
        (2, None, None),
    ]
    assert {(one.job_id, one.description, one.steps_completed) for one in answer.running} == {
        ("ours-2", "Our balls", 100),
        (None, None, 0),
    }
    assert all(
        one.end_from is not None and one.end_to is not None and one.end_from < one.end_to for one in answer.running
    )
    assert (answer.slots, answer.busy) == (4, 2)
    assert (answer.start_from, answer.start_to) == (after(60), after(120))
    # Whatever is added to the answer some day: none of it may say who or what.
    for word in ("rivals", "theirs", "Secret", "data-1", "Ada", "t2"):
        assert word not in msgspec.json.encode(answer).decode(), word


def test_the_other_team_sees_the_same_room_from_its_side() -> None:
    ours, theirs = (told(look_at(BUSY), team, None) for team in ("demo", "rivals"))

    def nameless(answer: RoomAnswer) -> Any:
        rows = [replace(one, job_id=None, description=None) for one in (*answer.running, *answer.waiting)]
        return answer.slots, answer.busy, rows

    assert nameless(ours) == nameless(theirs)
    assert [one.description for one in theirs.waiting] == [None, "Secret cubes"]


def test_a_trainer_that_drains_is_no_slot_and_what_it_holds_runs_all_the_same() -> None:
    room = Room(OUR_RUN, trainers=[trainer("t1", draining=True)])
    answer = told(look_at(room), "demo", None)
    assert (answer.slots, answer.busy, len(answer.running)) == (0, 0, 1)


class Bus:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def publish(self, envelope: Envelope) -> None:
        if not isinstance(envelope.body, TeamChanged):
            self.sent.append(envelope.body)
        assert (envelope.team == "") == isinstance(envelope.body, RoomMoved)

    def moves(self) -> int:
        found = sum(isinstance(body, RoomMoved) for body in self.sent)
        self.sent.clear()
        return found


class Teams:
    """Each was looked at this often; `looked` is called each time."""

    def __init__(self) -> None:
        self.looks = Counter[tuple[str, bool]]()
        self.looked: Callable[[str], None] = lambda _: None

    async def teams(self) -> list[str]:
        return []

    async def view(self, team: str, _: datetime, *, afresh: bool) -> TeamView:
        self.looks[team, afresh] += 1
        self.looked(team)
        return TeamView(team=team, granted_seconds=0, used_seconds=0, reserved_seconds=0, balance_seconds=0)


def a_teller(room: Room, bus: Bus, clock: Clock, teams: Teams, term: Callable[[], int | None]) -> Teller:
    return Teller(
        board=cast(Any, room),
        teams=cast(Any, teams),
        lists=(),
        bus=cast(Any, bus),
        clock=cast(Any, clock),
        term=term,
        envelope=lambda body, team: Envelope(id="m", time=clock.now(), source="test", team=team, body=body),
    )


async def test_minutes_are_told_once_a_round_however_often_they_change_and_again_after_a_failure() -> None:
    room, teams = Room(trainers=[trainer("t1")]), Teams()
    term: list[int | None] = [1]
    teller = a_teller(room, Bus(), Clock(), teams, lambda: term[0])
    teams.looked = teller.touch  # a job of theirs ends while they are told
    for team in ("ours", "theirs"):
        teller.touch(team)
    for number in (1, 2):
        await teller.round()
        # Whoever plans hears of each write: it needs no look at the store.
        assert teams.looks == {("ours", False): number, ("theirs", False): number}

    def out(_: str) -> None:
        raise ConnectionError("no store")

    teams.looked = out
    with pytest.raises(ConnectionError):
        await teller.round()
    teams.looked = lambda _: None
    # Whoever plans no longer, though it doesn't know it yet, asks the store.
    for room.live, term[0] in ((False, 1), (True, None)):
        teams.looks.clear()
        for team in ("ours", "theirs"):
            teller.touch(team)
        for _ in range(2):
            await teller.round()
            assert teams.looks == {("ours", True): 1, ("theirs", True): 1}


async def test_all_are_told_once_whenever_what_is_shown_of_the_room_has_changed() -> None:
    room, bus, clock = Room(OUR_RUN, THEIRS, trainers=[trainer("t1")]), Bus(), Clock()
    term: list[int | None] = [1]
    teller = a_teller(room, bus, clock, Teams(), lambda: term[0])

    async def moves() -> int:
        clock.seconds += 1
        await teller.round()
        return bus.moves()

    assert await moves() == 1  # whoever begins to plan tells everything
    assert await moves() == 0
    room.on_it["ours-2"] = with_checkpoint(OUR_RUN, step=200)
    assert await moves() == 1  # further
    room.trainers = [trainer("t1"), trainer("t9")]
    assert await moves() == 1  # one more slot
    room.on_it["theirs-1"] = replace(THEIRS, view=replace(THEIRS.view, priority=5))
    assert await moves() == 1  # another class
    room.on_it["ours-1"] = OURS
    await teller.round()
    assert QueueMoved in {type(body) for body in bus.sent}
    assert bus.moves() == 1  # one fact, whatever else is told
    del room.on_it["ours-2"]
    assert await moves() == 1  # gone
    assert await moves() == 0
    term[0] = None
    del room.on_it["ours-1"]
    assert await moves() == 0  # another one plans, and tells
    term[0] = 2
    assert await moves() == 1
