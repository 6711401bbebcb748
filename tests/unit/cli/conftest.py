"""A platform to talk to, and the command run in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from services.cli.__main__ import main
from tests.support.fake_platform import FakePlatform

Run = Callable[..., Result]


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    """An empty platform. It shares this process: what it logs must not get into the command's output."""
    with capture_logs(), FakePlatform() as started:
        yield started


@pytest.fixture
def run(platform: FakePlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `trainyard` against the platform, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRAINYARD_URL", platform.url)
    monkeypatch.setenv("TRAINYARD_TOKEN", platform.token)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, prog_name="trainyard", catch_exceptions=False)

    return invoke
