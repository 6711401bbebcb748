"""What an attempt and its child say to each other: heard at once, published in order, watched over.

Owns which of the child's words wait for which. Facts follow one another strictly, each once what it tells of is durable. Two
kinds of words don't wait for uploads: progress, of which the newest is enough, and the answer to a user's stop, which must come
within a lease however slow the artifact store is. Knows no job, no dataset and no checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.trainer.protocol import FromChild, RunEnded, RunFailed, RunProgressed, RunStopping, StopReason
from services.trainer.publisher import Publisher
from services.trainer.reporter import Progress, Voice
from services.trainer.supervisor import DEATH_SECONDS, Child
from services.trainer.watchdog import Stall, Watchdog
from shared.runtime import log
from shared.runtime.clock import Clock

# For the stacks of a child that is stuck to come through its pipe.
_STACKS_SECONDS = 1.0

Inbox = asyncio.Queue[tuple[FromChild, datetime] | None]


class Conversation:
    """With one child. `step` is the last that it told of; `stall` is set where it was ended for making no headway."""

    def __init__(
        self, child: Child, *, step: int, publisher: Publisher, voice: Voice, watchdog: Watchdog, clock: Clock
    ) -> None:
        self.step = step
        self.stall: Stall | None = None
        self._child = child
        self._publisher = publisher
        self._voice = voice
        self._watchdog = watchdog
        self._clock = clock
        self._inbox: Inbox = asyncio.Queue()
        self._answers: asyncio.Queue[RunStopping] = asyncio.Queue()
        self._asked: StopReason | None = None
        self._answered = False
        self._past_asking = False
        self._log = log.get("conversation")

    def stop(self, reason: StopReason) -> None:
        """Ask the child to end in good order."""
        self._asked = reason
        self._child.stop(reason)
        if self._past_asking:
            self._answer_for_it()

    async def follow(self) -> RunEnded | RunFailed | None:
        """Publish what the child says until its last word; None when it went without one.

        Raises BadChild, LeaseLost and StoreUnavailable.
        """
        progress = Progress(self._voice)
        work = [self._listen(progress), progress.run(), self._tell_answers(), self._watch()]
        tasks = [asyncio.create_task(part) for part in work]
        try:
            while (item := await self._inbox.get()) is not None:
                message, at = item
                await self._publisher.take(message, at)
                if isinstance(message, RunEnded | RunFailed):
                    self.step = message.step
                    return message
            if tasks[0].done():  # not so where the watch gave the child up
                # Raises what it found wrong with the child's words.
                await tasks[0]
            return None
        finally:
            # Nothing may speak of this attempt when its end is told.
            await cancelled(tasks)

    async def _listen(self, progress: Progress) -> None:
        """Read without waiting for what the words cause: an outage must not stop the training, nor look like a stall."""
        try:
            async for message in self._child.messages():
                self._watchdog.hear(message)
                match message:
                    case RunProgressed():
                        self.step = message.step
                        progress.offer(message)
                    case RunStopping(reason="user"):
                        self._answer(message)
                    case RunStopping():
                        self.step = message.step
                        self._inbox.put_nowait((message, self._clock.now()))
                        self._answer_for_it()
                    case _:
                        self._inbox.put_nowait((message, self._clock.now()))
        finally:
            self._watchdog.rest()
            self._answer_for_it()
            self._inbox.put_nowait(None)

    def _answer_for_it(self) -> None:
        """The child has said that it stops, or all: it answers no other stop any more, and its uploads may take long."""
        self._past_asking = True
        if self._asked == "user":
            self._answer(RunStopping(step=self.step, reason="user"))

    def _answer(self, message: RunStopping) -> None:
        if not self._answered:
            self._answered = True
            self._answers.put_nowait(message)

    async def _tell_answers(self) -> None:
        while True:
            await self._publisher.take(await self._answers.get(), self._clock.now())

    async def _watch(self) -> None:
        """End a child that makes no headway; the log keeps where its threads are."""
        stall = await self._watchdog.found(self._clock)
        self._log.error("child.stalled", pid=self._child.pid, phase=stall.phase, seconds=stall.seconds, step=stall.step)
        self.stall = stall
        self._child.show_stacks()
        await asyncio.sleep(_STACKS_SECONDS)
        self._child.kill()
        await asyncio.sleep(DEATH_SECONDS)
        # It still holds its pipe: not even that ends a process whose driver hangs. The attempt is over all the same.
        self._inbox.put_nowait(None)


async def cancelled(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel them all and wait until they are over, whatever they end with."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
