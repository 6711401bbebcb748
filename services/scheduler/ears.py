"""Whether this scheduler hears what is said: it speaks to itself over the bus, through the queue that trainers speak through.

Owns that silence is only ever a trainer's own. A ping that doesn't come back (the broker is away, another scheduler is still
the queue's consumer, facts wait unread before it, this process slept) means that nobody can be blamed for not being heard.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from shared.contract.errors import Retry, Stale
from shared.contract.events import Message, SchedulerPinged
from shared.contract.wire import Envelope
from shared.runtime import log
from shared.runtime.bus import Bus
from shared.runtime.clock import Clock

# Pings go out so often in a lease, and one must have come back within this part of it.
_PINGS, _FRESH = 8, 0.4


class Ears:
    """`round` is to be called every `pace` seconds while this scheduler plans; `heard` handles what comes back."""

    def __init__(
        self, *, name: str, bus: Bus, clock: Clock, lease: timedelta, envelope: Callable[[Message, str], Envelope]
    ) -> None:
        self._name = name
        self._bus = bus
        self._clock = clock
        self._lease = lease.total_seconds()
        self._envelope = envelope
        self._sent: dict[str, float] = {}
        self._fresh_at: float | None = None
        self._log = log.get("ears")

    @property
    def pace(self) -> float:
        """Seconds between two pings."""
        return self._lease / _PINGS

    def open(self) -> bool:
        """Whether a ping that was sent a moment ago has come back, and with it all that was said before."""
        return self._fresh_at is not None and self._clock.monotonic() - self._fresh_at <= self._lease * _FRESH

    def forget(self) -> None:
        """Pings from before don't count: this scheduler has only just begun to listen."""
        self._sent.clear()
        self._fresh_at = None

    async def round(self) -> None:
        """Send one ping; a broker that can't be reached is answer enough."""
        envelope = self._envelope(SchedulerPinged(scheduler=self._name), "")
        now = self._clock.monotonic()
        self._sent = {ping: at for ping, at in self._sent.items() if now - at <= self._lease}
        self._sent[envelope.id] = now
        try:
            await self._bus.publish(envelope)
        except Retry as error:
            self._log.info("ping.unsent", error=str(error))

    async def heard(self, envelope: Envelope) -> None:
        """A ping has come; raises Stale for one of another scheduler or another time."""
        sent = self._sent.pop(envelope.id, None)
        if sent is None:
            raise Stale("somebody else's ping, or an old one")
        self._fresh_at = max(sent, self._fresh_at or sent)
