"""Who watches, and what each watcher gets: a team's channel and its clients.

Owns the numbers of events, their place in memory and the pace of frames; knows neither websocket nor database. A channel
keeps the last `backlog` events, encoded, in one ring for all its clients, and a client is a position in it: so a slow one costs
no memory, delays nobody (each is written to by a task of its own) and is told to resume when the ring has passed it. The
newest progress of each model lies beside the ring; a frame for clients at the same position is made once.

Everything that reads or changes a channel is synchronous: a snapshot's content and its number can't come apart.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice

import msgspec

from services.status import domain
from services.status.views import Record, key, newest_first
from shared.contract.stream import CLOSE_RESUME, Progress
from shared.runtime.clock import Clock

_EVENTS_A_FRAME = 200
_encode = msgspec.json.encode
Raw = msgspec.Raw


class _Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="snapshot"):
    """SnapshotFrame with its parts already encoded."""

    epoch: str
    seq: int
    time: datetime
    team: str
    minutes: Raw | None
    models: list[Raw]
    datasets: list[Raw]
    queue: Raw
    progress: list[Raw]
    room_moved_at: datetime | None
    announcements: Raw


class _Events(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="events"):
    """EventsFrame with its parts already encoded."""

    epoch: str
    time: datetime
    events: list[Raw]
    progress: list[Raw]
    room_moved_at: datetime | None
    announcements: Raw | None


class Room(msgspec.Struct, frozen=True):
    """What is shown to all teams alike: when the room last moved, and what is announced, as JSON."""

    moved_at: datetime | None = None
    announcements: bytes = b"[]"


class Due(msgspec.Struct, frozen=True):
    """A frame and the position (sequence number, progress revision) that a client is at after it."""

    frame: bytes
    seq: int
    revision: int


class Channel:
    """One team: its views in memory, its place in the sequence, its clients."""

    def __init__(self, team: str, epoch: str, last: int, records: dict[str, Record], *, backlog: int) -> None:
        self.team = team
        self.epoch = epoch
        self.last = last
        self.records = records
        self.revision = 0  # rises with each progress, and with what concerns the whole room
        self.clients: set[Client] = set()
        self.doubtful = False  # memory may be behind the database: to be compared before the next use
        self._code: int | None = None
        self._ring: deque[bytes] = deque(maxlen=backlog)
        self._progress: dict[str, tuple[int, Progress, bytes]] = {}
        # What it was, and at which revision its parts were told.
        self._room, self._moved_in, self._announced_in = Room(), 0, 0
        self._made: tuple[tuple[int, ...], Due] | None = None

    # --- what happens --------------------------------------------------------------------------------------------------

    def publish(self, records: Mapping[str, Record], events: Sequence[bytes]) -> None:
        """Take changed views over, and tell clients the events that follow `last`."""
        self.records.update(records)
        self._drop_stopped()
        self.last += len(events)
        if self.clients:
            self._ring.extend(events)
            self._wake()

    def renew(self, records: dict[str, Record], missed: Sequence[bytes]) -> None:
        """Replace the views by what the database holds; `missed` are the events that it logged in the meantime."""
        self.records = records
        self.publish({}, missed)
        self.doubtful = False

    def put_progress(self, progress: Progress) -> bool:
        """Show the newest figures of a running model; False where they are late or the model doesn't run."""
        model = self.records.get(key("model", self.team, progress.model_id))
        _, known, _ = self._progress.get(progress.model_id, (0, None, b""))
        if model is None or not domain.shows_progress(model.state, model.attempt, progress):
            return False
        if not domain.advances(known, progress):
            return False
        self.revision += 1
        self._progress[progress.model_id] = (self.revision, progress, _encode(progress))
        self._wake()
        return True

    def put_room(self, room: Room) -> None:
        """Show what concerns all teams."""
        if room == self._room:
            return
        self.revision += 1
        if room.moved_at != self._room.moved_at:
            self._moved_in = self.revision
        if room.announcements != self._room.announcements:
            self._announced_in = self.revision
        self._room = room
        self._wake()

    def progress(self, model_id: str) -> Progress | None:
        """The newest figures of a model, None where it doesn't run."""
        _, newest, _ = self._progress.get(model_id, (0, None, b""))
        return newest

    def end(self, code: int) -> None:
        """Close every client with `code`, and whoever attaches later."""
        self._code = code
        for client in self.clients:
            client.end(code)

    # --- what clients get ----------------------------------------------------------------------------------------------

    def attach(self, seq: int | None) -> Client:
        """A client that has everything up to `seq`, or (None) will be sent a snapshot as of now."""
        client = Client(self, self.last if seq is None else seq, self.revision if seq is None else 0)
        self.clients.add(client)
        if self._code is not None:
            client.end(self._code)
        return client

    def detach(self, client: Client) -> None:
        """The client is gone."""
        self.clients.discard(client)
        if not self.clients:
            self._ring.clear()

    def holds(self, seq: int) -> bool:
        """Whether all events after `seq` are in the ring."""
        return seq >= self.last - len(self._ring)

    def snapshot(self, now: datetime) -> bytes:
        """A SnapshotFrame of this moment."""
        minutes = self.records.get(key("minutes", self.team))
        queue = self.records.get(key("queue", self.team))
        views = self.records.values()
        return _encode(
            _Snapshot(
                epoch=self.epoch,
                seq=self.last,
                time=now,
                team=self.team,
                minutes=None if minutes is None or minutes.data is None else Raw(minutes.data),
                models=[Raw(data) for data in newest_first(views, "model")],
                datasets=[Raw(data) for data in newest_first(views, "dataset")],
                queue=Raw(b"[]" if queue is None or queue.data is None else queue.data),
                progress=[Raw(data) for _, _, data in self._progress.values()],
                room_moved_at=self._room.moved_at,
                announcements=Raw(self._room.announcements),
            )
        )

    def due(self, seq: int, revision: int, now: datetime) -> Due | None:
        """The next EventsFrame for a client at that position, None if the ring has passed it."""
        if not self.holds(seq):
            return None
        upto = min(self.last, seq + _EVENTS_A_FRAME)
        position = (seq, upto, revision, self.revision)
        if self._made is not None and self._made[0] == position:
            return self._made[1]
        first = seq - (self.last - len(self._ring))
        events = list(islice(self._ring, first, first + upto - seq))
        progress = [data for number, _, data in self._progress.values() if number > revision]
        due = Due(self.events_frame(events, now, progress, revision), upto, self.revision)
        # An empty one only tells the time, which the next one must tell anew.
        told = events or progress or max(self._moved_in, self._announced_in) > revision
        self._made = (position, due) if told else None
        return due

    def events_frame(
        self,
        events: Sequence[bytes],
        now: datetime,
        progress: Sequence[bytes] = (),
        revision: int | None = None,
    ) -> bytes:
        """An EventsFrame of parts that are encoded, with what of the room came after `revision` (None: nothing)."""
        moved = revision is not None and self._moved_in > revision
        announced = revision is not None and self._announced_in > revision
        return _encode(
            _Events(
                epoch=self.epoch,
                time=now,
                events=[Raw(event) for event in events],
                progress=[Raw(newest) for newest in progress],
                room_moved_at=self._room.moved_at if moved else None,
                announcements=Raw(self._room.announcements) if announced else None,
            )
        )

    def _wake(self) -> None:
        for client in self.clients:
            client.wake.set()

    def _drop_stopped(self) -> None:
        self._made = None
        for model_id, (_, progress, _) in list(self._progress.items()):
            model = self.records.get(key("model", self.team, model_id))
            if model is None or not domain.shows_progress(model.state, model.attempt, progress):
                del self._progress[model_id]


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: the least between two frames, the most without one, and how long a client may take to accept one."""

    tick: float
    idle: float
    send: float


class Client:
    """One watcher: a position in its channel, and the code and reason that it is to be closed with."""

    def __init__(self, channel: Channel, seq: int, revision: int) -> None:
        self.channel = channel
        self.seq = seq
        self.revision = revision
        self.wake = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.reason = ""

    def end(self, code: int, reason: str = "") -> None:
        """Have the client closed with `code`; the first call counts."""
        if not self.ended.done():
            self.reason = reason
            self.ended.set_result(code)

    async def pump(
        self, first: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]], clock: Clock, pace: Pace
    ) -> None:
        """Send `first` and then whatever comes, until the client is too slow (it is ended with CLOSE_RESUME) or gone.

        `send` raises ConnectionError once the client is gone.
        """
        try:
            async for frame in first:
                async with asyncio.timeout(pace.send):
                    await send(frame)
            while True:
                await self._something(pace.idle)
                due = self.channel.due(self.seq, self.revision, clock.now())
                if due is None:
                    self.end(CLOSE_RESUME)
                    return
                async with asyncio.timeout(pace.send):
                    await send(due.frame)
                self.seq, self.revision = due.seq, due.revision
                if self.seq < self.channel.last:
                    self.wake.set()
                await asyncio.sleep(pace.tick)
        except TimeoutError:
            self.end(CLOSE_RESUME)
        except ConnectionError:
            self.end(0)  # nobody is left to be told a code

    async def _something(self, seconds: float) -> None:
        """Until there is something to send, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            return
        self.wake.clear()
