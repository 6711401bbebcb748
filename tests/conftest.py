"""What every test may use: the fixtures for the broker and the store, how Hypothesis runs, plain log lines, and which tests
may run side by side."""

import os
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["tests.support.fixtures"]

# No deadline: a busy machine is not a failure. In CI the same examples every time, so that a red run can be repeated.
settings.register_profile("laptop", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "laptop")

# structlog's own default draws each traceback with its local variables: slow, and nobody reads it here.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `make test`, which runs two processes: whatever trains has one of them to itself, one training at a time; most
    others wait for brokers and clocks and go beside it, a file at a time."""
    here = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(here)
        trains = path.parts[0] == "e2e" or "engine" in path.parts or path.name == "test_records_decode.py"
        item.add_marker(pytest.mark.xdist_group("training" if trains else str(path)))
