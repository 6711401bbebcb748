"""The order of writes and what a failure between any two of them does: on the store in memory, which fails where it is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from pymongo.errors import AutoReconnect

from services.status.handlers import Folder
from services.status.hub import CLOSE_RESTART, Hub
from services.status.room import RoomFolder
from services.status.store import LogEntry
from shared.contract.errors import Reject, Retry, Stale, UserError
from shared.contract.jobs import JobState
from shared.contract.stream import CLOSE_RESUME, SnapshotFrame, StreamEvent
from shared.contract.wire import Envelope
from shared.runtime.metrics import Metrics
from tests.support.status_facts import (
    NOW,
    announced,
    changed,
    checkpointed,
    dataset_created,
    deleted,
    envelope,
    job,
    progressed,
    queue_moved,
    room_moved,
)
from tests.unit.status.memory_store import MemoryStore
from tests.unit.status.test_channel import LoopClock

WRITES = 4  # story, views, removal of deleted models' metrics, log


class World:
    """A store, and the service on it; `restart` is a new process."""

    def __init__(self, *, log_keep: int = 1000) -> None:
        self.store = MemoryStore()
        self.log_keep = log_keep
        self.restart()

    def restart(self) -> None:
        self.hub = Hub(self.store, LoopClock(), backlog=100)
        self.folder = self.another()
        self.room = RoomFolder(self.store, self.hub)

    def another(self) -> Folder:
        return Folder(self.store, self.hub, LoopClock(), Metrics(), log_keep=self.log_keep)

    def logged(self, team: str = "demo") -> list[StreamEvent]:
        log = self.store.logs.get(team, {})
        return [msgspec.json.decode(log[seq].data, type=StreamEvent) for seq in sorted(log)]

    async def snapshot(self, team: str = "demo") -> SnapshotFrame:
        channel = await self.hub.channel(team)
        return msgspec.json.decode(channel.snapshot(NOW), type=SnapshotFrame)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_fact_is_folded_logged_and_shown(world: World) -> None:
    await world.folder.fold(changed(job()))
    assert [event.seq for event in world.logged()] == [1]
    assert [model.id for model in (await world.snapshot()).models] == ["m1"]


async def test_a_repeated_and_a_late_fact_change_nothing(world: World) -> None:
    first, second = changed(job(version=1)), changed(job(version=2))
    await world.folder.fold(first)
    await world.folder.fold(second)
    for fact in (first, second):
        with pytest.raises(Stale):
            await world.folder.fold(fact)
    assert len(world.logged()) == 2
    assert len(world.store.stories) == 2


async def test_a_late_fact_still_tells_its_part_of_the_story(world: World) -> None:
    await world.folder.fold(changed(job(version=2)))
    with pytest.raises(Stale):
        await world.folder.fold(changed(job(version=1)))
    assert len(world.store.stories) == 2


async def test_that_the_room_has_moved_is_shown_to_all_teams_also_later_and_by_a_later_process(world: World) -> None:
    await world.hub.channel("early")
    await world.room.fold(room_moved(seconds=5))
    at = NOW + timedelta(seconds=5)
    assert [(await world.snapshot(team)).room_moved_at for team in ("early", "late")] == [at, at]
    for seconds in (5, 4):
        with pytest.raises(Stale):
            await world.room.fold(room_moved(seconds=seconds))
    with pytest.raises(Reject):
        await world.room.fold(queue_moved())
    world.restart()
    await world.room.load()
    assert (await world.snapshot("early")).room_moved_at == at
    assert not world.logged("early")


async def test_announcements_are_shown_to_all_teams_the_newest_list_wins(world: World) -> None:
    await world.room.fold(announced(2, "Finals", "Snow"))
    for version in (2, 1):
        with pytest.raises(Stale):
            await world.room.fold(announced(version, "Late"))
    assert [one.text for one in (await world.snapshot()).announcements] == ["Finals", "Snow"]
    world.restart()
    await world.room.load()
    assert [one.text for one in (await world.snapshot("late")).announcements] == ["Finals", "Snow"]
    await world.room.fold(announced(3))
    snapshot = await world.snapshot("late")
    assert (snapshot.announcements, snapshot.room_moved_at) == ([], None)


async def test_a_bad_fact_is_rejected_alone(world: World) -> None:
    outcomes = await asyncio.gather(
        world.folder.fold(changed(job(team="theirs"), team="demo")),
        world.folder.fold(changed(job("m2"))),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], Reject)
    assert outcomes[1] is None


async def test_what_waits_is_written_together(world: World) -> None:
    await asyncio.gather(*(world.folder.fold(changed(job(f"m{number}"))) for number in range(50)))
    assert [event.seq for event in world.logged()] == list(range(1, 51))
    assert world.store.writes <= 2 * WRITES


async def test_one_fact_that_arrives_twice_at_once_is_told_once(world: World) -> None:
    fact = changed(job())
    outcomes = await asyncio.gather(*(world.folder.fold(fact) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), Stale, Stale]
    assert len(world.logged()) == 1


async def test_metrics_are_kept_of_a_model_that_is_not_known_yet_and_go_with_it(world: World) -> None:
    await world.folder.fold(checkpointed())
    assert len(world.store.metrics) == 1
    await world.folder.fold(changed(job(version=2, attempt=2)))
    with pytest.raises(Stale):
        await world.folder.fold(checkpointed(step=200, attempt=1))
    await world.folder.fold(deleted())
    assert not world.store.metrics
    assert not world.store.stories
    with pytest.raises(Stale):
        await world.folder.fold(checkpointed(step=300, attempt=2))
    with pytest.raises(Stale):
        await world.folder.fold(changed(job(version=3)))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("write", range(WRITES))
@pytest.mark.parametrize("fact", [changed(job()), deleted(), checkpointed(), dataset_created()])
async def test_an_outage_at_any_write_costs_nothing(world: World, fact: Envelope, write: int, *, after: bool) -> None:
    await world.folder.fold(queue_moved("m1"))
    watcher = (await world.hub.channel("demo")).attach(None)
    world.store.fail(AutoReconnect("down"), write=write, after=after)
    outcome = (await asyncio.gather(world.folder.fold(fact), return_exceptions=True))[0]
    if isinstance(outcome, AutoReconnect):  # the bus brings it back
        outcome = (await asyncio.gather(world.folder.fold(fact), return_exceptions=True))[0]
    assert outcome is None or isinstance(outcome, Stale)
    assert [event.seq for event in world.logged()] == [1, 2]
    channel = await world.hub.channel("demo")
    assert not watcher.ended.done()  # whoever watched goes on without a gap
    due = channel.due(watcher.seq, watcher.revision, NOW)
    assert due is not None
    assert due.seq == 2


async def test_an_outage_fails_all_that_wait(world: World) -> None:
    facts = [changed(job(f"m{number}")) for number in range(4)]
    world.store.fail(AutoReconnect("down"), write=WRITES + 1)  # the first takes its turn alone, the rest come together
    outcomes = await asyncio.gather(*map(world.folder.fold, facts), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None)] + 3 * [AutoReconnect]
    await asyncio.gather(*map(world.folder.fold, facts[1:]))
    assert len(world.logged()) == 4


async def test_a_failure_that_is_no_outage_hits_only_its_own_fact(world: World) -> None:
    """The batch fails, then each of its facts is tried alone: the first try of one of them fails again."""
    facts = [changed(job(f"m{number}")) for number in range(4)]
    world.store.fail(OverflowError("too large"), write=WRITES + 1)
    assert await asyncio.gather(*map(world.folder.fold, facts)) == [None, None, None, None]
    world.store.fail(OverflowError("too large"), write=1)
    with pytest.raises(OverflowError):
        await world.folder.fold(changed(job("m9")))
    await world.folder.fold(changed(job("m10")))
    assert [event.seq for event in world.logged()] == [1, 2, 3, 4, 5]


async def test_a_cancelled_turn_leaves_the_others_theirs(world: World) -> None:
    world.store.fail(asyncio.CancelledError(), write=2)
    facts = [changed(job(f"m{number}")) for number in range(3)]
    outcomes = await asyncio.gather(*map(world.folder.fold, facts), return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [None, None]
    await world.folder.fold(facts[0])
    assert sorted(event.seq for event in world.logged()) == [1, 2, 3]


async def test_another_process_that_folds_too_is_noticed_and_caught_up_with(world: World) -> None:
    """A consumer that lost its place and one that took it over: both have the team in memory."""
    await world.folder.fold(changed(job("m1")))
    mine, old_folder, old_hub = world.folder, world.folder, world.hub
    watcher = (await old_hub.channel("demo")).attach(None)
    world.restart()
    await world.folder.fold(changed(job("m2")))
    with pytest.raises(Retry):
        await mine.fold(changed(job("m3")))
    await old_folder.fold(changed(job("m4")))
    channel = await old_hub.channel("demo")
    due = channel.due(watcher.seq, watcher.revision, NOW)
    assert due is not None
    assert due.seq == 3
    assert [event.seq for event in world.logged()] == [1, 2, 3]
    assert {record.id for record in channel.records.values()} >= {"m1", "m2", "m4"}


async def test_a_lost_log_begins_a_new_epoch_and_sends_watchers_back(world: World) -> None:
    await world.folder.fold(changed(job("m1")))
    channel = await world.hub.channel("demo")
    watcher = channel.attach(None)
    world.store.logs.clear()
    channel.doubtful = True
    await world.folder.fold(changed(job("m2")))
    assert await watcher.ended == CLOSE_RESUME
    assert (await world.hub.channel("demo")).epoch != channel.epoch


async def test_the_epoch_outlives_the_process(world: World) -> None:
    await world.folder.fold(changed(job("m1")))
    epoch = (await world.hub.channel("demo")).epoch
    world.restart()
    channel = await world.hub.channel("demo")
    assert (channel.epoch, channel.last) == (epoch, 1)


async def test_progress_is_shown_or_stale(world: World) -> None:
    with pytest.raises(Stale):
        await world.folder.progress(progressed())
    await world.folder.fold(changed(job(state=JobState.RUNNING, attempt=1)))
    await world.folder.progress(progressed(step=7))
    assert [progress.step for progress in (await world.snapshot()).progress] == [7]
    with pytest.raises(Stale):
        await world.folder.progress(progressed(step=6))
    with pytest.raises(Reject):
        await world.folder.progress(envelope(progressed().body))


async def test_the_log_is_trimmed_to_its_newest() -> None:
    world = World(log_keep=3)
    for version in range(1, 9):
        await world.folder.fold(changed(job(version=version)))
    await world.folder.tidy()
    await world.folder.tidy()
    assert [event.seq for event in world.logged()] == [6, 7, 8]


async def test_a_team_that_nobody_watches_leaves_memory(world: World) -> None:
    await world.folder.fold(changed(job()))
    watcher = (await world.hub.channel("demo")).attach(None)
    await world.hub.forget_idle(-1)
    assert world.hub.clients() == 1
    watcher.channel.detach(watcher)
    await world.hub.forget_idle(60)
    assert len(world.hub.channels()) == 1
    await world.hub.forget_idle(-1)
    assert not world.hub.channels()
    await world.folder.fold(changed(job(version=2)))
    assert [event.seq for event in world.logged()] == [1, 2]


async def test_a_hub_that_drains_closes_all_and_takes_nobody(world: World) -> None:
    watcher = (await world.hub.channel("demo")).attach(None)
    await world.hub.drain()
    assert await watcher.ended == CLOSE_RESTART
    with pytest.raises(UserError, match="restarts"):
        await world.hub.channel("demo")


async def test_teams_have_sequences_of_their_own(world: World) -> None:
    await world.folder.fold(changed(job("m1")))
    await world.folder.fold(changed(job("m2", team="theirs"), team="theirs"))
    assert [event.seq for event in world.logged("theirs")] == [1]
    assert [model.id for model in (await world.snapshot("theirs")).models] == ["m2"]


async def test_a_number_is_given_once(world: World) -> None:
    """The log has the last word: an entry that is there already is a conflict, never overwritten."""
    await world.folder.fold(changed(job("m1")))
    with pytest.raises(Retry):
        await world.store.append("demo", [LogEntry(id="other", seq=1, data=b"{}")])
