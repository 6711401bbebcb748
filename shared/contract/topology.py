"""Exchanges, queues and bindings, as data: what the bus declares and what ops see.

Pure. Quorum queues with explicit limits so that RabbitMQ 3.10 and 4.x behave alike: 3.10 has no default delivery limit, 4.x
drops after 20. Every queue has a dead-letter queue of its own, whose messages carry the reason in `x-reason`.
"""

from __future__ import annotations

import msgspec

EVENTS_EXCHANGE = "trainyard.events"  # topic, facts, routing key = wire name without version
COMMANDS_EXCHANGE = "trainyard.commands"  # direct, commands, routing key = the trainer's queue

# Redeliveries by the broker (a consumer that dies with the message in hand) before it dead-letters by itself.
DELIVERY_LIMIT = 20
# Attempts that we count (Retry or an unexpected exception) before the message goes to the dead letters.
ATTEMPT_LIMIT = 8


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """One consumer's queue. `bindings` are topic patterns on the events exchange, `command_key` a key on the commands
    exchange. `expires_seconds` removes a queue that nobody consumes. `prefetch` bounds unacknowledged messages.
    `max_length` messages at most wait: the oldest make room, and what the broker drops is not kept as a dead letter."""

    name: str
    bindings: tuple[str, ...] = ()
    command_key: str | None = None
    prefetch: int = 32
    expires_seconds: int | None = None
    max_length: int | None = None
    single_active_consumer: bool = False
    dead_letters: str | None = None

    @property
    def dead_name(self) -> str:
        """The dead-letter queue's name."""
        return self.dead_letters or f"{self.name}.dead"


SCHEDULER_FACTS = Queue(
    name="scheduler.facts",
    bindings=("training.accepted", "training.started", "training.noticed", "training.checkpointed",
              "training.stopping", "training.ended", "model.exported", "trainer.*", "scheduler.*", "members.asked",
              "token.used"),
    single_active_consumer=True,
)  # fmt: skip
DATASET_FACTS = Queue(name="dataset.facts", bindings=("members.changed", "tokens.changed"))
# One consumer at a time: the sequence numbers that browsers resume by are made here.
STATUS_FACTS = Queue(
    name="status.facts",
    bindings=("dataset.*", "job.*", "queue.*", "room.*", "team.*", "announcements.changed", "members.changed",
              "tokens.changed", "training.checkpointed"),
    prefetch=200,
    single_active_consumer=True,
)  # fmt: skip
# Progress has a queue of its own, bounded, so that a burst of it never delays a change of state.
STATUS_PROGRESS = Queue(
    name="status.progress",
    bindings=("training.progressed",),
    prefetch=200,
    max_length=10_000,
    single_active_consumer=True,
)

QUEUES: tuple[Queue, ...] = (SCHEDULER_FACTS, DATASET_FACTS, STATUS_FACTS, STATUS_PROGRESS)


def trainer_queue(trainer: str) -> Queue:
    """The command queue of one trainer. It outlives a broken connection, not a trainer that is gone."""
    name = f"trainer.{trainer}"
    return Queue(name=name, command_key=name, prefetch=8, expires_seconds=600, dead_letters="trainer.dead")
