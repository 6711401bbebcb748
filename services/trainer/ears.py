"""Whether commands reach this trainer: it speaks to itself through its own queue.

Owns that a trainer whose queue is dead takes no jobs and in the end leaves. On RabbitMQ a queue that was declared right before
the broker was killed may stay without a leader: facts go out, heartbeats among them, and no command ever comes in.
"""

from __future__ import annotations

from collections.abc import Callable

from services.trainer.reporter import Reporter
from shared.contract.errors import Retry, Stale
from shared.contract.events import TrainerPinged
from shared.contract.topology import trainer_queue
from shared.contract.wire import Envelope
from shared.runtime import log
from shared.runtime.bus import Bus, Unroutable

# Pings in a row that didn't come back before the next one was due. Only those count that had a confirmed heartbeat beside them:
# then the broker was there, and it was no outage.
_DEAF, _HOPELESS = 2, 5


class Ears:
    """`round` sends a ping, `heard` handles what comes back, `confirmed` is told of each confirmed heartbeat. `changed` is
    called when a deaf one hears again."""

    def __init__(self, reporter: Reporter, bus: Bus) -> None:
        self._reporter = reporter
        self._bus = bus
        self._log = log.get("ears")
        # Nothing was heard yet.
        self._unheard = _DEAF
        self._beaten = False
        self.changed: Callable[[], None] = lambda: None

    @property
    def deaf(self) -> bool:
        """Whether no command can be expected to come through."""
        return self._unheard >= _DEAF

    @property
    def hopeless(self) -> bool:
        """Whether it was deaf for so long that a trainer with another queue had better take its place."""
        return self._unheard >= _HOPELESS

    async def round(self) -> None:
        """Send one ping; one that can't be sent doesn't come back."""
        if self._beaten:
            self._unheard += 1
        self._beaten = False
        ping = self._reporter.own(TrainerPinged(trainer=self._reporter.trainer))
        try:
            await self._bus.command(trainer_queue(self._reporter.trainer).name, ping)
        except (Retry, Unroutable) as error:
            self._log.info("ping.unsent", error=str(error))

    async def heard(self, envelope: Envelope) -> None:
        """A ping has come back. Raises Stale for one that isn't ours."""
        assert isinstance(envelope.body, TrainerPinged)
        if envelope.source != self._reporter.trainer:
            raise Stale("somebody else's ping")
        was_deaf, self._unheard = self.deaf, 0
        if was_deaf:
            self.changed()

    def confirmed(self) -> None:
        """A heartbeat was confirmed."""
        self._beaten = True
