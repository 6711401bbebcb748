"""The law of the stream: a snapshot, folded with every later event, equals a fresh snapshot.

Random histories of a team are delivered out of order, doubled, through outages and deaths of the process between any two
writes; clients watch from any moment on, leave and resume. The client's fold is the command line's own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pymongo.errors import AutoReconnect

from services.cli.fold import State
from services.status.channel import Client
from services.status.domain import resumable
from shared.contract.errors import Retry, Stale
from shared.contract.events import AnnouncementsChanged, RoomMoved
from shared.contract.jobs import JobState
from shared.contract.wire import Envelope
from tests.support.status_facts import (
    NOW,
    announced,
    changed,
    checkpointed,
    dataset_created,
    dataset_deleted,
    deleted,
    job,
    minutes,
    queue_moved,
    room_moved,
)
from tests.support.stream_client import shown, take
from tests.unit.status.test_folder import WRITES, World


class Killed(BaseException):
    """The process died."""


class Watcher:
    """A client: what it has folded, and its connection while it has one."""

    def __init__(self) -> None:
        self.state = State()
        self._client: Client | None = None

    async def connect(self, world: World) -> None:
        """As ws.py does: from the position on where that is possible, else from a snapshot."""
        channel, store = await world.hub.channel("demo"), world.store
        position = self.state.position
        asked = {} if position is None else {"epoch": position.epoch, "seq": str(position.seq)}
        after = resumable(asked, channel.epoch, channel.last)
        if after is not None and (channel.holds(after) or await store.has_logged("demo", after + 1)):
            upto = after if channel.holds(after) else channel.last
            self._client = channel.attach(upto)
            self._take(channel.events_frame(await store.log("demo", after, upto), NOW))
        else:
            self._client = channel.attach(None)
            self._take(channel.snapshot(NOW))

    def disconnect(self) -> None:
        if self._client is not None:
            self._client.channel.detach(self._client)
            self._client = None

    async def catch_up(self, world: World) -> None:
        """Take whatever is due; connect first where there is no connection to this process."""
        if self._client is None or self._client.ended.done():
            self.disconnect()
            await self.connect(world)
        client = self._client
        assert client is not None
        due = client.channel.due(client.seq, client.revision, NOW)
        if due is None:
            self.disconnect()
            await self.connect(world)
        else:
            self._take(due.frame)
            client.seq, client.revision = due.seq, due.revision

    def _take(self, frame: bytes) -> None:
        self.state = take(self.state, frame)


class History:
    """A run of the service over a list of facts, and whoever watches it."""

    def __init__(self) -> None:
        self.world = World(log_keep=8)
        self.watchers = [Watcher() for _ in range(3)]
        self.unsettled: list[Envelope] = []

    async def deliver(self, facts: list[Envelope]) -> None:
        """Facts at once, as the bus does for different jobs. What isn't settled is delivered again later."""
        outcomes = await asyncio.gather(*map(self._fold, facts), return_exceptions=True)
        for fact, outcome in zip(facts, outcomes, strict=True):
            if isinstance(outcome, AutoReconnect | Retry | asyncio.CancelledError):
                self.unsettled.append(fact)
            elif isinstance(outcome, BaseException) and not isinstance(outcome, Stale):
                raise outcome

    async def die(self, facts: list[Envelope]) -> None:
        """The process dies at whatever write was set, with `facts` in hand."""
        with contextlib.suppress(Killed):
            for fact in facts:
                with contextlib.suppress(Stale):
                    await self._fold(fact)
        self.unsettled.extend(facts)  # nothing was acknowledged
        await self.restart()
        for watcher in self.watchers:
            watcher.disconnect()

    async def restart(self) -> None:
        """Another process, which begins as app.py has it."""
        self.world.restart()
        await self.world.room.load()

    async def settle(self) -> None:
        while self.unsettled:
            facts, self.unsettled = self.unsettled, []
            await self.deliver(facts)

    async def _fold(self, fact: Envelope) -> None:
        world = self.world
        await (world.room.fold if isinstance(fact.body, RoomMoved | AnnouncementsChanged) else world.folder.fold)(fact)


