"""What several files of these tests run: scheduler and dataset on the session's broker and store, and status beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.running import Service
from tests.support.scheduling import Platform, open_platform


@pytest.fixture
async def platform(amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path) -> AsyncIterator[Platform]:
    """With the default settings; a file that needs others has a fixture of this name."""
    async with open_platform(amqp_url, mongo_url, mongo_prefix, tmp_path) as running:
        yield running


@pytest.fixture
async def status(platform: Platform) -> AsyncIterator[Service]:
    """The status service of that platform."""
    service = Service("status", platform.folder, platform.environ)
    await service.start()
    yield service
    await asyncio.to_thread(service.end)
