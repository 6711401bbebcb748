"""The dataset service as a process: one that a file's tests share, each with a team of its own, and one for a test alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.datasets import World, alone, listening, running
from tests.support.running import Service
from tests.support.store import Store


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, broker: Broker, store: Store
) -> Iterator[tuple[Service, dict[str, str]]]:
    """One process for all tests that leave it running."""
    with running(tmp_path_factory.mktemp("dataset"), broker.fresh_url(), store.url, MAX_TEAM_UPLOADS="2") as opened:
        yield opened


@pytest.fixture
async def world(tmp_path: Path, shared: tuple[Service, dict[str, str]]) -> AsyncIterator[World]:
    """The shared process with a team of its own."""
    service, environ = shared
    async with listening(service, tmp_path, environ) as world:
        yield world


@pytest.fixture
async def own(tmp_path: Path, amqp_url: str, mongo_url: str) -> AsyncIterator[World]:
    """A process for this test alone."""
    async with alone(tmp_path, amqp_url, mongo_url) as world:
        yield world
