"""What each watcher gets and when, on virtual time: merging, pace, slow clients, progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from services.cli.fold import State
from services.status.channel import Channel, Client, Pace, Room
from services.status.domain import progress_of
from services.status.views import Record, fold
from shared.contract.events import TrainingProgressed
from shared.contract.jobs import JobState
from shared.contract.stream import CLOSE_RESUME, EventsFrame, Frame, SnapshotFrame
from shared.contract.wire import Envelope
from tests.support import virtual_time
from tests.support.status_facts import (
    NOW,
    changed,
    dataset_created,
    job,
    minutes,
    progressed,
    queue_moved,
)
from tests.support.stream_client import take

PACE = Pace(tick=0.05, idle=20, send=10)
RUNNING = changed(job(state=JobState.RUNNING, attempt=1))


class LoopClock:
    """The event loop's time, as wall clock and monotonic clock."""

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


CLOCK = LoopClock()


def tell(channel: Channel, *facts: Envelope) -> None:
    """Fold facts into the channel and publish them, as Folder does."""
    for fact in facts:
        outcome = fold(channel.records, fact)
        event = msgspec.structs.replace(outcome.event, seq=channel.last + 1)
        channel.publish({outcome.record.key: outcome.record}, [msgspec.json.encode(event)])


def step(channel: Channel, number: int, attempt: int = 1) -> bool:
    body = progressed(step=number).body
    assert isinstance(body, TrainingProgressed)
    return channel.put_progress(progress_of("m1", attempt, NOW, body))


def channel_with(*facts: Envelope, backlog: int = 100) -> Channel:
    records: dict[str, Record] = {}
    channel = Channel("demo", "epoch", 0, records, backlog=backlog)
    tell(channel, *facts)
    return channel


class Receiver:
    """The far end of a client: frames with the time at which they came; may take long for each."""

    def __init__(self, seconds: float = 0) -> None:
        self.frames: list[tuple[float, Frame]] = []
        self.raw: list[bytes] = []
        self._seconds = seconds

    async def send(self, frame: bytes) -> None:
        await asyncio.sleep(self._seconds)
        self.raw.append(frame)
        self.frames.append((CLOCK.monotonic(), msgspec.json.decode(frame, type=Frame)))

    def events(self) -> list[int]:
        return [event.seq for _, frame in self.frames if isinstance(frame, EventsFrame) for event in frame.events]


async def nothing(*frames: bytes) -> AsyncIterator[bytes]:
    for frame in frames:
        yield frame


def watch(
    channel: Channel, receiver: Receiver | Callable[[bytes], Awaitable[None]], first: Sequence[bytes] = ()
) -> tuple[Client, asyncio.Task[None]]:
    client = channel.attach(None)
    send = receiver.send if isinstance(receiver, Receiver) else receiver
    return client, asyncio.create_task(client.pump(nothing(*first), send, CLOCK, PACE))


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_a_snapshot_holds_all_that_a_page_shows() -> None:
    async def scenario() -> None:
        channel = channel_with(RUNNING, dataset_created(), queue_moved("m2"), minutes())
        assert step(channel, 5)
        frame = msgspec.json.decode(channel.snapshot(NOW), type=SnapshotFrame)
        assert (frame.epoch, frame.seq, frame.time, frame.team) == ("epoch", 4, NOW, "demo")
        assert [model.id for model in frame.models] == ["m1"]
        assert [dataset.id for dataset in frame.datasets] == ["d1"]
        assert [place.job_id for place in frame.queue] == ["m2"]
        assert frame.minutes is not None
        assert [progress.step for progress in frame.progress] == [5]

    virtual_time.run(scenario())


def test_the_first_event_goes_at_once_and_the_rest_of_a_tick_in_one_frame() -> None:
    async def scenario() -> None:
        channel, receiver = channel_with(), Receiver()
        _, task = watch(channel, receiver)
        await asyncio.sleep(1)
        tell(channel, changed(job(version=1)))
        await asyncio.sleep(0.01)
        tell(channel, *(changed(job(version=version)) for version in range(2, 10)))
        await asyncio.sleep(1)
        await stop(task)
        assert [round(at, 6) for at, _ in receiver.frames] == [1.0, 1.05]
        assert receiver.events() == list(range(1, 10))

    virtual_time.run(scenario())


