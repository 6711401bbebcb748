"""The topology as data: names, bindings that every fact finds, and limits that both broker versions keep."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import get_args

import pytest

from shared.contract import topology
from shared.contract.events import Fact, TrainingProgressed, routing_key
from shared.contract.topology import QUEUES, Queue, trainer_queue

ALL = (*QUEUES, trainer_queue("gpu-1"), trainer_queue("gpu-2"))


def matches(pattern: str) -> Callable[[str], bool]:
    expression = re.compile(re.escape(pattern).replace(r"\*", "[^.]+").replace(r"\#", ".*"))
    return lambda key: expression.fullmatch(key) is not None


def test_names_are_unique() -> None:
    names = [queue.name for queue in ALL]
    assert len(set(names)) == len(names)
    assert not set(names) & {queue.dead_name for queue in ALL}
    assert len({topology.EVENTS_EXCHANGE, topology.COMMANDS_EXCHANGE}) == 2


def test_every_queue_has_a_place_for_its_dead() -> None:
    assert topology.SCHEDULER_FACTS.dead_name == "scheduler.facts.dead"
    assert {trainer_queue("a").dead_name, trainer_queue("b").dead_name} == {"trainer.dead"}


@pytest.mark.parametrize("kind", get_args(Fact), ids=routing_key)
def test_every_fact_is_heard(kind: type) -> None:
    key = routing_key(kind)
    assert [queue.name for queue in QUEUES if any(matches(pattern)(key) for pattern in queue.bindings)]


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_every_binding_matches_a_fact(queue: Queue) -> None:
    keys = [routing_key(kind) for kind in get_args(Fact)]
    for pattern in queue.bindings:
        assert any(matches(pattern)(key) for key in keys), pattern


def test_no_queue_hears_a_fact_twice() -> None:
    for queue in QUEUES:
        for kind in get_args(Fact):
            assert sum(matches(pattern)(routing_key(kind)) for pattern in queue.bindings) <= 1


def test_progress_never_delays_a_change_of_state() -> None:
    hear = [q for q in QUEUES if any(matches(pattern)(routing_key(TrainingProgressed)) for pattern in q.bindings)]
    assert hear == [topology.STATUS_PROGRESS]
    assert topology.STATUS_PROGRESS.bindings == ("training.progressed",)
    assert topology.STATUS_PROGRESS.max_length is not None


def test_prefetch_is_bounded() -> None:
    # 3.10 and 4.x both refuse or ignore an unlimited one on quorum queues; a handler's memory is bounded by it.
    assert all(1 <= queue.prefetch <= 2000 for queue in ALL)


def test_a_trainer_s_queue_is_its_own_and_goes_with_it() -> None:
    queue = trainer_queue("gpu-rack-1")
    assert queue.name == queue.command_key == "trainer.gpu-rack-1"
    assert queue.bindings == ()
    assert queue.expires_seconds == 600
    assert not queue.single_active_consumer


def test_consumers_that_number_what_they_hear_are_alone() -> None:
    # What dataset hears carries its own versions: it does not matter which of several processes takes it.
    assert {queue for queue in QUEUES if not queue.single_active_consumer} == {topology.DATASET_FACTS}
