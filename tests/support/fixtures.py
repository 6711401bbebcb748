"""Fixtures for the broker and the store: one of each per test session, a virtual host and a database prefix per test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from deploy.local.rabbitmq import MissingRabbitMQ
from deploy.local.store import MissingStore
from tests.support.broker import Broker, start_broker
from tests.support.store import Store, start_store


def missing(reason: str) -> None:
    """A part of the machine is missing: skip on a laptop, fail where CI is set, as there it must be present."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The session's RabbitMQ node. A test that kills it brings it back; `private_rabbitmq` is safer for that."""
    try:
        started = start_broker(tmp_path_factory.mktemp("broker"))
    except MissingRabbitMQ as error:
        missing(str(error))
        raise
    yield started
    started.stop()


@pytest.fixture
def private_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A node for this test alone, to kill and restart at will."""
    try:
        started = start_broker(tmp_path_factory.mktemp("rabbitmq"))
    except MissingRabbitMQ as error:
        missing(str(error))
        raise
    yield started
    started.stop()


@pytest.fixture
def amqp_url(broker: Broker) -> str:
    """A virtual host that no other test has used."""
    return broker.fresh_url()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The session's store."""
    try:
        started = start_store(tmp_path_factory.mktemp("store"))
    except MissingStore as error:
        missing(str(error))
        raise
    yield started
    started.stop()


@pytest.fixture
def private_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store for this test alone, to kill and restart at will."""
    try:
        started = start_store(tmp_path_factory.mktemp("private-store"))
    except MissingStore as error:
        missing(str(error))
        raise
    yield started
    started.stop()


@pytest.fixture
def mongo_url(store: Store) -> str:
    """The session store's address."""
    return store.url


@pytest.fixture
def mongo_prefix() -> str:
    """A prefix for database names that no other test has used."""
    return f"t{uuid.uuid4().hex[:12]}_"