STATES = st.sampled_from(list(JobState))
MODELS = st.sampled_from(["m1", "m2"])
FACTS = st.one_of(
    st.builds(
        lambda model, version, state: changed(job(model, version, state, attempt=version // 3)),
        MODELS, st.integers(1, 8), STATES,
    ),
    st.builds(deleted, MODELS),
    st.builds(lambda model, step, attempt: checkpointed(model, step, attempt), MODELS, st.integers(1, 3), st.integers(1, 3)),
    st.builds(dataset_created, st.sampled_from(["d1", "d2"])),
    st.builds(dataset_deleted, st.sampled_from(["d1", "d2"])),
    st.builds(lambda jobs, at: queue_moved(*jobs, seconds=at), st.lists(MODELS, unique=True), st.integers(0, 9)),
    st.builds(lambda at: room_moved(seconds=at), st.integers(0, 9)),
    st.builds(lambda version, text: announced(version, text), st.integers(1, 5), st.sampled_from(["Finals", "Snow"])),
    st.builds(lambda version, balance: minutes(version, balance), st.integers(1, 5), st.integers(0, 9)),
)  # fmt: skip
BATCHES = st.lists(st.integers(0, 19), min_size=1, max_size=4)
WATCHER = st.integers(0, 2)
FAILURE = st.tuples(st.integers(0, WRITES - 1), st.booleans())
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), BATCHES),
        st.tuples(st.just("outage"), BATCHES, FAILURE),
        st.tuples(st.just("die"), BATCHES, FAILURE),
        st.tuples(st.just("watch"), WATCHER),
        st.tuples(st.just("leave"), WATCHER),
        st.tuples(st.just("trim")),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(facts=st.lists(FACTS, min_size=20, max_size=20), steps=STEPS)
def test_snapshot_and_events_equal_a_fresh_snapshot(facts: list[Envelope], steps: list[tuple[object, ...]]) -> None:
    asyncio.run(_run(facts, steps))


async def _run(facts: list[Envelope], steps: list[tuple[object, ...]]) -> None:
    history = History()
    for step in steps:
        await _perform(history, facts, step)
    history.world.store.heal()
    await history.settle()
    fresh = Watcher()
    await fresh.catch_up(history.world)
    for watcher in history.watchers:
        await watcher.catch_up(history.world)
        assert shown(watcher.state) == shown(fresh.state)
    # What a later process reads from the store is what this one shows from memory.
    await history.restart()
    again = Watcher()
    await again.catch_up(history.world)
    assert shown(_placeless(again.state)) == shown(_placeless(fresh.state))  # an empty log begins a new epoch


def _placeless(state: State) -> State:
    return replace(state, position=None) if state.position is not None and state.position.seq == 0 else state


async def _perform(history: History, facts: list[Envelope], step: tuple[object, ...]) -> None:
    history.world.store.heal()
    match step:
        case ("deliver", list(picked)):
            await history.deliver([facts[index] for index in picked])
        case ("outage", list(picked), (int(write), bool(after))):
            history.world.store.fail(AutoReconnect("down"), write=write, after=after)
            await history.deliver([facts[index] for index in picked])
        case ("die", list(picked), (int(write), bool(after))):
            history.world.store.fail(Killed(), write=write, after=after)
            await history.die([facts[index] for index in picked])
        case ("watch", int(number)):
            await history.watchers[number].catch_up(history.world)
        case ("leave", int(number)):
            history.watchers[number].disconnect()
        case ("trim",):
            await history.world.folder.tidy()
        case other:
            raise AssertionError(other)


def test_the_order_of_delivery_does_not_matter() -> None:
    """Versions decide: whatever order facts come in, the views end the same (of facts that aren't deletions)."""
    facts = [changed(job(version=version)) for version in range(1, 6)] + [minutes(version) for version in range(1, 6)]

    async def end(order: Callable[[list[Envelope]], list[Envelope]]) -> object:
        history = History()
        for fact in order(facts):
            await history.deliver([fact])
        watcher = Watcher()
        await watcher.catch_up(history.world)
        return [watcher.state.models, watcher.state.minutes]

    async def both() -> tuple[object, object]:
        return await end(list), await end(lambda all_: all_[::-1])

    forward, backward = asyncio.run(both())
    assert forward == backward
