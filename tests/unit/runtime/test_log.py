"""Log lines, as a process that was told how to write them writes them (in a process of its own: logging is a process's)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import structlog

from shared.runtime import log

SCRIPT = """
import logging
from shared.runtime import log
log.configure("scheduler", {level!r}, {style!r})
with log.bound(job="j1", attempt=None):
    log.get("bus").info("message.handled", kind="job.stop.v1")
log.get("bus").debug("message.stale")
logging.getLogger("somebody").warning("an old way to say %s", "it")
logging.getLogger("aio_pika").info("chatter")
try:
    secret = "do not print me"
    1 / 0
except ZeroDivisionError:
    log.get("loop").exception("loop.failed")
"""


def written(level: str, style: str) -> str:
    script = SCRIPT.format(level=level, style=style)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == ""
    return done.stderr


def test_json_lines_say_who_speaks_about_what() -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in written("info", "auto").splitlines()]
    assert [line["event"] for line in lines] == ["message.handled", "an old way to say it", "loop.failed"]
    handled, foreign, failed = lines
    assert handled.items() >= {"level": "info", "logger": "bus", "job": "j1", "service": "scheduler"}.items()
    assert handled["kind"] == "job.stop.v1"
    assert "attempt" not in handled
    assert handled["timestamp"].endswith("Z")
    assert foreign.items() >= {"level": "warning", "logger": "somebody", "service": "scheduler"}.items()
    assert "job" not in foreign
    assert "ZeroDivisionError: division by zero" in failed["exception"]
    assert "do not print me" not in failed["exception"]


def test_the_level_is_kept() -> None:
    events = [json.loads(line)["event"] for line in written("debug", "json").splitlines()]
    assert events == ["message.handled", "message.stale", "an old way to say it", "loop.failed"]
    assert [json.loads(line)["event"] for line in written("error", "json").splitlines()] == ["loop.failed"]


def test_a_console_gets_plain_traces() -> None:
    text = written("info", "console")
    assert "message.handled" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "do not print me" not in text


def test_what_is_bound_is_bound_inside_only() -> None:
    before = structlog.contextvars.get_contextvars()
    with log.bound(job="j1", attempt=None), log.bound(attempt=2):
        assert structlog.contextvars.get_contextvars() == {**before, "job": "j1", "attempt": 2}
    assert structlog.contextvars.get_contextvars() == before