def test_only_the_newest_progress_of_a_tick_is_sent() -> None:
    async def scenario() -> None:
        channel, receiver = channel_with(RUNNING), Receiver()
        _, task = watch(channel, receiver)
        assert step(channel, 1)
        await asyncio.sleep(0.01)
        assert all(step(channel, number) for number in range(2, 100))
        await asyncio.sleep(1)
        await stop(task)
        sent = [p.step for _, frame in receiver.frames if isinstance(frame, EventsFrame) for p in frame.progress]
        assert sent == [1, 99]

    virtual_time.run(scenario())


def test_progress_ends_with_the_job_and_with_its_attempt() -> None:
    async def scenario() -> None:
        channel = channel_with(RUNNING)
        assert not step(channel, 5, attempt=2)  # the view isn't there yet
        assert step(channel, 5)
        assert not step(channel, 4)
        tell(channel, changed(job(version=2, state=JobState.RUNNING, attempt=2)))
        assert channel.progress("m1") is None
        assert step(channel, 1, attempt=2)
        tell(channel, changed(job(version=3, state=JobState.STOPPING, attempt=2)))
        assert channel.progress("m1") is not None
        tell(channel, changed(job(version=4, state=JobState.SUCCEEDED, attempt=2)))
        assert channel.progress("m1") is None
        assert not step(channel, 9, attempt=2)
        assert not msgspec.json.decode(channel.snapshot(NOW), type=SnapshotFrame).progress

    virtual_time.run(scenario())


def test_a_client_that_resumes_gets_the_newest_progress_again() -> None:
    async def scenario() -> None:
        channel = channel_with(RUNNING)
        step(channel, 5)
        client = channel.attach(channel.last)
        due = channel.due(client.seq, client.revision, NOW)
        assert due is not None
        assert b'"step":5' in due.frame

    virtual_time.run(scenario())


def test_an_idle_client_hears_the_time() -> None:
    async def scenario() -> None:
        channel, receiver = channel_with(), Receiver()
        _, task = watch(channel, receiver)
        await asyncio.sleep(45)
        await stop(task)
        assert [round(at) for at, _ in receiver.frames] == [20, 40]
        assert [round((frame.time - NOW).total_seconds()) for _, frame in receiver.frames] == [20, 40]

    virtual_time.run(scenario())


def test_a_stalled_client_is_told_to_resume_and_delays_nobody() -> None:
    async def scenario() -> None:
        channel, quick = channel_with(), Receiver()
        stalled, stalled_task = watch(channel, Receiver(seconds=3600))
        _, quick_task = watch(channel, quick)
        tell(channel, changed(job()))
        assert await stalled.ended == CLOSE_RESUME
        assert round(CLOCK.monotonic(), 3) == PACE.send
        assert quick.frames[0][0] == 0
        await stop(stalled_task, quick_task)

    virtual_time.run(scenario())


def test_a_client_that_the_ring_has_passed_is_told_to_resume() -> None:
    async def scenario() -> None:
        channel, slow = channel_with(backlog=10), Receiver(seconds=1)
        client, task = watch(channel, slow)
        tell(channel, changed(job(version=1)))
        await asyncio.sleep(0.5)
        tell(channel, *(changed(job(version=version)) for version in range(2, 13)))
        assert await client.ended == CLOSE_RESUME
        assert slow.events() == [1]
        await task

    virtual_time.run(scenario())


def test_a_client_that_is_just_within_the_ring_misses_nothing() -> None:
    async def scenario() -> None:
        channel, slow = channel_with(backlog=10), Receiver(seconds=1)
        client, task = watch(channel, slow)
        tell(channel, changed(job(version=1)))
        await asyncio.sleep(0.5)
        tell(channel, *(changed(job(version=version)) for version in range(2, 12)))
        await asyncio.sleep(10)
        assert slow.events() == list(range(1, 12))
        assert not client.ended.done()
        await stop(task)

    virtual_time.run(scenario())


