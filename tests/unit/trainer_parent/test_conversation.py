"""What of a child's words waits for the uploads and what doesn't, on virtual time: a scripted child, a slow publisher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import cast

import pytest

from services.trainer.conversation import Conversation
from services.trainer.protocol import (
    CheckpointSaved,
    FromChild,
    ModelExported,
    Phase,
    RunEnded,
    RunPhase,
    RunProgressed,
    RunStarted,
    RunStopping,
    StopReason,
)
from services.trainer.publisher import Publisher
from services.trainer.reporter import Voice
from services.trainer.supervisor import BadChild, Child
from services.trainer.watchdog import Watchdog
from shared.contract.events import TrainingProgressed
from tests.support.virtual_time import run
from tests.unit.trainer_parent.clock import LoopClock

Said = FromChild | float | BadChild


class FakeChild:
    """Says its lines, waiting where a number of seconds stands between them; after the last it hangs unless it `ends`. Being
    killed ends it unless it is `undying`."""

    pid = 4711

    def __init__(self, lines: Sequence[Said], *, ends: bool = True) -> None:
        self._lines = lines
        self.undying = False
        self._over = asyncio.Event()
        if ends:
            self._over.set()
        self.done: list[str] = []

    async def messages(self) -> AsyncIterator[FromChild]:
        for line in self._lines:
            if isinstance(line, BadChild):
                raise line
            if isinstance(line, float):
                await asyncio.sleep(line)
            else:
                yield line
        await self._over.wait()

    def stop(self, reason: StopReason) -> None:
        self.done.append(f"stop {reason}")

    def show_stacks(self) -> None:
        self.done.append("stacks")

    def kill(self) -> None:
        self.done.append("kill")
        if not self.undying:
            self._over.set()


class SlowPublisher:
    """Takes `seconds` for whatever has files."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.taken: list[tuple[float, FromChild]] = []

    async def take(self, message: FromChild, at: datetime) -> None:
        if isinstance(message, CheckpointSaved | ModelExported):
            await asyncio.sleep(self._seconds)
        self.taken.append((asyncio.get_running_loop().time(), message))

    def kinds(self) -> list[str]:
        return [type(message).__name__ for _, message in self.taken if not isinstance(message, RunPhase)]


