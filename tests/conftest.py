"""What every test may use: the fixtures for the broker and the store, how Hypothesis runs, plain log lines, and which tests
may run side by side."""

import os
from typing import Any

import pytest
import structlog
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

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


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """For `make test`, which runs two processes: whatever trains has one of them to itself, one training at a time; most other
    tests wait for brokers and clocks and go beside it, a file at a time. The tests of the page share one room of services."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if "/page/" in file:
            return "page"
        return "training" if "/e2e/" in file or "/engine/" in file or "records_decode" in file else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    """Asked by pytest-xdist, only where there are several processes."""
    return Lanes(config, log)
