"""What every test may use: the fixtures for the broker and the store, how Hypothesis runs, and plain log lines."""

import os

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