class Listener:
    """Stands in for the attempt's voice."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    async def mention(self, body: TrainingProgressed) -> None:
        self.steps.append(body.step)


class World:
    def __init__(self, lines: Sequence[Said], *, ends: bool = True, upload_seconds: float = 0.0) -> None:
        self.child = FakeChild(lines, ends=ends)
        self.publisher = SlowPublisher(upload_seconds)
        self.listener = Listener()
        self.conversation = Conversation(
            cast(Child, self.child),
            step=0,
            publisher=cast(Publisher, self.publisher),
            voice=cast(Voice, self.listener),
            watchdog=Watchdog(stall_seconds=60, phase_seconds=900, step=0),
            clock=LoopClock(),
        )

    def answers(self) -> list[tuple[float, FromChild]]:
        return [(at, message) for at, message in self.publisher.taken if isinstance(message, RunStopping)]


def steps(begin: int, end: int) -> list[Said]:
    """One step a second."""
    lines: list[Said] = []
    for step in range(begin, end + 1):
        lines += [
            1.0,
            RunProgressed(step=step, stepping_seconds=step, steps_per_second=1, learning_rate=0.1, losses={}),
        ]
    return lines


def phase(name: Phase) -> RunPhase:
    return RunPhase(phase=name)


STARTED: list[Said] = [RunStarted(step=1, resumed_from=0, seconds=1.0), phase("stepping")]
SAVED = CheckpointSaved(step=1, stepping_seconds=1, path="/p", training={})
EXPORTED = ModelExported(step=1, path="/p", files={}, checks={})
ENDED = RunEnded(outcome="succeeded", step=9, stepping_seconds=9.0)


def test_words_are_published_in_order_up_to_the_last() -> None:
    async def go() -> None:
        world = World([*STARTED, SAVED, EXPORTED, ENDED], upload_seconds=5)
        assert await world.conversation.follow() == ENDED
        assert world.publisher.kinds() == ["RunStarted", "CheckpointSaved", "ModelExported", "RunEnded"]
        assert world.conversation.step == 9
        assert world.conversation.stall is None

    run(go())


def test_one_that_goes_without_a_last_word() -> None:
    async def go() -> None:
        world = World([*STARTED, *steps(2, 3), SAVED], upload_seconds=100)
        assert await world.conversation.follow() is None
        # What it had saved is published; its silence since then is no stall.
        assert world.publisher.kinds() == ["RunStarted", "CheckpointSaved"]
        assert (world.conversation.step, world.conversation.stall, world.child.done) == (3, None, [])

    run(go())


def test_words_that_are_none_are_told_as_that() -> None:
    async def go() -> None:
        world = World([*STARTED, BadChild("not a message")])
        with pytest.raises(BadChild):
            await world.conversation.follow()

    run(go())


class TestWatch:
    def test_one_that_makes_no_step_shows_where_it_is_and_is_killed(self) -> None:
        async def go() -> None:
            world = World([*STARTED, *steps(2, 5)], ends=False)
            assert await world.conversation.follow() is None
            stall = world.conversation.stall
            assert stall is not None
            assert (stall.phase, round(stall.seconds), stall.step) == ("stepping", 60, 5)
            assert world.child.done == ["stacks", "kill"]
            assert 64 <= LoopClock().monotonic() <= 67

        run(go())

    @pytest.mark.parametrize("name", ["saving", "evaluating", "exporting"])
    def test_other_phases_have_their_own_time(self, name: Phase) -> None:
        async def go() -> None:
            world = World([*STARTED, phase(name), 890.0, phase("stepping"), *steps(2, 3), phase(name)], ends=False)
            await world.conversation.follow()
            stall = world.conversation.stall
            assert stall is not None
            assert (stall.phase, round(stall.seconds)) == (name, 900)

        run(go())

    def test_a_slow_store_is_not_the_childs_fault(self) -> None:
        """The upload takes five minutes, in which the child steps on."""

        async def go() -> None:
            lines = [*STARTED, phase("saving"), SAVED, phase("evaluating"), phase("stepping"), *steps(2, 200), ENDED]
            world = World(lines, upload_seconds=300)
            assert await world.conversation.follow() == ENDED
            assert (world.conversation.stall, world.child.done) == (None, [])
            assert world.listener.steps == list(range(2, 201))

        run(go())

    def test_one_that_cannot_be_killed_is_given_up(self) -> None:
        async def go() -> None:
            world = World([*STARTED, *steps(2, 5), SAVED], ends=False)
            world.child.undying = True
            assert await world.conversation.follow() is None
            assert world.conversation.stall is not None
            assert world.child.done == ["stacks", "kill"]
            # What it had saved is published.
            assert world.publisher.kinds() == ["RunStarted", "CheckpointSaved"]

        run(go())

    def test_one_that_ends_while_it_is_looked_at_has_ended_well(self) -> None:
        async def go() -> None:
            world = World([*STARTED, 60.7, ENDED])
            assert await world.conversation.follow() == ENDED

        run(go())


class TestAnswers:
    def test_a_users_stop_is_answered_before_the_upload_under_way_is_done(self) -> None:
        async def go() -> None:
            lines = [*STARTED, SAVED, 2.0, RunStopping(step=1, reason="user"), 1.0, ENDED]
            world = World(lines, upload_seconds=100)
            await world.conversation.follow()
            assert world.answers() == [(2.0, RunStopping(step=1, reason="user"))]

        run(go())

    @pytest.mark.parametrize("reason", ["time_limit", "drained"])
    def test_other_ends_are_told_in_their_place(self, reason: StopReason) -> None:
        async def go() -> None:
            lines = [*STARTED, SAVED, 2.0, RunStopping(step=1, reason=reason), 1.0, ENDED]
            world = World(lines, upload_seconds=100)
            await world.conversation.follow()
            assert world.publisher.kinds() == ["RunStarted", "CheckpointSaved", "RunStopping", "RunEnded"]

        run(go())

    @pytest.mark.parametrize("asked_at", [1.0, 5.0])
    def test_a_child_that_said_all_is_answered_for(self, asked_at: float) -> None:
        """Its last word waits for the upload of the model; the stop came just before the end of it, or after."""

        async def go() -> None:
            world = World([*STARTED, *steps(2, 3), EXPORTED, ENDED], upload_seconds=100)
            following = asyncio.create_task(world.conversation.follow())
            await asyncio.sleep(asked_at)
            world.conversation.stop("user")
            world.conversation.stop("user")
            assert await following == ENDED
            assert world.answers() == [(max(2.0, asked_at), RunStopping(step=3, reason="user"))]
            assert world.child.done == ["stop user", "stop user"]

        run(go())

    def test_a_stop_that_meets_the_time_limit_is_answered_too(self) -> None:
        async def go() -> None:
            world = World(
                [*STARTED, SAVED, 2.0, RunStopping(step=1, reason="time_limit"), 50.0, ENDED], upload_seconds=30
            )
            following = asyncio.create_task(world.conversation.follow())
            await asyncio.sleep(5)
            world.conversation.stop("user")
            await following
            assert world.answers() == [
                (5.0, RunStopping(step=1, reason="user")),
                (30.0, RunStopping(step=1, reason="time_limit")),
            ]

        run(go())

    def test_a_drain_needs_no_answer(self) -> None:
        async def go() -> None:
            world = World([*STARTED, EXPORTED, ENDED], upload_seconds=100)
            following = asyncio.create_task(world.conversation.follow())
            await asyncio.sleep(5)
            world.conversation.stop("drained")
            await following
            assert world.answers() == []

        run(go())
