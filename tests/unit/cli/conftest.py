"""A platform to talk to, and the command run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from services.cli.__main__ import main
from services.cli.context import Context
from tests.support.fake_platform import FakePlatform
from tests.unit.cli.operated import OperatedPlatform

Run = Callable[..., Result]
Questions = list[tuple[str, bool]]


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    """An empty platform. It shares this process: what it logs must not get into the command's output."""
    with capture_logs(), OperatedPlatform() as started:
        yield started


@pytest.fixture
def operated(platform: FakePlatform) -> OperatedPlatform:
    """The same as operators see it."""
    assert isinstance(platform, OperatedPlatform)
    return platform


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> Questions:
    """What a person at a terminal is asked, each with what Enter means: so it is answered."""
    asked: Questions = []

    def confirm(_: Context, question: str, *, yes: bool, default: bool = True) -> None:
        if not yes:
            asked.append((question, default))
            if not default:
                raise click.Abort

    monkeypatch.setattr(Context, "confirm", confirm)
    return asked


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


@pytest.fixture
def operate(operated: OperatedPlatform, run: Run) -> Run:
    """Runs `trainyard admin` with an operator's token."""

    def invoke(*arguments: str) -> Result:
        return run("--token", operated.admin_token, "admin", *arguments)

    return invoke


def in_json(run: Run, *arguments: str, exit_code: int = 0) -> Any:
    """The document that the command prints with --json."""
    result = run(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)
