"""What every test may use: the fixtures for the broker and the store, and how Hypothesis runs."""

import os

from hypothesis import settings

pytest_plugins = ["tests.support.fixtures"]

# No deadline: a busy machine is not a failure. In CI the same examples every time, so that a red run can be repeated.
settings.register_profile("laptop", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "laptop")