def test_much_is_sent_in_frames_of_two_hundred() -> None:
    async def scenario() -> None:
        channel, receiver = channel_with(backlog=1000), Receiver()
        _, task = watch(channel, receiver)
        tell(channel, *(changed(job(version=version)) for version in range(1, 451)))
        await asyncio.sleep(1)
        await stop(task)
        assert receiver.events() == list(range(1, 451))
        assert [len(frame.events) for _, frame in receiver.frames if isinstance(frame, EventsFrame)] == [200, 200, 50]

    virtual_time.run(scenario())


def test_clients_at_the_same_position_share_one_frame() -> None:
    async def scenario() -> None:
        channel, one, other = channel_with(), Receiver(), Receiver()
        tasks = [watch(channel, receiver)[1] for receiver in (one, other)]
        tell(channel, changed(job()))
        await asyncio.sleep(0.01)
        await stop(*tasks)
        assert one.raw[0] is other.raw[0]

    virtual_time.run(scenario())


def test_first_frames_come_first_and_are_folded_on() -> None:
    async def scenario() -> None:
        channel, receiver = channel_with(changed(job())), Receiver()
        _, task = watch(channel, receiver, [channel.snapshot(NOW)])
        tell(channel, changed(job(version=2, state=JobState.PREPARING)))
        await asyncio.sleep(1)
        await stop(task)
        state = State()
        for raw in receiver.raw:
            state = take(state, raw)
        assert state.models["m1"].state is JobState.PREPARING

    virtual_time.run(scenario())


def test_a_client_that_has_gone_ends_without_a_code() -> None:
    async def gone(_: bytes) -> None:
        raise ConnectionResetError

    async def scenario() -> None:
        channel = channel_with()
        client, task = watch(channel, gone)
        tell(channel, changed(job()))
        assert await client.ended == 0
        await task

    virtual_time.run(scenario())


def test_whoever_attaches_to_a_channel_that_ended_is_closed_too() -> None:
    async def scenario() -> None:
        channel = channel_with()
        early = channel.attach(None)
        channel.end(1012)
        late = channel.attach(None)
        channel.end(CLOSE_RESUME)  # the first code counts for those who were told
        assert (await early.ended, await late.ended) == (1012, 1012)

    virtual_time.run(scenario())


def test_what_concerns_the_room_is_told_once_and_to_whoever_comes_back() -> None:
    async def scenario() -> None:
        channel, receiver = channel_with(changed(job())), Receiver()
        client, task = watch(channel, receiver)
        at = NOW + timedelta(seconds=3)
        channel.put_room(Room(at))
        await asyncio.sleep(1)
        tell(channel, minutes())
        await asyncio.sleep(1)
        told = b'[{"id":"a1","text":"Snow","kind":"info","at":"2026-03-14T10:15:30.25Z","by":"Op"}]'
        channel.put_room(Room(at, told))
        channel.put_room(Room(at, told))
        await asyncio.sleep(1)
        await stop(task)
        frames = [frame for _, frame in receiver.frames if isinstance(frame, EventsFrame)]
        said = [(frame.room_moved_at, len(frame.events), frame.announcements) for frame in frames]
        assert [(moved, events, None if listed is None else len(listed)) for moved, events, listed in said] == [
            (at, 0, None),
            (None, 1, None),
            (None, 0, 1),
        ]
        snapshot = msgspec.json.decode(channel.snapshot(NOW), type=SnapshotFrame)
        assert (snapshot.room_moved_at, [one.text for one in snapshot.announcements]) == (at, ["Snow"])
        # It is in no log: a client that comes back may have missed it.
        due = channel.due(client.seq, channel.attach(client.seq).revision, NOW)
        assert due is not None
        frame = msgspec.json.decode(due.frame, type=EventsFrame)
        assert (frame.room_moved_at, frame.announcements) == (at, snapshot.announcements)

    virtual_time.run(scenario())


def test_nothing_is_kept_for_a_team_that_nobody_watches() -> None:
    async def scenario() -> None:
        channel = channel_with(changed(job(version=1)))
        assert not channel.holds(0)
        client = channel.attach(None)
        tell(channel, changed(job(version=2)))
        assert channel.holds(1)
        channel.detach(client)
        assert not channel.holds(1)
        assert channel.holds(2)

    virtual_time.run(scenario())
